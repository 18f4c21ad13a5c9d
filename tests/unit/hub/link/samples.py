"""Bundles to test with, without the weight of gRPC: processes that are killed again and again use them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from felloe.bundle import Bundle, Entry, Workload
from felloe.digest import Digest, canonical_json
from felloe.identity import ObjectId, WorkloadId

TOP = Path(__file__).parents[4]
"""The top folder of the checkout."""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOP), str(TOP / "proto")])}
"""For a process that imports what the tests import."""


def make_bundle(put: Callable[[bytes], Digest], *workloads: Mapping[str, str]) -> Bundle:
    made = []
    for number, contents in enumerate(workloads):
        entries = []
        for name, content in contents.items():
            data = canonical_json({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": content}})
            entries.append(Entry(ObjectId("", "ConfigMap", "default", name), "v1", put(data), 3, len(data)))
        made.append(Workload(WorkloadId("Kustomization", "flux-system", f"w{number}"), entries=tuple(entries)))
    return Bundle(tuple(made))


def sha(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).digest())
