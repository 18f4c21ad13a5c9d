"""Credentials of sources, read from a folder laid out ``<namespace>/<name>/<key>``, as Kubernetes mounts secrets.

A kubelet swaps a mounted secret by pointing the symlink ``..data`` at a new folder; so links are followed, but only
inside the folder of the secret itself. Values are read anew at every fetch: a rotated credential needs no restart.
Nothing here ever shows a value: neither in a repr nor in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from felloe.errors import SourceError
from hub.sources.spec import is_dns_name

_LARGEST_VALUE = 1 << 20


class Secret:
    """The keys and values of one secret; its repr holds the names of the keys only."""

    __slots__ = ("_values", "name")

    def __init__(self, name: str, values: Mapping[str, bytes]) -> None:
        self.name = name
        self._values = dict(values)

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, keys={sorted(self._values)})"

    def binary(self, *keys: str) -> bytes | None:
        """Return the value of the first of `keys` that is there."""
        return next((self._values[key] for key in keys if self._values.get(key)), None)

    def text(self, *keys: str) -> str | None:
        """Return a value as text without the line end that editors leave at the end of a file."""
        value = self.binary(*keys)
        if value is None:
            return None
        try:
            return value.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SourceError(f"secret {self.name}: the value of {' or '.join(keys)} is not UTF-8 text") from None


@dataclass(frozen=True, slots=True)
class SecretFolder:
    """Where the secrets lie; `root` is None where the hub was given none."""

    root: Path | None = None

    def read(self, namespace: str, name: str) -> Secret:
        """Return a secret; raises `SourceError` if it is not there or can't be read."""
        label = f"{namespace}/{name}"
        if self.root is None:
            raise SourceError(
                f"secret {label} is needed, but the hub has no secrets folder: start it with --secrets DIR"
            )
        if not is_dns_name(namespace) or not is_dns_name(name):
            raise SourceError(f"{label!r} is no name of a secret")
        folder = self.root / namespace / name
        try:
            values = {
                path.name: value for path in sorted(folder.iterdir()) if (value := _value(folder, path)) is not None
            }
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError(
                f"secret {label} is not there: a folder {namespace}/{name} below the secrets folder is expected"
            ) from None
        except OSError as error:
            raise SourceError(f"secret {label} can't be read: {error.strerror}") from None
        return Secret(label, values)


def _value(folder: Path, path: Path) -> bytes | None:
    """Return the content of a key's file; None for what is no key (``..data``, folders, links that lead out)."""
    if path.name.startswith("..") or not path.is_file():
        return None
    if not path.resolve().is_relative_to(folder.resolve()) or path.stat().st_size > _LARGEST_VALUE:
        return None
    return path.read_bytes()
