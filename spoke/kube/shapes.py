"""Parts of an object as JSON has them: anyone may have written it, so each part is empty where it has another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_Json = Mapping[str, object]


def mapping(value: object) -> _Json:
    """Return a value that is to be a mapping."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> Iterator[_Json]:
    """Return those entries of a value, which is to be a list, that are mappings."""
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())


def version_of(metadata: Mapping[str, object]) -> dict[str, str]:
    """Return the uid and resourceVersion that name just this version of an object, nothing where it has not both."""
    found = {key: metadata.get(key) for key in ("uid", "resourceVersion")}
    return {key: str(value) for key, value in found.items()} if all(found.values()) else {}


def metadata_of(obj: object) -> _Json:
    """Return the metadata of an object."""
    return mapping(mapping(obj).get("metadata"))
