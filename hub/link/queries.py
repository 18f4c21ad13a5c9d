"""The questions that are open on one stream, as the hub sees them: what to send of each, and what came back.

Like the session it does no I/O of its own. Nothing piles up: a question is cut only as it is sent, and a spoke gets new
credit for its answer only while whoever asked has taken all that came, so that one answer costs the hub its credit and
one message. A spoke that sends more than it may, or what nobody asked for, breaks the protocol.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Self

from felloe.errors import LinkError
from felloe.parts import WINDOW, Joiner, cost, parts, unpack
from felloe.v1 import link_pb2 as pb

OPEN_PER_CLUSTER: Final = 4
LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""What all the parts of one answer may cost."""
_MAX_REASON: Final = 4096


class QueryError(LinkError):
    """A question has no answer: the spoke could not give it, or not in time."""


class AwayError(QueryError):
    """A question can't be asked, or not be answered to its end: the spoke is not connected."""


class BusyError(QueryError):
    """Too many questions are open already."""


class Asked:
    """One question. Iterate over it for the messages of the answer; `close` it when they are not wanted any more."""

    def __init__(self, query: pb.Query, cluster: str, question: bytes, wake: Callable[[], None]) -> None:
        self.query: Final = query
        self.parts: Final[Iterator[pb.Part]] = parts(query.id, question)
        self.next_part: pb.Part | None = next(self.parts)
        self.announced = False
        self.closed = False
        self._cluster = cluster
        self._wake = wake
        self._deadline = asyncio.get_running_loop().time() + query.timeout
        self._joiner = Joiner()
        self._frames: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._ended: QueryError | None = None
        self._whole = False
        self._credit = query.credit
        self._ungranted = 0
        self._size = 0

    def take(self, part: pb.Part) -> None:
        """Take a part of the answer. Raise LinkError where the spoke may not send it."""
        if self._whole:
            raise LinkError("an answer goes on after its end")
        price = cost(part)
        self._credit -= price
        self._ungranted += price
        self._size += price
        if self._credit < 0:
            raise LinkError("an answer is larger than its credit")
        frame = self._joiner.take(part)
        if frame is not None:
            self._frames.append(frame)
            self._came.set()
        if self._size > LARGEST_ANSWER:
            self.fail(QueryError(f"the answer of cluster {self._cluster} is too large: ask for less at once"))
        self._wake()

    def end(self, error: str) -> None:
        """Take it that the spoke has said all, or why it can't."""
        self._whole = True
        if error:
            self.fail(QueryError(f"cluster {self._cluster}: {error[:_MAX_REASON]}"))
        self._came.set()

    def fail(self, error: QueryError) -> None:
        """Let whoever waits for the answer have an error instead; the first one counts."""
        self._ended = self._ended or error
        self._came.set()

    def grant(self) -> int:
        """Return the credit that is to be given now, and count it as given."""
        if self._frames or self._whole or self._ungranted < WINDOW // 4:
            return 0
        granted, self._ungranted = self._ungranted, 0
        self._credit += granted
        return granted

    def close(self) -> None:
        """Want no more of the answer."""
        self.closed = True
        self._frames.clear()
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next message of the answer. Raise QueryError where it does not come to its end."""
        while not self._frames:
            if self._ended is not None:
                raise self._ended
            if self._whole:
                raise StopAsyncIteration
            self._came.clear()
            try:
                async with asyncio.timeout_at(self._deadline):
                    await self._came.wait()
            except TimeoutError:
                raise QueryError(
                    f"cluster {self._cluster} did not answer within {self.query.timeout:g} s: ask for less at once, or"
                    " look at the log of its spoke"
                ) from None
        frame = self._frames.popleft()
        self._wake()
        try:
            return unpack(frame)
        except LinkError as error:
            raise QueryError(f"cluster {self._cluster}: {error}") from None

    @property
    def answered(self) -> bool:
        """Tell whether the spoke has said all."""
        return self._whole


class Queries:
    """The questions of one stream. `wake` is called whenever there may be something to send."""

    def __init__(self, cluster: str, wake: Callable[[], None]) -> None:
        self._cluster = cluster
        self._wake = wake
        self._last = 0
        self._open: dict[int, Asked] = {}

    def ask(self, name: str, question: bytes, timeout: float) -> Asked:
        """Open a question. Raise BusyError where too many are open, LinkError where it is too large to send."""
        # What was never sent needs no cancel either.
        self._open = {number: asked for number, asked in self._open.items() if asked.announced or not asked.closed}
        if sum(not asked.closed for asked in self._open.values()) >= OPEN_PER_CLUSTER:
            raise BusyError(f"cluster {self._cluster} is answering {OPEN_PER_CLUSTER} questions: try again in a moment")
        query = pb.Query(id=self._last + 1, name=name, timeout=timeout, credit=WINDOW)
        asked = self._open[query.id] = Asked(query, self._cluster, question, self._wake)
        self._last += 1
        self._wake()
        return asked

    def close(self, why: str) -> None:
        """End every question: the stream is at its end."""
        for asked in self._open.values():
            if not asked.answered:
                asked.fail(AwayError(why))
        self._open.clear()

    # -- what the spoke says

    def on_part(self, part: pb.Part) -> None:
        """Take a part of an answer. Raise LinkError where nobody asked for it, or it is too large."""
        asked = self._known(part.id)
        if asked is not None and not asked.closed:
            asked.take(part)

    def on_end(self, end: pb.AnswerEnd) -> None:
        """Take the end of an answer. Raise LinkError where nobody asked for it."""
        asked = self._known(end.id)
        if asked is not None:
            del self._open[end.id]
            asked.end(end.error)

    def _known(self, query: int) -> Asked | None:
        """Return an open question, None for one that was open."""
        if not 0 < query <= self._last:
            raise LinkError(f"an answer to query {query}, which was never asked")
        return self._open.get(query)

    # -- what to say

    def next_message(self) -> pb.HubMessage | None:
        """Return what costs no credit: a query, credit for an answer, or that one is not waited for any more."""
        for asked in list(self._open.values()):
            query = asked.query
            if asked.closed:
                del self._open[query.id]
                if asked.announced:
                    return pb.HubMessage(query_cancel=pb.QueryCancel(id=query.id))
            elif not asked.announced:
                asked.announced = True
                return pb.HubMessage(query=query)
            elif granted := asked.grant():
                return pb.HubMessage(answer_credit=pb.AnswerCredit(id=query.id, bytes=granted))
        return None

    def next_part(self, credit: int) -> pb.Part | None:
        """Return the next part of a question that the credit allows."""
        for asked in self._open.values():
            part = asked.next_part
            if asked.announced and not asked.closed and part is not None and cost(part) <= credit:
                asked.next_part = next(asked.parts, None)
                return part
        return None
