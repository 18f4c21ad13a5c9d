"""An inventory says which bundle it was written for, and that is compared before anything is undone."""

from __future__ import annotations

import pytest

from felloe.digest import Digest
from spoke.apply.origin import Origin

OLD, NEW = Digest(b"o" * 32), Digest(b"n" * 32)


@pytest.mark.parametrize(
    ("inventory", "bundle", "newer"),
    [
        (Origin(b"h", 1, 5, NEW), Origin(b"h", 1, 4, OLD), True),
        (Origin(b"h", 2, 1, NEW), Origin(b"h", 1, 9, OLD), True),
        (Origin(b"h", 1, 5, NEW), Origin(b"h", 1, 4, None), True),
        (Origin(b"h", 1, 5, NEW), Origin(b"h", 1, 4, NEW), False),
        (Origin(b"h", 1, 4, OLD), Origin(b"h", 1, 5, NEW), False),
        (Origin(b"h", 1, 5, NEW), Origin(b"i", 1, 4, OLD), False),
        (Origin(), Origin(b"h", 1, 4, OLD), False),
    ],
    ids=["generation", "epoch", "left the bundle", "same content", "older", "other hub", "not known"],
)
def test_a_newer_content_is_not_undone_by_an_older_bundle(inventory: Origin, bundle: Origin, newer: bool) -> None:
    assert inventory.newer_than(bundle) is newer


def test_what_another_hub_applied_is_told_apart() -> None:
    assert Origin(b"one", 1, 1, OLD).foreign_to(b"two")
    assert not Origin(b"one", 1, 1, OLD).foreign_to(b"one")
    assert not Origin().foreign_to(b"two")
