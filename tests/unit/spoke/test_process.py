"""The process that stays: how it is started, and what is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[3]


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", **environ}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_it_carries_no_command_line_library_and_no_parser_it_may_not_need() -> None:
    code = (
        "import sys, spoke.__main__, spoke.agent, spoke.link\n"
        "print([name for name in ('typer', 'click', 'rich', 'yaml', 'opentelemetry', 'hub') if name in sys.modules])"
    )
    assert python("-c", code).stdout.strip() == "[]"


def test_a_token_given_as_an_option_is_not_in_the_arguments_of_the_process_that_stays(tmp_path: Path) -> None:
    # What replaces the command prints its arguments and reads the token, as the spoke would.
    fake = tmp_path / "spoke"
    fake.mkdir()
    (fake / "__main__.py").write_text(
        "import sys\nprint(sys.argv)\n"
        "path = next(a for a in sys.argv if a.startswith('--token-file=')).partition('=')[2]\n"
        "print(open(path).read())\n"
    )
    (fake / "__init__.py").touch()
    code = (
        "import typer, os, sys, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('real_cli', {str(ROOT / 'spoke' / 'cli.py')!r})\n"
        "cli = importlib.util.module_from_spec(spec); spec.loader.exec_module(cli)\n"
        "app = typer.Typer(); cli.register(app); app.callback()(lambda: None)\n"
        f"os.environ['PYTHONPATH'] = {str(tmp_path)!r}; os.chdir({str(tmp_path)!r})\n"
        "app(['spoke', 'run', '--hub=h:1', '--state=s', '--token=felloe1.secret', '--context=c'])\n"
    )
    arguments, token = python("-c", code).stdout.splitlines()
    assert "secret" not in arguments
    assert "'--hub=h:1', '--state=s'" in arguments
    assert "--context=c" in arguments
    assert token == "felloe1.secret"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kubeconfig=missing"], "missing: can't be read"),
        ([], "this is no pod"),
    ],
)
def test_a_start_that_is_impossible_says_why(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = python("-m", "spoke", "--hub=h:1", f"--state={tmp_path}", *arguments, KUBERNETES_SERVICE_HOST="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """A cluster whose API server refuses every request (501: the plain handler knows no method)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    config = tmp_path / "kubeconfig"
    config.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
        f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.server_port}'}}}}]\n"
    )
    yield config
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_first_start_without_a_token_says_how_to_get_one(tmp_path: Path, kubeconfig: Path) -> None:
    done = python(
        "-m", "spoke", "--hub=h:1", f"--state={tmp_path / 'state'}", f"--kubeconfig={kubeconfig}", FELLOE_TOKEN=""
    )
    assert done.returncode == 1
    assert "felloe token create --cluster NAME" in done.stderr


def test_what_a_spoke_keeps_is_for_nobody_else_also_in_a_folder_that_all_may_read(
    tmp_path: Path, kubeconfig: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    python("-m", "spoke", "--hub=h:1", f"--state={state}", f"--kubeconfig={kubeconfig}", FELLOE_TOKEN="")
    found = list(state.rglob("*"))
    assert found
    assert [path for path in found if path.stat().st_mode & 0o077] == []
