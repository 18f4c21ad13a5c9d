"""The hub's HTTP API: what the CLI, a script and a Git server's webhook talk to.

`control` is what the hub must offer for it, `app` puts the routes together, `serve` runs them with TLS inside the hub's
event loop, `credentials` makes the admin credential and the webhook's secret at the first start.
"""
