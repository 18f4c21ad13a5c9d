"""Takes every privilege from its own process, then becomes kustomize.

Run as ``python -I -S confine.py …`` in a process of its own, never imported by the hub: what it does can't be undone.
It imports nothing of Felloe and little else, since every build waits for it. It decides nothing: `sandbox.py` computes
the rules and passes them as arguments:

    LANDLOCK_ATTRIBUTES  SECCOMP_PROGRAM  OWN_PID_PLACEHOLDER  LIMIT=VALUE,…  [ACCESS PATH]…  --  PROGRAM [ARGUMENT]…

With the program ``probe`` it doesn't execute anything but tries to break out, and prints what it managed to do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

TYPE_CHECKING = False  # the typing module would cost every build some milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable

_CLOSE_RANGE = 436
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def _must(result: int, doing: str) -> int:
    if result < 0:
        sys.exit(f"confine: {doing}: {os.strerror(ctypes.get_errno())}")
    return result


def restrict_files(attributes: bytes, rules: list[tuple[int, str]]) -> None:
    """Allow nothing but what the rules say (Landlock). A path that is not there is an error."""
    ruleset = _must(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "Landlock")
    for access, path in rules:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", access, descriptor)
        _must(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"Landlock: {path}")
        os.close(descriptor)
    _must(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def drop_capabilities() -> None:
    """Give up what a hub that runs as root could do beside files."""
    header = struct.pack("=Ii", 0x2008_0522, 0)
    _must(_libc.syscall(_CAPSET[os.uname().machine], header, bytes(24)), "capset")


def filter_calls(program: bytes, placeholder: bytes) -> None:
    """Install the seccomp filter, with this process's id where the placeholder stands."""
    code = program.replace(placeholder, struct.pack("=I", os.getpid()))
    filtered = _Program(len(code) // 8, code)
    _must(_libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(filtered), 0, 0), "seccomp")


def set_limits(limits: str) -> None:
    """Set resource limits, given as ``NAME=VALUE,…`` with the names of the resource module."""
    for one in limits.split(","):
        name, _, value = one.partition("=")
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(value), int(value)))


def probe(outside: str, inside: str, executable: str) -> None:
    """Try to break out and print, one word a line, what succeeded; then what must work and doesn't."""
    attempts: dict[str, Callable[[], object]] = {
        "inherited-descriptors": _use_descriptors,
        "read-outside": lambda: os.close(os.open(outside, os.O_RDONLY)),
        "read-proc": lambda: os.close(os.open("/proc/self/environ", os.O_RDONLY)),
        "list-root": lambda: os.close(os.open("/", os.O_RDONLY)),
        "write-inside": lambda: os.close(os.open(f"{inside}/probe", os.O_WRONLY | os.O_CREAT, 0o600)),
        "change-mode": lambda: os.chmod(inside, 0o700),  # noqa: PTH101
        "socket-inet": lambda: _must_raise(_libc.socket(2, 1, 0)),
        "socket-unix": lambda: _must_raise(_libc.socket(1, 1, 0)),
        "fork": _fork,
        "signal-others": lambda: os.kill(os.getppid(), 0),
        "exec": lambda: os.execve(executable, [executable, "-I", "-S", "-c", "print('exec')"], {}),  # noqa: S606
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        print(name, flush=True)
    try:
        os.close(os.open(inside, os.O_RDONLY))
    except OSError:
        print("not-read-inside", flush=True)


def _must_raise(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _use_descriptors() -> None:
    """Raise OSError unless there is any beside input, output and messages."""
    for descriptor in range(3, 255):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        return
    raise OSError


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def main() -> None:
    """Confine this process as the arguments say and become the program."""
    attributes, program, placeholder, limits, *rest = sys.argv[1:]
    split = rest.index("--")
    rules = [(int(rest[at]), rest[at + 1]) for at in range(0, split, 2)]
    command = rest[split + 1 :]
    # Not every event loop closes what was opened without close-on-exec (uvloop doesn't, and C libraries open some).
    _must(_libc.syscall(_CLOSE_RANGE, 3, ctypes.c_uint(0xFFFF_FFFF), 0), "close_range")
    set_limits(limits)
    drop_capabilities()
    _must(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    restrict_files(bytes.fromhex(attributes), rules)
    filter_calls(bytes.fromhex(program), bytes.fromhex(placeholder))
    if command[0] == "probe":
        probe(*command[1:])
        return
    os.execve(command[0], command, dict(os.environ))  # noqa: S606


if __name__ == "__main__":
    main()
