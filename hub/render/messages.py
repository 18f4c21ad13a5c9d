"""kustomize's own words, made fit to be shown: paths as in the source, nothing of what the files hold."""

from __future__ import annotations

import posixpath
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from felloe.errors import ConfigError
from felloe.k8syaml import JsonValue, load_all
from hub.render.closure import Closure
from hub.sources.tree import EntryKind, SourceTree

_MAX_LENGTH = 2000
_MIN_SECRET = 4
_HIDDEN = "(hidden)"
# kubectl logs its errors: E1121 08:00:57.897406 7148 run.go:72] "command failed" err="…" or, of several lines, err=<…>
_LOGGED = re.compile(r'^E\d{4} [^\]]*\] "command failed" err=(?:"(?P<line>.*)"|<\n(?P<lines>.*)\n >)$', re.DOTALL)
# What kustomize quotes of a file: whole patches in brackets or backticks, literals, texts of several lines.
_CONFIGURING = re.compile(r"trouble configuring builtin (\w+) with config: `(.*?)`", re.DOTALL)
_QUOTED = (
    (re.compile(r"\b(from|patch) \[(?!path: \"[^\"\n]*\"\]).*\]", re.DOTALL), rf"\1 {_HIDDEN}"),
    (re.compile(r"(literal source) .*?(?=, expected)", re.DOTALL), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(open) [^\n]*\n.*(?=: no such file)", re.DOTALL), rf"\1 {_HIDDEN}"),
    (re.compile(r'"[^"]*\n[^"]*"'), _HIDDEN),
)
# It tells of every kustomization on the way and, for a file that doesn't load, that it is no folder either.
_ON_THE_WAY = re.compile(r".*recursed (?:accumulation of|merging from) path '(?P<folder>[^']*)': ", re.DOTALL)
_OF_FILE = re.compile(
    r"^accumulating resources: (?:accumulation err=')?(?:accumulating|merging) resources from '(?P<file>[^']*)': "
    r"(?P<why>.*?)(?:': must build at directory: .*)?$",
    re.DOTALL,
)
WARNING = "# Warning: "
"""What kustomize's warnings begin with."""
_NO_NAME = "missing metadata.name in object"


def clean(message: str, folder: Path, secrets: Iterable[str]) -> str:
    """Return kustomize's error with source-relative paths, without secrets and at a length people read."""
    message = "\n".join(line for line in message.splitlines() if not line.startswith(WARNING)).strip()
    if logged := _LOGGED.match(message):
        lines = logged["lines"]
        message = textwrap.dedent(lines) if lines else logged["line"].replace('\\"', '"').replace("\\n", "\n")
    for secret in sorted(set(secrets), key=len, reverse=True):
        message = message.replace(secret, _HIDDEN)
    message = _CONFIGURING.sub(_configuring, message)
    for pattern, instead in _QUOTED:
        message = pattern.sub(instead, message)
    for root in {str(folder), str(folder.resolve())}:
        message = message.replace(f"{root}/", "").replace(root, ".")
    message = _short(message.strip().removeprefix("Error: ").strip())
    return message if len(message) <= _MAX_LENGTH else f"{message[:_MAX_LENGTH]} …"


def _configuring(match: re.Match[str]) -> str:
    path = re.search(r"^path: (.*)$", match[2], re.MULTILINE)
    return f"{match[1]} ({path[1]})" if path else match[1]


def _short(message: str) -> str:
    """Return what went wrong, after the file it is in, instead of the whole way there."""
    start = _ON_THE_WAY.match(message)
    of_file = _OF_FILE.match(message[start.end() :] if start else message)
    if of_file is None:
        return message
    file = posixpath.normpath(posixpath.join(start["folder"] if start else "", of_file["file"]))
    why = of_file["why"]
    if _NO_NAME in why:
        why = "an object has no metadata.name (with generateName, every apply would make another object)"
    return f"{file}: {why}"


def broken_yaml(tree: SourceTree, closure: Closure) -> str | None:
    """Return file, line and problem of the first file that isn't YAML: kustomize names neither for some problems."""
    for path, entry in closure.entries.items():
        if path.endswith((".yaml", ".yml")) and entry.kind is not EntryKind.SYMLINK:
            try:
                load_all(tree.read(entry), file=path)
            except ConfigError as error:
                return str(error)
    return None


def secrets_of(tree: SourceTree, closure: Closure) -> set[str]:
    """Return every text of a build's files that no message may hold: the values of Secrets and of their generators."""
    found: set[str] = set()
    for path, entry in closure.entries.items():
        if entry.kind is EntryKind.SYMLINK:
            continue
        content = tree.read(entry)
        text = content.decode(errors="replace")
        if path.endswith((".yaml", ".yml", "Kustomization")):
            if "Secret" in text or "secretGenerator" in text:
                found.update(_of_yaml(content, text))
        else:  # what a generator reads: lines, and values of an env file
            found.update(_of_lines(text, "="))
    return {one for one in found if len(one) >= _MIN_SECRET}


def _of_lines(text: str, separator: str) -> Iterator[str]:
    for line in text.splitlines():
        yield line.strip()
        yield line.partition(separator)[2].strip().strip("\"'")


def _of_yaml(content: bytes, text: str) -> Iterator[str]:
    try:
        documents = [document.value for document in load_all(content, file="")]
    except ConfigError:
        yield from _of_lines(text, ":")
        return
    for document in documents:
        if isinstance(document, dict):
            yield from _of_document(document)
        for operation in _list(document):  # a JSON patch
            if isinstance(operation, dict):
                yield from _texts(operation.get("value"))


def _of_document(document: dict[str, JsonValue]) -> Iterator[str]:
    if document.get("kind") == "Secret":
        for field in ("data", "stringData"):
            yield from _texts(document.get(field))
    for generator in _list(document.get("secretGenerator")):
        for literal in _list(generator.get("literals") if isinstance(generator, dict) else None):
            yield str(literal)
            yield str(literal).partition("=")[2]
    for field in ("patches", "patchesStrategicMerge", "patchesJson6902"):
        for patch in _list(document.get(field)):
            inline = patch.get("patch") if isinstance(patch, dict) else patch
            if isinstance(inline, str) and ("\n" in inline or "{" in inline):
                yield from _of_yaml(inline.encode(), inline)


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
        yield from (line.strip() for line in value.splitlines())
