"""CEL as Flux' users write it, and what an expression of a tenant can't do: each in the real process that evaluates."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import psutil
import pytest
import pytest_asyncio

from felloe.errors import ExpressionError
from spoke.health.cel import LENGTH_AT_MOST, Cel, FailedExpressionError
from spoke.health.cel_worker import MEMORY_BYTES

OBJECT = {
    "metadata": {"name": "web", "generation": 2, "labels": {"app/version": "1.4"}},
    "spec": {"replicas": 3},
    "status": {
        "phase": "Ready",
        "ready": 2,
        "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}, {"type": "Synced"}],
    },
}
COUNTS_FOR_EVER = "[0,1,2,3,4,5,6,7,8,9].all(a, " * 9 + "true" + ")" * 9
GROWS_FOR_EVER = "['" + "a" * 4000 + "']" + ".map(x, x + x)" * 20 + ".size() == 1"


@pytest_asyncio.fixture
async def cel() -> AsyncIterator[Cel]:
    evaluator = Cel()
    yield evaluator
    await evaluator.close()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 (another process is what is looked at)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status.phase == 'Ready'", True),
        ("status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')", True),
        ("status.conditions.filter(e, e.type == 'Ready').all(e, e.observedGeneration == metadata.generation)", True),
        ("has(status.conditions) && status.conditions.exists(e, e.type == 'Stalled')", False),
        ("has(status.nothing)", False),
        ("!has(status.nothing) || status.nothing == 1", True),
        ("status.nothing == 1 || status.phase == 'Ready'", True),
        ("status.ready >= 2.0 && spec.replicas > status.ready", True),
        ("metadata.labels['app/version'] == '1.4'", True),
        ("metadata.labels['app/version'].split('.')[0] == '1' && 'app/version' in metadata.labels", True),
        ("status.phase.lowerAscii() == 'ready' && status.phase.matches('^Re')", True),
        ("sets.contains(['Ready', 'Done'], [status.phase])", True),
        ("status.?phase.orValue('') == 'Ready'", True),
        ("status.?nothing.orValue('none') == 'none' ? true : false", True),
        ("status.?nothing.at.all.hasValue()", False),
        ("metadata.?labels[?'app/version'].orValue('') == '1.4'", True),
        ("metadata.labels[?'other'].orValue('a ?.b [?c]') == 'a ?.b [?c]'", True),
        ("status.?conditions[0].type.orValue('') == 'Ready' && status.conditions[?9].hasValue() == false", True),
        ("status.conditions.exists(e, e.?status.orValue('') == 'True') // a comment .?x", True),
        ("[status.?phase.value()][0] == 'Ready' && 'Ready' in [status.phase]", True),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-02T00:00:00Z')", True),
    ],
)
async def test_what_people_write_for_flux(cel: Cel, expression: str, expected: bool) -> None:
    assert (await cel.first_true([expression], OBJECT) == 0) is expected


async def test_the_first_that_is_true_counts_and_later_ones_are_not_evaluated(cel: Cel) -> None:
    assert await cel.first_true(["false", "status.phase == 'Ready'", "status.nothing == 1"], OBJECT) == 1
    assert await cel.first_true(["false", "status.phase == 'Gone'"], OBJECT) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("status.nothing == 1", "no such key: nothing"),
        ("nothing.at.all == 1", "'nothing'"),
        ("spec.replicas", "it is a int, not true or false"),
        ("status.conditions[7].type == 'x'", "index out of bounds"),
    ],
)
async def test_an_expression_that_fails_on_an_object_says_why(cel: Cel, expression: str, said: str) -> None:
    with pytest.raises(FailedExpressionError, match=said.replace("[", r"\[")) as caught:
        await cel.first_true(["false", expression], OBJECT)
    assert (caught.value.index, caught.value.unread) == (1, False)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("status.phase ==", "at 1:16: Syntax error"),
        ("status.phase = 'Ready'", "at 1:"),
        ("x" * (LENGTH_AT_MOST + 1), "more than 8192"),
        ("[" * 3000, "at 1:"),
    ],
)
async def test_what_can_not_be_read_is_told_with_its_place(cel: Cel, expression: str, said: str) -> None:
    with pytest.raises(FailedExpressionError) as caught:
        await cel.read(["true", expression])
    assert (caught.value.index, caught.value.unread) == (1, True)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("expression", "said"), [(COUNTS_FOR_EVER, "CPU time"), (GROWS_FOR_EVER, "64 MiB|CPU time")])
async def test_an_expression_without_end_is_ended_and_the_next_one_answered(
    cel: Cel, expression: str, said: str
) -> None:
    assert await cel.first_true(["true"], {}) == 0
    before = cel.pid
    with pytest.raises(ExpressionError, match=said):
        await cel.first_true([expression], OBJECT)
    assert await cel.first_true(["status.phase == 'Ready'"], OBJECT) == 0
    assert cel.pid != before
    after = cel.pid
    with pytest.raises(ExpressionError, match=said):  # told from memory: it costs no second process
        await cel.first_true([expression], OBJECT)
    assert cel.pid == after


async def test_memory_beyond_the_process_itself_is_limited_by_the_kernel(cel: Cel) -> None:
    assert await cel.first_true(["true"], {}) == 0
    assert cel.pid is not None
    worker = psutil.Process(cel.pid)
    soft, hard = worker.rlimit(psutil.RLIMIT_AS)
    assert soft == hard
    assert soft - worker.memory_info().vms <= MEMORY_BYTES


async def test_other_work_goes_on_while_an_expression_is_evaluated(cel: Cel) -> None:
    async with asyncio.timeout(20):
        slow = asyncio.create_task(cel.first_true([COUNTS_FOR_EVER], {}))
        turns = 0
        while not slow.done():
            await asyncio.sleep(0.005)
            turns += 1
    assert turns > 5
    assert isinstance(slow.exception(), ExpressionError)


async def test_a_question_that_was_given_up_does_not_answer_the_next_one(cel: Cel) -> None:
    assert await cel.first_true(["true"], {}) == 0
    asked = asyncio.create_task(cel.first_true(["false", "true"], OBJECT))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert await cel.first_true(["true"], OBJECT) == 0


async def test_nothing_runs_before_the_first_question_nor_long_after_the_last_one() -> None:
    cel = Cel(idle_seconds=0.05)
    assert cel.pid is None
    assert await cel.first_true(["true"], {}) == 0
    process = cel.pid
    assert process
    await until(lambda: not os.path.exists(f"/proc/{process}"))  # noqa: PTH110
    with cel.awake():
        assert await cel.first_true(["false", "true"], {}) == 1
        process = cel.pid
        await asyncio.sleep(0.2)
        assert cel.pid == process
    await until(lambda: not os.path.exists(f"/proc/{process}"))  # noqa: PTH110
    await cel.close()
    assert cel.pid is None
