"""What is applied, deleted, handed over and left alone."""

from __future__ import annotations

import pytest

from felloe.identity import ObjectId, WorkloadId
from spoke.apply.inventory import Inventory, Item
from spoke.apply.plan import Why, leftovers, why_apply
from spoke.drift.live import Live
from spoke.health import Health, HealthStatus

APPS, OTHER = WorkloadId("Kustomization", "flux-system", "apps"), WorkloadId("Kustomization", "flux-system", "other")
HEALTH = Health(HealthStatus.CURRENT, "", "")


def live(owner: WorkloadId | None = APPS, fingerprint: bytes = b"f", *, terminating: bool = False) -> Live:
    return Live("u", 1, fingerprint, owner, HEALTH, terminating)


@pytest.mark.parametrize(
    ("item", "now", "why"),
    [
        (None, None, Why.CHANGED),
        (None, live(OTHER), Why.CHANGED),
        (Item("v1", 3), live(), Why.CHANGED),
        (Item("v1", 3, b"older", b"f"), live(), Why.CHANGED),
        (Item("v1", 3, b"key", b"f"), live(), None),
        (Item("v1", 3, b"key", b"f"), None, Why.MISSING),
        (Item("v1", 3, b"key", b"f"), live(fingerprint=b"other"), Why.DRIFTED),
        (Item("v1", 3, b"key", b"f"), live(OTHER), Why.TAKEN),
        (Item("v1", 3, b"key", b"f"), live(OTHER, b"x", terminating=True), None),
    ],
)
def test_why_an_object_is_applied(item: Item | None, now: Live | None, why: Why | None) -> None:
    assert why_apply(b"key", item, now, APPS) is why


@pytest.mark.parametrize(
    ("item", "now", "why"),
    [
        (Item("v1", 3, b"key", b"f"), live(), Why.CHANGED),
        (Item("v1", 3, b"key", b"f"), live(fingerprint=b"other"), Why.DRIFTED),
        (Item("v1", 3, b"key", b"f"), None, Why.MISSING),
        (Item("v1", 3, b"key", b"f", left_alone=True), live(), None),
        (Item("v1", 3, b"key", b"f", once=True), live(), None),
        (Item("v1", 3, b"key", b"f"), live(terminating=True), None),
    ],
)
def test_what_is_left_alone_is_not_applied_again(item: Item, now: Live | None, why: Why | None) -> None:
    assert why_apply(b"key", item, now, APPS, again=True) is why


def config(name: str) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", name)


def inventory(**items: Item) -> Inventory:
    return Inventory(APPS, {config(name): item for name, item in items.items()})


def test_what_is_not_wanted_is_deleted_last_wave_first() -> None:
    had = inventory(a=Item("v1", 1), b=Item("v1", 3), c=Item("v1", 3), kept=Item("v1", 3))
    left = leftovers(had, {config("kept")}, {}, lambda _: False, prune=True)
    assert left.prune == ((config("b"), config("c")), (config("a"),))
    assert left.released == ()


def test_without_prune_it_is_only_forgotten() -> None:
    left = leftovers(inventory(a=Item("v1", 3)), (), {}, lambda _: False, prune=False)
    assert (left.prune, left.released) == ((), (config("a"),))


@pytest.mark.parametrize(("recorded", "released"), [(False, ()), (True, (config("a"),))])
def test_what_another_workload_wants_is_released_once_that_one_wrote_it_down(
    recorded: bool, released: tuple[ObjectId, ...]
) -> None:
    left = leftovers(inventory(a=Item("v1", 3)), (), {config("a"): OTHER}, lambda _: recorded, prune=True)
    assert (left.prune, left.released) == ((), released)


@pytest.mark.parametrize(
    ("name", "created", "deleted"),
    [("ours", True, True), ("older", False, False), ("kube-system", True, False), ("felloe-system", True, False)],
)
def test_of_namespaces_only_those_that_we_made_are_deleted(name: str, created: bool, deleted: bool) -> None:
    identity = ObjectId("", "Namespace", "", name)
    had = Inventory(APPS, {identity: Item("v1", 0, created=created)})
    left = leftovers(had, (), {}, lambda _: False, prune=True)
    assert (left.prune, left.released) == ((((identity,),), ()) if deleted else ((), (identity,)))


def test_custom_resources_go_before_their_controllers_and_these_before_their_rights() -> None:
    items = {
        ObjectId("example.com", "Gizmo", "shop", "one"): Item("v1", 3),
        ObjectId("rbac.authorization.k8s.io", "RoleBinding", "shop", "controller"): Item("v1", 3),
        ObjectId("apps", "Deployment", "shop", "controller"): Item("v1", 3),
        ObjectId("networking.k8s.io", "Ingress", "shop", "web"): Item("v1", 3),
        ObjectId("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "hook"): Item("v1", 4),
        ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "gizmos.example.com"): Item("v1", 1),
    }
    left = leftovers(Inventory(APPS, items), (), {}, lambda _: False, prune=True)
    kinds = [[identity.kind for identity in stage] for stage in left.prune]
    assert kinds == [
        ["ValidatingWebhookConfiguration"],
        ["Gizmo"],
        ["Deployment", "Ingress"],
        ["RoleBinding"],
        ["CustomResourceDefinition"],
    ]
