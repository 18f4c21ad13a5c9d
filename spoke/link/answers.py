"""Answering what the hub asks about the live cluster, for somebody who waits there.

Each query that is asked is one task, bounded in time and in what it holds back; it ends with the stream, and where
nobody waits for it any more. Who can answer what is given as an argument: a name and an async generator. What they say
is sent by one task of its own, for grpc.aio ends the whole stream where a write is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from felloe.errors import FelloeError, LinkError
from felloe.parts import Joiner, cost, parts, unpack
from felloe.v1 import link_pb2 as pb

Handler = Callable[[bytes], AsyncGenerator[bytes, None]]
"""Yields the messages that answer a question; a FelloeError is told instead of more. It may be closed at any time."""

OPEN: Final = 4
"""Queries that are answered at once."""
_LONGEST_SECONDS: Final = 600.0
_MAX_REASON: Final = 4000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Query:
    id: int
    credit: int
    joiner: Joiner = field(default_factory=Joiner)
    question: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(1))
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class Answers:
    """The queries of one stream. `send` sends one message, and may wait for that."""

    def __init__(self, handlers: Mapping[str, Handler], send: Callable[[pb.SpokeMessage], Awaitable[None]]) -> None:
        self._handlers = handlers
        self._send = send
        self._outbox: asyncio.Queue[pb.SpokeMessage] = asyncio.Queue(1)
        self._open: dict[int, _Query] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._over = False

    async def run(self) -> None:
        """Send what there is to say until cancelled, then stop answering. Raise what ended the stream."""
        try:
            while True:
                await self._send(await self._outbox.get())
        finally:
            self._over = True
            self._open.clear()
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def query(self, asked: pb.Query) -> None:
        """Begin to answer, or to say why not."""
        handler = self._handlers.get(asked.name)
        if self._over or asked.id in self._tasks:
            return
        if handler is None:
            answer = self._end(asked.id, f"this spoke does not know the question {asked.name!r}: update it")
        elif len(self._open) >= OPEN:
            answer = self._end(asked.id, f"this spoke is answering {OPEN} questions already: try again in a moment")
        else:
            query = self._open[asked.id] = _Query(asked.id, asked.credit)
            answer = self._answer(query, handler, asked.name, asked.timeout)
        task = self._tasks[asked.id] = asyncio.create_task(answer)
        task.add_done_callback(lambda _: self._done(asked.id))

    def _done(self, query_id: int) -> None:
        self._open.pop(query_id, None)
        self._tasks.pop(query_id, None)

    def question(self, part: pb.Part) -> None:
        """Take a part of a question; what is not open any more is left alone. Raise LinkError for a wrong part."""
        query = self._open.get(part.id)
        frame = query.joiner.take(part) if query is not None else None
        if query is not None and frame is not None:
            if query.question.full():
                raise LinkError("the hub asked twice in one query")
            query.question.put_nowait(frame)

    def credit(self, more: pb.AnswerCredit) -> None:
        """Take the leave to send more of an answer."""
        query = self._open.get(more.id)
        if query is not None:
            query.credit += more.bytes
            query.granted.set()

    def cancel(self, query_id: int) -> None:
        """Stop answering: nobody waits any more."""
        if self._open.pop(query_id, None) is not None:
            self._tasks[query_id].cancel()

    async def _answer(self, query: _Query, handler: Handler, name: str, timeout: float) -> None:
        await self._end(query.id, await self._say(query, handler, name, timeout))

    async def _say(self, query: _Query, handler: Handler, name: str, timeout: float) -> str:
        """Give every message of the answer and return what went wrong, empty for nothing."""
        seconds = min(timeout, _LONGEST_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                question = unpack(await query.question.get())
                async with aclosing(handler(question)) as messages:
                    async for message in messages:
                        await self._message(query, message)
        except TimeoutError:
            return f"the answer to {name} took longer than {seconds:g} s"
        except FelloeError as error:
            return str(error)
        except Exception:  # a bug in one answer must not end the stream
            log.exception("event=bug query=%s", name)
            return f"the spoke failed at the question {name}; its log says why"
        return ""

    async def _message(self, query: _Query, message: bytes) -> None:
        for part in parts(query.id, message):
            price = cost(part)
            while query.credit < price:
                query.granted.clear()
                await query.granted.wait()
            query.credit -= price
            await self._outbox.put(pb.SpokeMessage(answer=part))

    async def _end(self, query_id: int, error: str) -> None:
        await self._outbox.put(pb.SpokeMessage(answer_end=pb.AnswerEnd(id=query_id, error=error[:_MAX_REASON])))
