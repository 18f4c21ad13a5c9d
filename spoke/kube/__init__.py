"""A small Kubernetes client: just what a spoke needs, on asyncio and orjson.

The general clients cost three to five times the CPU per apply and twice the memory of the whole spoke, and a general
HTTP library a sixth of that memory (ADR 7). This one has access (kubeconfig or in-cluster), connections, discovery,
typed errors, retries, paged lists, watches and server-side apply.
"""
