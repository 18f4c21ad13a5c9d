"""What all tests have: fixtures for real clusters (nothing runs until a test asks for it)."""

from __future__ import annotations

import os

# gRPC's C core reads it once, when it is loaded. Its fork handlers hang or abort what a process with streams starts.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# Tests run hundreds of short commands. As in the images, none of them compiles what it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["tests.cluster.fixtures", "tests.spoke.fixtures"]
