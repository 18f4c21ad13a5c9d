"""The real kustomize, found once, run confined for every build."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from felloe.errors import RenderError, SandboxError
from felloe.k8syaml import JsonValue
from hub.render.closure import Closure
from hub.render.materialize import materialize
from hub.render.messages import WARNING, broken_yaml, clean, secrets_of
from hub.render.objects import RenderedObject, is_namespace, read_objects
from hub.render.sandbox import Finished, Program, Sandbox, find_program
from hub.sources.tree import SourceTree

_ORIGINS = "originAnnotations"
_VERSION = re.compile(r"\bv\d+\.\d+\.\d+\S*")
# No home, no path: nothing to find there. The limit makes Go collect before the sandbox's limit ends it.
_ENVIRONMENT = {"PATH": "", "HOME": "/", "LC_ALL": "C", "GOTRACEBACK": "none", "GOMAXPROCS": "2"}


@dataclass(frozen=True, slots=True)
class Kustomize:
    """A kustomize that works on this machine, confined."""

    sandbox: Sandbox
    program: Program
    command: tuple[str, ...]
    version: str
    work: Path

    async def build(
        self, tree: SourceTree, closure: Closure, target_namespace: str | None
    ) -> tuple[tuple[RenderedObject, ...], tuple[str, ...]]:
        """Return the objects and the warnings of a build.

        `target_namespace` replaces the kustomization's own ``namespace`` as in Flux, but never a Namespace's name.
        Raise RenderError, with kustomize's message, when it does not build, SandboxError for a limit.
        """
        if not target_namespace:
            return await self._build(tree, closure, closure.kustomization)
        root = {**closure.kustomization, "namespace": target_namespace}
        try:
            objects, warnings = await self._build(tree, closure, root)
        except SandboxError:
            raise
        except RenderError as error:
            if "namespace transformation produces ID conflict" not in str(error):
                raise
            objects, warnings = await self._build(tree, closure, _without_namespaces(root))
        else:
            if not any(map(is_namespace, objects)):
                return objects, warnings
        # kustomize has renamed the Namespaces (flux2 4570); without the field they are what was written.
        plain = {key: value for key, value in closure.kustomization.items() if key != "namespace"}
        unchanged, _ = await self._build(tree, closure, plain)
        kept = [one for one in objects if not is_namespace(one)]
        return tuple(sorted([*kept, *filter(is_namespace, unchanged)], key=lambda one: one.id)), warnings

    async def _build(
        self, tree: SourceTree, closure: Closure, root: Mapping[str, JsonValue]
    ) -> tuple[tuple[RenderedObject, ...], tuple[str, ...]]:
        metadata = root.get("buildMetadata")
        asked = metadata if isinstance(metadata, list) else []
        origins: list[JsonValue] = [*(one for one in asked if one != _ORIGINS), _ORIGINS]
        folder = await asyncio.to_thread(self._private_folder)
        try:
            try:
                await asyncio.to_thread(materialize, tree, closure, {**root, "buildMetadata": origins}, folder)
            except OSError as error:  # a full disk, or a path longer than this system takes
                raise SandboxError(f"the files of the build can't be written: {error.strerror}") from error
            finished = await self.run(folder, closure.folder)
            if finished.status != 0:
                message = await asyncio.to_thread(_explain, tree, closure, finished, folder)
                raise RenderError(f"{closure.file}: does not build: {message}")
            objects = await asyncio.to_thread(
                read_objects, finished.output, closure.folder, keep_origin=_ORIGINS in asked
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        lines = finished.messages.splitlines()
        return objects, tuple(line.removeprefix(WARNING) for line in lines if line.startswith(WARNING))

    async def run(self, folder: Path, path: str) -> Finished:
        """Run kustomize on `path` below `folder`; it can read nothing but `folder`.

        Flux lets a kustomization read the whole source, beside and above its own folder: hence no load restrictions.
        """
        arguments = [*self.command, f"./{path}", "--load-restrictor", "LoadRestrictionsNone"]
        memory = f"{self.sandbox.limits.memory * 3 // 4}B"
        environment = {**_ENVIRONMENT, "GOMEMLIMIT": memory, "TMPDIR": str(folder)}
        return await self.sandbox.run(self.program, arguments, folder=folder, environment=environment)

    def _private_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="build-", dir=self.work))


def _explain(tree: SourceTree, closure: Closure, finished: Finished, folder: Path) -> str:
    """Return why kustomize failed, in words that may be shown."""
    if "yaml: " in finished.messages and (broken := broken_yaml(tree, closure)):
        return broken
    message = clean(finished.messages, folder, secrets_of(tree, closure))
    return message or f"kustomize ended with status {finished.status}"


def _make_empty(work: Path) -> None:
    """Make the folder of builds, without what a crash may have left there."""
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in work.glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)


def _without_namespaces(root: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    patches = root.get("patches")
    delete: JsonValue = {
        "target": {"version": "v1", "kind": "Namespace"},
        "patch": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: any\n$patch: delete\n",
    }
    return {**root, "patches": [*(patches if isinstance(patches, list) else []), delete]}


async def find_kustomize(sandbox: Sandbox, work: Path, binary: Path | None = None) -> Kustomize:
    """Return the kustomize to build with: `binary`, else ``kustomize`` from the PATH, else ``kubectl kustomize``.

    Builds get their folders in `work`, which is made if need be. Raise SandboxError where none is found or it doesn't
    work confined.
    """
    await asyncio.to_thread(_make_empty, work)
    found = binary or next((Path(at) for name in ("kustomize", "kubectl") if (at := shutil.which(name))), None)
    if found is None:
        raise SandboxError("there is neither kustomize nor kubectl on the PATH; install kustomize, or name its binary")
    is_kubectl = os.path.basename(found).startswith("kubectl")  # noqa: PTH119 (a name, no file access)
    program = await asyncio.to_thread(find_program, found)
    arguments = ["version", "--client"] if is_kubectl else ["version"]
    finished = await sandbox.run(program, arguments, folder=work, environment=_ENVIRONMENT)
    lines = finished.output.decode(errors="replace").splitlines()
    of_kustomize = [line for line in lines if not is_kubectl or line.startswith("Kustomize Version")]
    match = _VERSION.search(" ".join(of_kustomize))
    if finished.status != 0 or match is None:
        raise SandboxError(
            f"{found} does not tell its version when confined: {finished.messages.strip()[:300] or 'no output'}"
        )
    return Kustomize(sandbox, program, ("kustomize",) if is_kubectl else ("build",), match[0], work)
