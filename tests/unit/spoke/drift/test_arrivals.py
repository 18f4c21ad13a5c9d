"""What a refusal says is lacking, and what may have brought it."""

from __future__ import annotations

import pytest

from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.drift.arrivals import Arrival, Lack, lack_of
from spoke.kube.discovery import NoSuchKindError

WIDGET = ObjectId("test.example.com", "Widget", "shop", "a")


@pytest.mark.parametrize(
    ("status", "message", "lack"),
    [
        (404, 'namespaces "shop" not found', Lack.NAMESPACE),
        (404, "the server could not find the requested resource", Lack.KIND),
        (403, 'widgets is forbidden: User "u" cannot patch resource "widgets"', Lack.RIGHTS),
        (403, 'configmaps "a" is forbidden: the namespace shop is being terminated', Lack.NAMESPACE),
        (403, 'admission webhook "w.example.com" denied the request: no', None),
        (422, "spec: Invalid value", None),
        (500, "failed calling webhook", None),
    ],
)
def test_what_a_refusal_lacks(status: int, message: str, lack: Lack | None) -> None:
    assert lack_of(KubernetesError(message, status=status)) is lack


def test_an_unknown_kind_lacks_its_definition() -> None:
    assert lack_of(NoSuchKindError("no matches")) is Lack.KIND


@pytest.mark.parametrize(
    ("arrival", "concerns"),
    [
        (Arrival(Lack.KIND, "", "widgets.test.example.com"), True),
        (Arrival(Lack.KIND, "", "v1.test.example.com"), True),
        (Arrival(Lack.KIND, "", "widgets.other.example.com"), False),
        (Arrival(Lack.KIND), True),
        (Arrival(Lack.NAMESPACE, "", "shop"), True),
        (Arrival(Lack.NAMESPACE, "", "other"), False),
        (Arrival(Lack.RIGHTS, "shop", "role"), True),
        (Arrival(Lack.RIGHTS, "", "cluster-role"), True),
        (Arrival(Lack.RIGHTS, "other", "role"), False),
    ],
)
def test_what_it_may_have_waited_for(arrival: Arrival, concerns: bool) -> None:
    assert arrival.concerns(WIDGET) is concerns
