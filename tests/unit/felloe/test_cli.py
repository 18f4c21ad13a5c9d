from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer

from felloe import __version__
from felloe.cli import Side, run
from felloe.errors import SourceError

Register = Callable[[typer.Typer], None]


def side(extra: str, act: Callable[[], None], name: str = "act") -> Side:
    def register(app: typer.Typer) -> None:
        app.command(name)(act)

    return Side(extra, lambda: register)


def fails(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_an_error_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([side("hub", fails(SourceError("git: no such ref 'x'")))], ["act"]) == 1
    assert capsys.readouterr() == ("", "error: git: no such ref 'x'\n")


def test_a_bug_is_no_error_of_the_user() -> None:
    with pytest.raises(RuntimeError):
        run([side("hub", fails(RuntimeError("bug")))], ["act"])


def test_exit_codes() -> None:
    ok = [side("hub", lambda: None)]
    assert run(ok, ["act"]) == 0
    assert run(ok, ["act", "--nothing"]) == 2
    assert run(ok, ["nothing"]) == 2
    assert run([side("hub", fails(KeyboardInterrupt()))], ["act"]) == 130
    assert run([side("hub", fails(typer.Exit(1)))], ["act"]) == 1


@pytest.mark.parametrize("extra", ["hub", "spoke"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], extra: str
) -> None:
    other = side("other", lambda: None, "more")
    missing = ModuleNotFoundError("No module named 'nicelib'", name="nicelib.part")
    assert run([other, side(extra, fails(missing))], ["act"]) == 1
    said = f"error: 'felloe act' needs nicelib, which is not installed here: pip install 'felloe[{extra}]'\n"
    assert capsys.readouterr().err == said


def test_a_side_that_can_not_even_be_loaded_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> Register:
        raise ModuleNotFoundError("No module named 'nicelib'", name="nicelib")

    sides = [Side("spoke", load), side("hub", lambda: None)]
    assert run(sides, ["act"]) == 0
    assert run(sides, ["spoke", "run", "--hub", "x"]) == 1
    assert "pip install 'felloe[spoke]'" in capsys.readouterr().err


def test_a_module_of_our_own_that_is_missing_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError):
        run([side("hub", fails(ModuleNotFoundError("hub.nothing", name="hub.nothing")))], ["act"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run([], ["completion", shell]) == 0
    assert "_FELLOE_COMPLETE" in capsys.readouterr().out
    assert run([], ["completion", "cmd"]) == 2


def test_bash_takes_the_completion_script() -> None:
    script = subprocess.run(
        [sys.executable, "-m", "felloe", "completion", "bash"], check=True, capture_output=True, timeout=30
    ).stdout
    subprocess.run(["bash", "-n"], input=script, check=True, timeout=30)


def test_version_and_help_of_the_real_program_need_none_of_the_hubs_libraries() -> None:
    program = (
        "import sys\n"
        "for name in ('httpx', 'starlette', 'uvicorn', 'prometheus_client', 'dulwich', 'grpc', 'yaml', 'asyncio'):\n"
        "    sys.modules[name] = None\n"
        "from felloe.cli import main\n"
        "main()\n"
    )
    for option, said in (("--version", f"felloe {__version__}\n"), ("--help", "felloe hub serve --data")):
        done = subprocess.run(
            [sys.executable, "-c", program, option], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
