"""What the hub and every spoke must agree on to the last byte.

Object identity, canonical JSON and digests, the bundle with its root, variable substitution, the messages of the link
and the one tree of errors. Nothing here does I/O, and nothing here imports `hub` or `spoke`.
"""

__version__ = "0.1.0"
