"""The core of a spoke as a process of its own, to be killed: ``python -m tests.spoke KUBECONFIG STATE``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.spoke.driver import running


async def main() -> None:
    async with running(Path(sys.argv[1]), Path(sys.argv[2])):
        await asyncio.Event().wait()


asyncio.run(main())
