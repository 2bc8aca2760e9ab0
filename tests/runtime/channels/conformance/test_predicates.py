"""The predicate of wait_for() is a plain function: what an asynchronous one returns would pass for true."""

from __future__ import annotations

import functools
import gc

import pytest


async def is_later(value: object) -> bool:
    return value == "later"


class Asynchronous:
    async def __call__(self, value: object) -> bool:
        return value == "later"


class Awaitable:
    def __await__(self):
        yield


COROUTINE_FUNCTIONS = {
    "function": is_later,
    "partial": functools.partial(is_later),
    "method": Asynchronous().__call__,
}
ANSWERS = {
    "lambda": lambda value: is_later(value),
    "object": Asynchronous(),
    "awaitable": lambda _value: Awaitable(),
}


@pytest.mark.parametrize("name", COROUTINE_FUNCTIONS)
async def test_a_coroutine_function_is_refused_at_the_call(open_watch, in_thread, name):
    _tx, rx = await open_watch()
    with pytest.raises(TypeError, match="^predicate must be a plain function, not an async one"):
        rx.wait_for(COROUTINE_FUNCTIONS[name])
    with pytest.raises(TypeError, match="^predicate must be a plain function, not an async one"):
        await in_thread(rx.blocking_wait_for, COROUTINE_FUNCTIONS[name]).awaited()


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_to_be_awaited_is_refused(
    open_watch, start, in_thread, until, recorded_warnings, name
):
    tx, rx = await open_watch()
    refuses = functools.partial(
        pytest.raises, TypeError, match="^predicate must be a plain function, not an async one"
    )

    def of_later_values(value: object) -> object:
        return value != "initial" and ANSWERS[name](value)

    with recorded_warnings() as messages:
        with refuses():
            await rx.wait_for(ANSWERS[name])
        with refuses():
            await in_thread(rx.blocking_wait_for, ANSWERS[name]).awaited()
        waiting = start(rx.wait_for(of_later_values))
        await until.receivers_wait(rx, 1)
        await tx.send("later")
        with refuses():
            await waiting
        gc.collect()
    assert messages == []  # above all of no coroutine that was never awaited
    assert await rx.wait_for(lambda value: value == "later") == "later"
