"""A whole Felloe as a user runs it: the hub and the spokes as processes, driven by the `felloe` command alone.

The e2e tests, the demo and the benchmarks share it, so all three see what a user sees.
"""
