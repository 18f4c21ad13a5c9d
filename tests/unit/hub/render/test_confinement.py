"""A confined process reaches nothing but its folder, even without the checks that come before it.

The sandbox is called directly here, on kustomizations that the closure would refuse.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
import uvloop

from felloe.errors import SandboxError
from hub.render.kustomize import Kustomize, find_kustomize
from hub.render.sandbox import Finished, Limits, Sandbox
from hub.render.seccomp import DENIED, LOOKED_AT, MACHINES, filter_program
from tests.unit.hub.render.helpers import config_map, write

SECRET = "what-only-the-hub-may-read"


@pytest.fixture
async def kustomize(tmp_path: Path, either_binary: Path) -> Kustomize:
    return await find_kustomize(Sandbox(), tmp_path / "builds", either_binary)


async def build(kustomize: Kustomize, files: Mapping[str, str]) -> Finished:
    folder = kustomize.work / "build-1"
    folder.mkdir()
    write(folder, files)
    return await kustomize.run(folder, "")


async def test_an_ordinary_build_works_confined(kustomize: Kustomize) -> None:
    finished = await build(kustomize, {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config_map("a")})
    assert finished.status == 0
    assert b"name: a" in finished.output


ABSOLUTE = "{outside}/secret.yaml"
PLACES = [
    ("resources: [{path}]", ABSOLUTE),
    ("resources: [{path}]", "../../secret.yaml"),
    ("resources: [{path}]", "link.yaml"),
    ("resources: [{path}]", "folder-link/secret.yaml"),
    ("configMapGenerator: [{{name: a, files: [{path}]}}]", ABSOLUTE),
    ("configMapGenerator: [{{name: a, files: [{path}]}}]", "../../secret.yaml"),
    ("configMapGenerator: [{{name: a, files: [{path}]}}]", "link.yaml"),
    ("configMapGenerator: [{{name: a, envs: [{path}]}}]", ABSOLUTE),
    ("secretGenerator: [{{name: a, files: [key={path}]}}]", ABSOLUTE),
    ("patches: [{{path: {path}}}]", ABSOLUTE),
    ("patchesStrategicMerge: [{path}]", ABSOLUTE),
    ("replacements: [{{path: {path}}}]", ABSOLUTE),
    ("transformers: [{path}]", ABSOLUTE),
    ("generators: [{path}]", ABSOLUTE),
    ("configurations: [{path}]", ABSOLUTE),
    ("crds: [{path}]", ABSOLUTE),
    ("openapi: {{path: {path}}}", ABSOLUTE),
]


@pytest.mark.parametrize(("field", "path"), PLACES)
async def test_nothing_outside_can_be_read(tmp_path: Path, kustomize_binary: Path, field: str, path: str) -> None:
    kustomize = await find_kustomize(Sandbox(), tmp_path / "builds", kustomize_binary)
    (tmp_path / "secret.yaml").write_text(config_map("outside", key=SECRET))
    wanted = path.format(outside=tmp_path)
    files = {
        "kustomization.yaml": f"resources: [a.yaml]\n{field.format(path=wanted)}\n".replace(
            "resources: [a.yaml]\nresources: [", "resources: [a.yaml, "
        ),
        "a.yaml": config_map("a"),
        "link.yaml": f"-> {tmp_path}/secret.yaml",
        "folder-link": f"-> {tmp_path}",
    }
    finished = await build(kustomize, files)
    assert finished.status != 0
    assert "permission denied" in finished.messages
    assert SECRET not in finished.output.decode() + finished.messages


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/proc/self/root/etc/passwd"])
async def test_neither_the_machine_nor_proc_can_be_read(kustomize: Kustomize, path: str) -> None:
    finished = await build(kustomize, {"kustomization.yaml": f"configMapGenerator: [{{name: a, files: [k={path}]}}]\n"})
    assert finished.status != 0
    assert "root:" not in finished.output.decode() + finished.messages
    assert "permission denied" in finished.messages


@pytest.mark.parametrize(
    "remote",
    ["http://127.0.0.1:{port}/a.yaml", "http://127.0.0.1:{port}/r.git?ref=main", "git::http://127.0.0.1:{port}/r"],
)
async def test_no_connection_leaves(kustomize: Kustomize, remote: str) -> None:
    connections: list[object] = []
    served = asyncio.Event()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.get_extra_info("peername"))
        writer.close()
        served.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        finished = await build(kustomize, {"kustomization.yaml": f"resources: ['{remote.format(port=port)}']\n"})
        assert finished.status != 0
        assert not connections
        # The server does see those who may connect.
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.wait_for(served.wait(), 5)
        writer.close()
    assert len(connections) == 1


async def test_no_plugin_is_executed(tmp_path: Path, kustomize_binary: Path) -> None:
    kustomize = await find_kustomize(Sandbox(), tmp_path / "builds", kustomize_binary)
    proof = tmp_path / "proof"
    plugin = (
        "apiVersion: example.com/v1\nkind: Plugin\nmetadata:\n  name: a\n  annotations:\n"
        "    config.kubernetes.io/function: |\n      exec:\n        path: ./plugin.sh\n"
    )
    script = f"#!/bin/sh\n/usr/bin/touch {proof}\n"
    folder = kustomize.work / "build-1"
    folder.mkdir()
    write(folder, {"kustomization.yaml": "generators: [g.yaml]\n", "g.yaml": plugin, "plugin.sh": script})
    (folder / "plugin.sh").chmod(0o755)
    arguments = ["build", ".", "--enable-alpha-plugins", "--enable-exec"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    finished = await kustomize.sandbox.run(kustomize.program, arguments, folder=folder, environment=environment)
    assert finished.status != 0
    assert not proof.exists()
    # Not confined, the same command does execute it.
    unconfined = await asyncio.create_subprocess_exec(kustomize_binary, *arguments, cwd=folder, env=environment)
    await asyncio.wait_for(unconfined.wait(), 30)
    assert proof.exists()


ALIASES = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)


def with_limits(kustomize: Kustomize, limits: Limits) -> Kustomize:
    return Kustomize(Sandbox(limits), kustomize.program, kustomize.command, kustomize.version, kustomize.work)


async def test_a_build_that_wants_too_much_memory_is_stopped(kustomize: Kustomize) -> None:
    bounded = with_limits(kustomize, Limits(memory=300 * 1024**2))
    files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config_map("a") + ALIASES + "\n"}
    with pytest.raises(SandboxError, match="more than 300 MiB of memory"):
        await build(bounded, files)


async def test_a_build_that_computes_too_long_is_stopped(kustomize: Kustomize) -> None:
    bounded = with_limits(kustomize, Limits(cpu_seconds=1, memory=8 * 1024**3))
    files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config_map("a") + ALIASES + "\n"}
    with pytest.raises(SandboxError, match="more than 1 s of CPU"):
        await build(bounded, files)


@pytest.mark.parametrize("limit", [0, 1])
async def test_a_build_that_prints_too_much_is_stopped(kustomize: Kustomize, limit: int) -> None:
    bounded = with_limits(kustomize, Limits(output=limit * 1024**2))
    files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config_map("a", big="x" * 3 * 1024**2)}
    # What was printed and not read must not keep it waiting for the end.
    async with asyncio.timeout(60):
        with pytest.raises(SandboxError, match=f"more than {limit} MiB of output"):
            await build(bounded, files)


async def test_a_device_or_pipe_does_not_hang_a_build(kustomize: Kustomize) -> None:
    folder = kustomize.work / "build-1"
    folder.mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (folder / "kustomization.yaml").write_text("resources: [pipe.yaml]\n")
    impatient = with_limits(kustomize, Limits(seconds=1))
    with pytest.raises(SandboxError, match="took longer than 1 s"):
        await impatient.run(folder, "")


async def test_a_cancelled_build_leaves_no_process(kustomize: Kustomize) -> None:
    folder = kustomize.work / "build-1"
    folder.mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (folder / "kustomization.yaml").write_text("resources: [pipe.yaml]\n")
    task = asyncio.create_task(kustomize.run(folder, ""))
    async with asyncio.timeout(10):
        while not (running := builds_in(folder)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # there is no event for a process that opens a pipe
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running
    assert not builds_in(folder)


def builds_in(folder: Path) -> list[int]:
    return [one.pid for one in psutil.Process().children(recursive=True) if str(folder) in working_folder(one)]


def working_folder(process: psutil.Process) -> str:
    try:
        return str(process.cwd())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


# --- the check at start -----------------------------------------------------------------------------------------------


async def test_the_check_passes_here() -> None:
    await Sandbox().check()


async def test_the_check_notices_a_missing_filter() -> None:
    sandbox = Sandbox()
    sandbox._filter = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF_0000).hex()  # allow everything
    with pytest.raises(SandboxError, match=r"managed to change-mode, socket-inet, socket-unix, fork"):
        await sandbox.check()


async def test_the_check_notices_that_files_are_open() -> None:
    sandbox = Sandbox()
    sandbox._attributes = struct.pack("=Q", 1 << 12).hex()  # nothing but the making of links is handled
    with pytest.raises(SandboxError, match="can't be confined"):
        await sandbox.check()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_build_inherits_no_descriptor(tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with (tmp_path / "secret").open("w") as file, asyncio.Runner(loop_factory=new_loop) as runner:
        os.set_inheritable(file.fileno(), True)
        runner.run(Sandbox().check())


async def test_the_check_notices_a_launcher_that_dies() -> None:
    sandbox = Sandbox()
    sandbox._attributes = "00"
    with pytest.raises(SandboxError, match="confine: Landlock"):
        await sandbox.check()


async def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "kustomize"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with pytest.raises(SandboxError, match="no 64-bit Linux executable"):
        await find_kustomize(Sandbox(), tmp_path / "builds", script)


@pytest.mark.parametrize(
    ("machine", "header", "pattern"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+) (\d+)"),
        ("aarch64", "/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
    ],
)
def test_the_calls_have_the_kernels_numbers(machine: str, header: str, pattern: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    kernel = {name: int(number) for name, number in re.findall(pattern, Path(header).read_text())}
    ours = {name: numbers[MACHINES[machine]] for name, numbers in (DENIED | LOOKED_AT).items()}
    newer = {"fchmodat2", "setxattrat", "removexattrat", "map_shadow_stack"}  # headers may be older than kernels
    assert {name: kernel.get(name) for name in ours if name not in newer or name in kernel} == {
        name: number for name, number in ours.items() if name not in newer or name in kernel
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_fits_into_its_jumps(machine: str) -> None:
    program = filter_program(machine)
    assert len(program) % 8 == 0
    steps = len(program) // 8
    for at in range(steps):
        code, if_true, if_false, _ = struct.unpack_from("=HBBI", program, at * 8)
        if code & 0x07 == 0x05:  # a jump
            assert at + 1 + max(if_true, if_false) < steps
    assert steps < 4096
