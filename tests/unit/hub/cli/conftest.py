from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from felloe.cli import Side, run
from tests.unit.hub.api.inmemory import Threaded, fill, make_certificates, threaded


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Felloe = Callable[..., Done]


def _register() -> Callable[..., None]:
    from hub.cli import register

    return register


@pytest.fixture
def felloe(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Felloe:
    """Run a command line as `felloe` does, with an empty HOME."""
    for name in ("FELLOE_HUB", "FELLOE_CREDENTIAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def felloe(*arguments: str, **environ: str) -> Done:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = run([Side("hub", _register)], arguments)
        return Done(code, *capfd.readouterr())

    return felloe


@pytest.fixture(scope="session")
def served_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Threaded]:
    with threaded(make_certificates(tmp_path_factory.mktemp("hub"))) as one:
        yield one


@pytest.fixture
def hub(served_hub: Threaded, felloe: Felloe, monkeypatch: pytest.MonkeyPatch) -> Threaded:
    """A hub in memory with its sample fleet, which commands talk to."""
    served_hub.do(lambda hub: hub.__init__())  # type: ignore[misc]
    served_hub.do(fill)
    monkeypatch.setenv("FELLOE_CREDENTIAL", str(served_hub.served.credential))
    return served_hub
