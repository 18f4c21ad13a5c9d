"""The record of a bundle: whole or not at all, below the size limit, and rewritten no more than changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.bundle import Bundle, Entry, Workload
from felloe.digest import Digest
from felloe.errors import BundleError, StoreError
from felloe.identity import ObjectId, WorkloadId
from spoke.cluster.record import PACK_BYTES, PIECE_BYTES, Assembly, Division, Head, Pack, pieces


class Content(dict[Digest, bytes]):
    """Objects by digest."""

    def put(self, data: bytes) -> Digest:
        name = Digest(hashlib.sha256(data).digest())
        self[name] = data
        return name


def bundle(content: Content, workloads: dict[str, dict[str, bytes]]) -> Bundle:
    return Bundle(
        tuple(
            Workload(
                WorkloadId("Kustomization", "flux-system", name),
                entries=tuple(
                    Entry(ObjectId("", "ConfigMap", "default", key), "v1", content.put(data), 3, len(data))
                    for key, data in objects.items()
                ),
                variables={"of": name},
            )
            for name, objects in workloads.items()
        )
    )


def packed(whole: Bundle, division: Division | None = None) -> list[Pack]:
    division = division or Division()
    for _ in division.take(whole):
        pass
    return division.packs()


def read(whole: Bundle, content: Content) -> tuple[Bundle, Content]:
    assembly, found = Assembly(), Content()
    for pack in packed(whole):
        for name, data in assembly.add(b"".join(pieces(pack, content.get))):
            assert found.put(data) == name
    return assembly.bundle(whole.root, replace(whole, workloads=())), found


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4),
        st.dictionaries(st.text("xyz", min_size=1, max_size=5), st.binary(max_size=60), max_size=8),
        max_size=5,
    )
)
def test_what_is_written_is_read(workloads: dict[str, dict[str, bytes]]) -> None:
    content = Content()
    whole = bundle(content, workloads)
    again, found = read(whole, content)
    assert again == whole
    assert found == content


def test_what_people_approved_is_part_of_it() -> None:
    content = Content()
    whole = replace(bundle(content, {"apps": {"a": b"1"}}), approved_prunes=("0123",))
    assert read(whole, content)[0].approved_prunes == ("0123",)


def many(content: Content, count: int, **changed: bytes) -> Bundle:
    objects = {f"a{number}": f"{number} ".encode() * 200 for number in range(count)}
    return bundle(content, {"apps": objects | changed})


@pytest.mark.parametrize(
    "change", [{"a500": b"changed"}, {"new": b"one more"}], ids=["an object changes", "an object is added"]
)
def test_a_change_of_one_object_touches_one_pack_of_many(change: dict[str, bytes]) -> None:
    content = Content()
    before = {pack.name for pack in packed(many(content, 1000))}
    after = {pack.name for pack in packed(many(content, 1000, **change))}
    assert len(before) >= 8
    assert len(after - before) == 1


def test_packs_have_the_names_that_earlier_spokes_gave_them() -> None:
    whole = bundle(Content(), {"apps": {f"a{number}": b"%d" % number for number in range(3)}, "web": {"b": b"1"}})
    assert [pack.name for pack in packed(whole)] == ["desired-04f2d3526738bcb74e1d813c"]
    names = ["desired-343e9982e76d47945d8352e7", "desired-08ce788fb3369eeb781b11a6"]
    assert [pack.name for pack in packed(many(Content(), 200))] == names


OBJECTS = st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.binary(min_size=1, max_size=2), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), OBJECTS, max_size=3), min_size=2, max_size=4))
def test_what_was_there_before_changes_no_pack(states: list[dict[str, dict[str, bytes]]]) -> None:
    division = Division()
    for state in states:
        whole = bundle(Content(), state)
        assert packed(whole, division) == packed(whole)


def test_options_alone_touch_one_pack() -> None:
    content = Content()
    (workload,) = many(content, 1000).workloads
    before = {pack.name for pack in packed(Bundle((workload,)))}
    other = Workload(workload.id, workload.options, workload.entries, {"of": "others"})
    assert len({pack.name for pack in packed(Bundle((other,)))} - before) == 1


def test_packs_and_pieces_are_bounded() -> None:
    content = Content()
    noise = b"".join(hashlib.sha512(str(number).encode()).digest() for number in range(20_000))
    whole = many(content, 2000, large=noise)
    for pack in packed(whole):
        size = sum(512 if member.entry is None else member.entry.size for member in pack.members)
        assert size <= PACK_BYTES or len(pack.members) == 1
        assert all(len(piece) <= PIECE_BYTES for piece in pieces(pack, content.get))
    assert max(len(pieces(pack, content.get)) for pack in packed(whole)) == 3
    assert read(whole, content)[0] == whole


def test_a_pack_that_lacks_an_object_is_not_written() -> None:
    content = Content()
    whole = many(content, 3)
    content.popitem()
    (pack,) = packed(whole)
    with pytest.raises(BundleError, match="has lost ConfigMap default/a2"):
        pieces(pack, content.get)


def test_a_record_that_lacks_a_pack_is_no_bundle() -> None:
    content = Content()
    whole = many(content, 1000)
    assembly = Assembly()
    for pack in packed(whole)[1:]:
        assembly.add(b"".join(pieces(pack, content.get)))
    with pytest.raises(BundleError):
        assembly.bundle(whole.root, Bundle())


@pytest.mark.parametrize("damage", [b"", b"\0" * 30, "cut", "no size"])
def test_a_damaged_pack_or_head_is_an_error(damage: bytes | str) -> None:
    import zstandard

    content = Content()
    (pack,) = packed(many(content, 3))
    (good,) = pieces(pack, content.get)
    bad = damage if isinstance(damage, bytes) else good[:-3]
    if damage == "no size":
        bad = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    with pytest.raises(StoreError):
        Assembly().add(bad)
    with pytest.raises(StoreError):
        Head.decode(bad)


def test_a_head_comes_back_as_it_was() -> None:
    head = Head(b"hub", 9, 7, 4, Digest(b"r" * 32), "trace", 12.5, {"desired-a": 1, "desired-b": 2}, Bundle((), ("a",)))
    assert Head.decode(head.encode()) == head
    assert head.names() == {"desired-a-0", "desired-b-0", "desired-b-1"}
