"""The system calls that a confined build may not make, as a BPF program for seccomp.

Landlock decides which files a build may open. This filter takes away what Landlock doesn't know: sockets, new
processes, signals to others, tracing, mounts, keys, anonymous executables and changes to a file's owner, mode or times.
kustomize needs none of them. The list denies rather than allows, since the Go runtime's needs change with its version.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import TypeAlias

OWN_PID = 0x7EED_FE11
"""Stands in the program for the process's own id, which only the launcher knows and puts there."""

_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_CLONE_THREAD = 0x0001_0000
_X32_NUMBERS = 0x4000_0000


_Numbers: TypeAlias = tuple[int, int | None]
# Call: its number on x86_64 (asm/unistd_64.h) and on aarch64 (asm-generic/unistd.h), None where it doesn't exist.
DENIED: dict[str, _Numbers] = {
    # sockets
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # new processes (clone is looked at more closely) and programs without a file
    "fork": (57, None),
    "vfork": (58, None),
    "execveat": (322, 281),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    # what processes share
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # a file's mode, owner, times and attributes, which Landlock leaves open
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # the kernel itself
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "personality": (135, 92),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
}
"""The calls that fail with EPERM."""

LOOKED_AT: dict[str, _Numbers] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}
"""The calls that are allowed with certain arguments only (clone3 hides its own, and is said not to exist)."""

_AUDIT_ARCHITECTURES = (0xC000_003E, 0xC000_00B7)  # linux/audit.h
MACHINES = {"x86_64": 0, "aarch64": 1, "arm64": 1}
"""The architectures that a hub can confine builds on, by what ``platform.machine()`` calls them."""


def filter_program(machine: str) -> bytes:
    """Return the BPF program (one ``struct sock_filter`` after the other) for a machine of `MACHINES`."""
    column = MACHINES[machine]
    number = {name: numbers[column] for name, numbers in (DENIED | LOOKED_AT).items()}
    refuse, allow = _return(_ERRNO | errno.EPERM), _return(_ALLOW)
    code = [
        _instruction(_LOAD_WORD, _ARCH_AT),
        *_unless(_JUMP_EQUAL, _AUDIT_ARCHITECTURES[column], _return(_KILL)),  # a 32-bit call has other numbers
        _instruction(_LOAD_WORD, _NUMBER_AT),
        *_when(_JUMP_GREATER_EQUAL, _X32_NUMBERS, refuse),
        *_when(_JUMP_EQUAL, number["clone3"] or 0, _return(_ERRNO | errno.ENOSYS)),
    ]
    for name in DENIED:
        if (denied := number[name]) is not None:
            code += _when(_JUMP_EQUAL, denied, refuse)
    for name, test in (
        ("clone", _unless(_JUMP_SET, _CLONE_THREAD, refuse)),
        ("tgkill", _unless(_JUMP_EQUAL, OWN_PID, refuse)),
        ("prlimit64", _unless(_JUMP_EQUAL, 0, refuse)),
    ):
        block = [_instruction(_LOAD_WORD, _FIRST_ARGUMENT_AT), *test, allow]
        code += [_instruction(_JUMP_EQUAL, number[name] or 0, 0, len(block)), *block]
    return b"".join([*code, allow])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _when(test: int, value: int, then: bytes) -> Iterable[bytes]:
    return [_instruction(test, value, 0, 1), then]


def _unless(test: int, value: int, then: bytes) -> Iterable[bytes]:
    return [_instruction(test, value, 1, 0), then]
