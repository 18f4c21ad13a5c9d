"""Become a program that dies with the process that started it.

Run as ``python -I -S launch.py PARENT_PID PROGRAM ARGUMENT…``: asks the kernel for a SIGKILL at the parent's death,
looks that the parent has not died before that, and becomes the program (so nothing of Python stays in memory). This is
a program of its own because code between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"cannot tie {program} to its parent: prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit(f"not starting {program}: its parent {parent} is gone")
    try:
        os.execv(program, sys.argv[2:])  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"cannot start {program}: {error.strerror}")


if __name__ == "__main__":
    main()
