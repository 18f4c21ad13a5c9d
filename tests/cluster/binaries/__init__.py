"""The programs that a test cluster is made of, built once from Go modules with pinned checksums.

Nobody publishes these binaries where every test machine can reach them, but the Go module proxy (or a mirror of it) is
nearly everywhere; the small Go modules beside this file pin each source by its checksum (go.sum). What is built lands
in the user's cache folder under the hash of those files, so that a second run, another checkout and a test run at the
same time all find it there. Only what is asked for is built.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.cluster.binaries.build import Target, build
from tests.cluster.binaries.catalogue import CATALOGUE
from tests.cluster.binaries.lock import held
from tests.cluster.binaries.toolchain import find_go
from tests.cluster.errors import HarnessError

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Show a line of progress."""
    print(line, file=sys.stderr, flush=True)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return Felloe's folder below the user's cache folder (XDG base directory specification)."""
    base = environment.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "felloe"


def ensure(
    names: Iterable[str], *, say: Say = say_on_stderr, environment: Mapping[str, str] = os.environ
) -> dict[str, Path]:
    """Return the path of each named program, having built those that are missing.

    Where the environment sets KUBEBUILDER_ASSETS (as controller-runtime's envtest has it), what that folder holds is
    used as it is. Raises `HarnessError` for a name that is not in the catalogue and for a build that fails.
    """
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in CATALOGUE]:
        raise HarnessError(f"no such binary: {', '.join(unknown)} (there are: {', '.join(CATALOGUE)})")
    folder = cache_folder(environment) / "binaries"
    targets = {name: CATALOGUE[name].target(folder) for name in wanted}
    assets = _assets(environment)
    found = {name: _existing(target, assets) for name, target in targets.items()}
    missing = [targets[name] for name, path in found.items() if path is None]
    if missing:
        _build_missing(missing, folder, say)
    return {name: found[name] or targets[name].path for name in wanted}


def _assets(environment: Mapping[str, str]) -> Path | None:
    value = environment.get("KUBEBUILDER_ASSETS")
    if not value:
        return None
    if not Path(value).is_dir():
        raise HarnessError(f"KUBEBUILDER_ASSETS names {value!r}, which is no folder: correct it or unset it")
    return Path(value)


def _existing(target: Target, assets: Path | None) -> Path | None:
    if assets is not None and target.kubebuilder and (assets / target.name).is_file():
        return assets / target.name
    return target.path if target.path.is_file() else None


def _build_missing(targets: list[Target], folder: Path, say: Say) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # One build at a time: they fill all cores by themselves, and share Go's build cache.
    with held(folder / ".lock", lambda: say(f"waiting for another build of test binaries in {folder}")):
        go: Path | None = None
        for position, target in enumerate(targets, 1):
            if target.path.is_file():  # the other one built it
                continue
            go = go or find_go(folder, target.go_version, say)
            build(target, go, f"[{position}/{len(targets)}]", say)
