"""Flux's Kustomizations, bundles and objects for the tests of adoption."""

from __future__ import annotations

from collections.abc import Iterable

from felloe.bundle import ApplyOptions, Bundle, Entry, Workload
from felloe.digest import digest
from felloe.identity import ObjectId, WorkloadId
from spoke.adopt.flux import FluxKustomization, Name, parse_inventory_id
from spoke.adopt.plan import Found


def thing(name: str, kind: str = "ConfigMap", group: str = "") -> ObjectId:
    return ObjectId(group, kind, "shop", name)


def child(name: str) -> ObjectId:
    return ObjectId("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", name)


def flux(name: str, *objects: ObjectId, **facts: object) -> FluxKustomization:
    return FluxKustomization(Name("flux-system", name), dict.fromkeys(objects, "v1"), **facts)  # type: ignore[arg-type]


def workload_id(name: str) -> WorkloadId:
    return WorkloadId("Kustomization", "flux-system", name)


def bundle(**workloads: Iterable[ObjectId]) -> Bundle:
    blob = digest(b"{}")
    return Bundle(
        tuple(
            Workload(workload_id(name), ApplyOptions(), tuple(Entry(one, "v1", blob, 3, 2) for one in sorted(objects)))
            for name, objects in sorted(workloads.items())
        )
    )


def of(name: str, **annotations: str) -> Found:
    """What is live of an object that the Kustomization `name` applied."""
    return Found(Name("flux-system", name).labels, annotations)


def entry(text: str) -> ObjectId:
    return parse_inventory_id(text, "flux-system/apps")
