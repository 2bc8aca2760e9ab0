"""Timeouts lose nothing either (rule 5), and bad ones are told at the call (rule 9). Nothing here measures time."""

from __future__ import annotations

import asyncio
import math
import sys
from decimal import Decimal
from fractions import Fraction

import pytest

from klaw_core.runtime.channels import (
    ChannelEmpty,
    ChannelEmptyError,
    ChannelError,
    ChannelFullError,
    Err,
    RecvTimeoutError,
    SendTimeoutError,
    select,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities
pytestmark = [needs("timeouts")]

SHORT_S = 0.001
WRONG_TYPES = ["1", b"1", [], True, False, 1j, Decimal(1), Fraction(1, 2), object()]
OUT_OF_RANGE = [-1, -0.001, -sys.float_info.max, -(10**400), -math.inf, math.nan]
ENDLESS = [math.inf, 1e300, sys.float_info.max, 10**18, 10**30, 10**400]


def timed_calls(tx, rx) -> dict[str, object]:
    """Everything that takes a timeout."""
    return {
        "send": lambda timeout: tx.send(1, timeout=timeout),
        "send, by place": lambda timeout: tx.send(1, timeout),
        "send_batch": lambda timeout: tx.send_batch([1], timeout=timeout),
        "blocking_send": lambda timeout: tx.blocking_send(1, timeout=timeout),
        "blocking_send_batch": lambda timeout: tx.blocking_send_batch([1], timeout=timeout),
        "recv": lambda timeout: rx.recv(timeout=timeout),
        "recv, by place": lambda timeout: rx.recv(timeout),
        "recv_batch": lambda timeout: rx.recv_batch(1, timeout=timeout),
        "blocking_recv": lambda timeout: rx.blocking_recv(timeout=timeout),
        "blocking_recv_batch": lambda timeout: rx.blocking_recv_batch(1, timeout=timeout),
        "blocking_close": lambda timeout: tx.blocking_close(timeout=timeout),
        "select": lambda timeout: select(rx, timeout=timeout),
    }


CALLS = list(timed_calls(None, None))


@needs("waiting", "blocking", "batches", "blocking_batches", "select", "blocking_close")
@pytest.mark.parametrize("call", CALLS)
async def test_a_timeout_that_is_no_number_is_a_type_error_at_the_call(open_channel, call):
    timed = timed_calls(*await open_channel(4))[call]
    for timeout in WRONG_TYPES:
        with pytest.raises(
            TypeError, match=r"^timeout must be a number of seconds .*, not "
        ) as caught:
            timed(timeout)
        assert type(timeout).__name__ in str(caught.value)


@needs("waiting", "blocking", "batches", "blocking_batches", "select", "blocking_close")
@pytest.mark.parametrize("call", CALLS)
async def test_a_negative_timeout_or_nan_is_a_value_error_at_the_call(open_channel, call):
    tx, rx = await open_channel(4)
    timed = timed_calls(tx, rx)[call]
    for timeout in OUT_OF_RANGE:
        with pytest.raises(ValueError, match="^timeout must not be negative") as caught:
            timed(timeout)
        assert not isinstance(caught.value, ChannelError)
    assert not tx.is_closed


@needs("waiting")
@pytest.mark.parametrize("timeout", [0, 0.0, -0.0])
async def test_zero_means_try(open_channel, capacity, fill, timeout):
    tx, rx = await open_channel(capacity)
    with pytest.raises(RecvTimeoutError):
        await rx.recv(timeout=timeout)
    with pytest.raises(RecvTimeoutError):
        await rx.recv_batch(3, timeout=timeout)
    filled = await fill(tx)
    if capacity is not None:
        with pytest.raises(SendTimeoutError):
            await tx.send("no room", timeout=timeout)
        with pytest.raises(SendTimeoutError):
            await tx.send_batch(["no room"], timeout=timeout)
    for n in range(filled):
        assert await rx.recv(timeout=timeout) == n
    if capacity != 0:
        await tx.send("room", timeout=timeout)
        assert await rx.recv_batch(3, timeout=timeout) == ["room"]


@needs("waiting", "stats", "batches")
async def test_a_receive_that_runs_out_of_time_takes_nothing(open_channel, capacity, start, soon):
    tx, rx = await open_channel(capacity)
    with pytest.raises(RecvTimeoutError) as caught:
        await rx.recv(timeout=SHORT_S)
    assert isinstance(caught.value, ChannelEmptyError)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(RecvTimeoutError):
        await rx.recv_batch(3, timeout=SHORT_S)
    await soon.stats(rx, waiting_receivers=0)
    waiting = start(tx.send(1))
    assert await rx.recv() == 1
    await waiting


@needs("waiting", "stats", "batches", "trying")
@capacities(0, 1, 3)
async def test_a_send_that_runs_out_of_time_sends_nothing(open_channel, capacity, fill, soon):
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    with pytest.raises(SendTimeoutError) as caught:
        await tx.send("late", timeout=SHORT_S)
    assert isinstance(caught.value, ChannelFullError)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.capacity == capacity
    with pytest.raises(SendTimeoutError):
        await tx.send_batch(["late"], timeout=SHORT_S)
    await soon.stats(tx, waiting_senders=0)
    for n in range(filled):
        assert await rx.recv() == n
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("waiting", "stats", "arrival_order")
@capacities(0, 1, 3)
async def test_a_send_that_runs_out_of_time_makes_way_for_the_next(
    open_channel, capacity, fill, start
):
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    late = start(tx.send("late", timeout=0.01))
    next_one = start(tx.send("next"))  # begins after it, in the same turn of the loop
    with pytest.raises(SendTimeoutError):
        await late
    assert [await rx.recv() for _ in range(filled + 1)] == [*range(filled), "next"]
    await next_one


@needs("waiting", "stats")
@pytest.mark.parametrize("timeout", ENDLESS, ids=lambda timeout: f"{str(timeout)[:12]}")
async def test_a_huge_timeout_is_as_good_as_none(open_channel, timeout, start, until, fill):
    tx, rx = await open_channel(1)
    receiving = start(rx.recv(timeout=timeout))
    await until.receivers_wait(rx, 1)
    await tx.send(1)
    assert await receiving == 1
    await fill(tx)
    sending = start(tx.send("late", timeout=timeout))
    await until.senders_wait(tx, 1)
    assert await rx.recv() == 0
    await sending


@needs("blocking")
@pytest.mark.parametrize("timeout", ENDLESS, ids=lambda timeout: f"{str(timeout)[:12]}")
async def test_a_huge_timeout_is_as_good_as_none_to_a_thread(
    open_channel, timeout, in_thread, until
):
    tx, rx = await open_channel(1)
    job = in_thread(rx.blocking_recv, timeout=timeout)
    await until.receivers_wait(rx, 1)
    await tx.send(1)
    assert await job.awaited() == 1


@needs("waiting", "stats")
async def test_a_message_in_time_stops_the_clock(open_channel, capacity, start, until, long_s):
    tx, rx = await open_channel(capacity)
    for _ in range(3):
        waiting = start(rx.recv(timeout=long_s))
        await until.receivers_wait(rx, 1)
        await tx.send(1)
        assert await waiting == 1


@needs("waiting", "stats", "trying")
async def test_time_that_runs_out_beside_a_message_loses_nothing(open_channel, capacity, start):
    """Whichever comes first in one turn of the loop: the message is received once, or is still there."""
    tx, rx = await open_channel(capacity)
    for _ in range(50):
        waiting = start(rx.recv(timeout=SHORT_S))
        sending = start(send_after(tx, SHORT_S))
        try:
            assert await waiting == "m"
        except RecvTimeoutError:
            assert await rx.recv() == "m"
        await sending
        assert await rx.try_recv() == Err(ChannelEmpty())


async def send_after(tx, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await tx.send("m")


@needs("blocking", "blocking_batches", "stats")
async def test_a_thread_that_runs_out_of_time_takes_and_sends_nothing(
    open_channel, in_thread, fill, soon
):
    tx, rx = await open_channel(1)
    for receive in (rx.blocking_recv, lambda timeout: rx.blocking_recv_batch(2, timeout)):
        for timeout in (0, SHORT_S):
            with pytest.raises(RecvTimeoutError):
                await in_thread(receive, timeout).awaited()
    await fill(tx)
    for send in (tx.blocking_send, lambda value, timeout: tx.blocking_send_batch([value], timeout)):
        for timeout in (0, SHORT_S):
            with pytest.raises(SendTimeoutError):
                await in_thread(send, "late", timeout).awaited()
    await soon.stats(tx, waiting_senders=0, waiting_receivers=0, queue_size=1)
