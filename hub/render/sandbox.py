"""Runs a build where it can reach nothing but its own folder (docs/adr/0003-render-sandbox.md).

What is rendered was written by whoever may push to a repository. The kustomize binary opens whatever path a
kustomization names, follows symlinks and fetches URLs (CVE-2022-24877 was Flux' lesson), so the kernel confines it:
Landlock for files, seccomp for sockets, processes and signals, limits for CPU, memory, output and time. `check` proves
at start, by trying, that all this holds on the machine at hand: a hub that can't confine builds does not render.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from felloe.errors import SandboxError
from hub.render.seccomp import MACHINES, OWN_PID, filter_program

_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
# linux/landlock.h: how many of the file rights, network rights and scopes each version of Landlock knows.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11
_NO_MEMORY = ("cannot allocate memory", "out of memory", "pthread_create failed")
_LAUNCHER = Path(__file__).with_name("confine.py")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one build may use: seconds by the clock and of CPU, bytes of memory and of output."""

    seconds: float = 60.0
    cpu_seconds: int = 30
    memory: int = 1024 * _MIB
    output: int = 64 * _MIB
    messages: int = 1 * _MIB


@dataclass(frozen=True, slots=True)
class Program:
    """An executable, with the files that the dynamic loader reads for it."""

    path: Path
    libraries: tuple[Path, ...] = ()
    loader: Path | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a confined process ended; a negative `status` is the signal that ended it."""

    status: int
    output: bytes
    messages: str


@dataclass(slots=True)
class _Capture:
    """What a process wrote to one of its pipes, up to a limit."""

    limit: int
    data: bytearray = field(default_factory=bytearray)


def find_program(path: Path) -> Program:
    """Look up what an executable needs to start. Raise SandboxError where it can't be run."""
    path = path.resolve()
    try:
        loader = _loader_of(path)
        if loader is None:
            return Program(path)
        traced = subprocess.run(
            [loader, path],
            env={"LD_TRACE_LOADED_OBJECTS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"{path} can't be run: {error}") from error
    words = (word for line in traced.stdout.splitlines() for word in line.split())
    libraries = {Path(word) for word in words if word.startswith("/")}
    cache = Path("/etc/ld.so.cache")
    found = sorted(one for one in {*libraries, cache} if one.exists())
    return Program(path, tuple(found), loader)


def _loader_of(path: Path) -> Path | None:
    """Return the ELF interpreter of a 64-bit executable, None for a static one."""
    with path.open("rb") as file:
        header = file.read(64)
        if header[:5] != b"\x7fELF\x02":
            raise SandboxError(f"{path} is no 64-bit Linux executable: point to the kustomize binary itself")
        (offset,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for index in range(count):
            file.seek(offset + index * size)
            kind, _, at, _, _, length = struct.unpack("<IIQQQQ", file.read(40))
            if kind == 3:  # PT_INTERP
                file.seek(at)
                return Path(os.fsdecode(file.read(length).rstrip(b"\0")))
    return None


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 where it has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(int(libc.syscall(444, None, ctypes.c_size_t(0), 1)), 0)


def _landlock_attributes(version: int) -> bytes:
    files = (1 << _FILE_RIGHTS.get(version, _FILE_RIGHTS[5])) - 1
    if version < _NETWORK_SINCE:
        return struct.pack("=Q", files)
    if version < _SCOPES_SINCE:
        return struct.pack("=QQ", files, _NETWORK_RIGHTS)
    return struct.pack("=QQQ", files, _NETWORK_RIGHTS, _SCOPES)


class Sandbox:
    """Starts confined processes. One per hub; holds no process of its own."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Raise SandboxError where the kernel or the machine lacks what confinement needs."""
        self.limits = limits or Limits()
        version, machine = landlock_version(), platform.machine()
        if version < 1:
            raise SandboxError(
                "builds can't be confined: this kernel has no Landlock (Linux 5.13 or newer with "
                "CONFIG_SECURITY_LANDLOCK, 'landlock' in the lsm= boot parameter, and a container runtime whose "
                "seccomp profile allows it); the hub does not render without"
            )
        if machine not in MACHINES:
            raise SandboxError(f"builds can't be confined on {machine}: only {', '.join(MACHINES)} are known")
        self._attributes = _landlock_attributes(version).hex()
        self._interpreter = os.path.realpath(sys.executable)
        self._filter = filter_program(machine).hex()
        self._placeholder = struct.pack("=I", OWN_PID).hex()

    async def run(
        self, program: Program, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
    ) -> Finished:
        """Run a program that can read `folder`, its working directory, and nothing else.

        Raise SandboxError when it exceeds a limit of time, memory or output.
        """
        rules = [
            (_EXECUTE | _READ_FILE, program.path),
            *([(_EXECUTE | _READ_FILE, program.loader)] if program.loader else []),
            *((_READ_FILE, library) for library in program.libraries),
            (_READ_FILE | _READ_FOLDER, folder),
        ]
        return await self._start(rules, [str(program.path), *arguments], folder, environment)

    async def check(self) -> None:
        """Prove that confinement holds, by trying to break out of it. Raise SandboxError naming what got through."""
        with tempfile.TemporaryDirectory(prefix="felloe-probe-") as name:
            folder = Path(name)
            command = ["probe", str(_LAUNCHER), name, self._interpreter]
            finished = await self._start([(_READ_FILE | _READ_FOLDER, folder)], command, folder, {})
        if finished.status != 0:
            raise SandboxError(f"builds can't be confined: {finished.messages.strip() or 'the probe died'}")
        if got_through := finished.output.decode().split():
            raise SandboxError(f"builds can't be confined: a confined process managed to {', '.join(got_through)}")

    async def _start(
        self, rules: Sequence[tuple[int, Path]], command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> Finished:
        limits = self.limits
        resources = f"CPU={limits.cpu_seconds},DATA={limits.memory},FSIZE=0,NOFILE=256,CORE=0,MEMLOCK=0"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(_LAUNCHER)),
            *(self._attributes, self._filter, self._placeholder, resources),
            *(str(part) for rule in rules for part in rule),
            "--",
            *command,
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        output, messages = _Capture(limits.output), _Capture(limits.messages)
        try:
            async with asyncio.timeout(limits.seconds):
                within = await _read_both(process, output, messages)
                if not within:
                    raise SandboxError(
                        f"the build was stopped: it wrote more than {limits.output // _MIB} MiB of output or "
                        f"{limits.messages // _MIB} MiB of messages; render less in one Kustomization"
                    )
                status = await process.wait()
        except TimeoutError:
            raise SandboxError(f"the build was stopped: it took longer than {limits.seconds:g} s") from None
        finally:
            await _end(process)
        text = messages.data.decode(errors="replace")
        self._explain(status, text)
        return Finished(status, bytes(output.data), text)

    def _explain(self, status: int, messages: str) -> None:
        if status in {-signal.SIGXCPU, -signal.SIGKILL}:
            raise SandboxError(
                f"the build was stopped: it used more than {self.limits.cpu_seconds} s of CPU, or the machine ran "
                "out of memory"
            )
        if status != 0 and any(sign in messages for sign in _NO_MEMORY):
            raise SandboxError(f"the build was stopped: it needed more than {self.limits.memory // _MIB} MiB of memory")


async def _read_both(process: asyncio.subprocess.Process, output: _Capture, messages: _Capture) -> bool:
    """Read both pipes to their ends; return False as soon as one passes its limit."""
    async with asyncio.TaskGroup() as group:
        readers = [
            group.create_task(_read(stream, capture, process))
            for stream, capture in ((process.stdout, output), (process.stderr, messages))
            if stream is not None
        ]
    return all(reader.result() for reader in readers)


async def _read(stream: asyncio.StreamReader, into: _Capture, process: asyncio.subprocess.Process) -> bool:
    while chunk := await stream.read(1 << 18):
        if len(into.data) + len(chunk) > into.limit:
            _kill(process)
            return False
        into.data += chunk
    return True


def _kill(process: asyncio.subprocess.Process) -> None:
    """End the process and whatever shares its session; the filter lets it start none, this is the second lock."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs, and wait for it: asyncio (until Python 3.12) waits also for pipes that nobody reads."""
    if process.returncode is None:
        _kill(process)
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(1 << 18):
            pass
    await process.wait()
