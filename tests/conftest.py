"""What all tests have: fixtures for real clusters (nothing runs until a test asks for it)."""

from __future__ import annotations

pytest_plugins = ["tests.cluster.fixtures", "tests.spoke.fixtures"]
