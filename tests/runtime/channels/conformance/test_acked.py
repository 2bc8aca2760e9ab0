"""Acknowledgements: a message is done with when its block ends well, and comes back if it does not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math

import pytest
from channel_tests import closed_kind

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelEmpty,
    Delivery,
    Err,
    RecvTimeoutError,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities
pytestmark = [needs("acknowledgements", "close")]


class WorkFailed(Exception):
    pass


# ---------------------------------------------------------------------------------------- settling


@needs("stats")
@capacities(1, 3, None)
async def test_a_block_that_ends_well_takes_the_message(open_channel, capacity, soon):
    tx, rx = await open_channel(capacity)
    await tx.send("work")
    async with await rx.recv_acked() as m:
        assert isinstance(m, Delivery)
        assert m.value == "work"
        assert m.redelivered is False
        assert m.attempt == 1
        await soon.stats(rx, in_flight=1, queue_size=0)
    await soon.stats(rx, in_flight=0, queue_size=0, redelivered=0, total_received=1)
    assert await rx.try_recv() == Err(ChannelEmpty())
    assert m.value == "work"


@needs("stats")
async def test_a_block_that_ends_badly_gives_the_message_back_marked(open_channel, soon):
    tx, rx = await open_channel(3)
    await tx.send("work")
    with pytest.raises(WorkFailed):
        async with await rx.recv_acked():
            raise WorkFailed
    with pytest.raises(WorkFailed), await rx.recv_acked() as again:
        assert again.value == "work"
        assert again.redelivered is True
        assert again.attempt == 2
        raise WorkFailed
    async with await rx.recv_acked() as third:
        assert third.attempt == 3
    await soon.stats(rx, redelivered=2, total_received=1, queue_size=0)


async def test_a_cancelled_block_gives_the_message_back(open_channel, start):
    tx, rx = await open_channel(3)
    await tx.send("work")
    begun = asyncio.Event()

    async def work():
        async with await rx.recv_acked():
            begun.set()
            await asyncio.Event().wait()

    working = start(work())
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await rx.recv() == "work"


async def test_a_delivery_that_is_dropped_comes_back(open_channel):
    tx, rx = await open_channel(3)
    await tx.send("work")
    m = await rx.recv_acked()
    del m
    gc.collect()
    cycle = [await rx.recv_acked()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    async with await rx.recv_acked() as third:
        assert third.attempt == 3


async def test_what_was_settled_once_stays_as_it_was(open_channel):
    tx, rx = await open_channel(3)
    await tx.send_batch([1, 2])
    async with await rx.recv_acked() as m:
        m.nack()
    assert m.value == 1
    again = await rx.recv_acked()
    assert again.value == 1
    again.ack()
    again.nack()
    again.ack()
    assert await rx.recv() == 2
    assert await rx.try_recv() == Err(ChannelEmpty())


async def test_what_comes_back_is_received_before_what_is_newer(open_channel):
    tx, rx = await open_channel(4)
    await tx.send_batch([1, 2, 3])
    first, second = await rx.recv_acked(), await rx.recv_acked()
    second.nack()
    first.nack()
    assert [await rx.recv() for _ in range(3)] == [1, 2, 3]


async def test_a_message_that_was_taken_gives_its_slot_away(open_channel):
    tx, rx = await open_channel(1)
    await tx.send(1)
    async with await rx.recv_acked() as m:
        await tx.send(2)
        m.nack()
    assert [await rx.recv(), await rx.recv()] == [1, 2]


async def test_a_receiver_that_waits_gets_what_comes_back(open_channel, start, until):
    tx, rx = await open_channel(1)
    other = rx.clone()
    await tx.send(1)
    m = await rx.recv_acked()
    waiting = start(other.recv_acked())
    await until.receivers_wait(rx, 1)
    m.nack()
    async with await waiting as again:
        assert (again.value, again.redelivered) == (1, True)
    await other.close()


# ------------------------------------------------------------------------------------------ delays


async def test_a_delayed_message_comes_back_later(open_channel):
    tx, rx = await open_channel(3)
    await tx.send_batch([1, 2])
    async with await rx.recv_acked() as m:
        m.nack(delay=0.3)
    assert await rx.recv() == 2
    async with await rx.recv_acked() as again:
        assert (again.value, again.redelivered) == (1, True)


@needs("threads", "blocking")
async def test_a_delayed_message_wakes_a_thread_that_waits(open_channel, in_thread):
    tx, rx = await open_channel(3)
    await tx.send(1)
    (await rx.recv_acked()).nack(0.05)
    assert await in_thread(rx.blocking_recv).awaited() == 1


async def test_delayed_messages_come_in_the_order_in_which_they_are_due(open_channel):
    tx, rx = await open_channel(3)
    await tx.send_batch([1, 2, 3])
    taken = [await rx.recv_acked() for _ in range(3)]  # first, since it takes a while that counts
    for delivery, delay in zip(taken, (0.6, 0.3, 0), strict=True):
        delivery.nack(delay)
    assert [await rx.recv() for _ in range(3)] == [3, 2, 1]


async def test_a_delayed_message_holds_the_end_back(open_channel):
    tx, rx = await open_channel(3)
    await tx.send(1)
    (await rx.recv_acked()).nack(0.05)
    await tx.close()
    assert [value async for value in rx] == [1]


async def test_a_delay_that_makes_no_sense_is_told_at_the_call(open_channel):
    tx, rx = await open_channel(3)
    await tx.send(1)
    async with await rx.recv_acked() as m:
        for delay in (-1, math.nan, math.inf):
            with pytest.raises(ValueError, match="delay"):
                m.nack(delay)
        for delay in ("1", None, True):
            with pytest.raises(TypeError, match="delay"):
                m.nack(delay)
        with pytest.raises(OverflowError):
            m.nack(10**400)
    assert await rx.try_recv() == Err(ChannelEmpty())  # the block has taken it


async def test_a_delay_outlives_its_channel(open_channel, no_leak):
    tx, rx = await open_channel(3)
    await tx.send(1)
    (await rx.recv_acked()).nack(0.01)
    await tx.close()
    await rx.close()
    await asyncio.sleep(0.05)
    del tx, rx, open_channel


# --------------------------------------------------------------------------------------- iteration


@needs("iteration")
async def test_acked_iterates_until_the_end(open_channel):
    tx, rx = await open_channel(9)
    await tx.send_batch([1, 2, 3])
    await tx.close()
    got = []
    failed = False
    async for m in rx.acked():
        with contextlib.suppress(WorkFailed):
            async with m:
                if m.value == 2 and not failed:
                    failed = True
                    raise WorkFailed
                got.append((m.value, m.attempt))
    assert got == [(1, 1), (2, 2), (3, 1)]


@needs("iteration", "blocking_iteration", "threads")
async def test_threads_iterate_too(open_channel, in_thread):
    tx, rx = await open_channel(9)
    await tx.send_batch([1, 2])
    await tx.close()

    def work():
        got = []
        for m in rx.acked():
            with m:
                got.append(m.value)
        return got

    assert await in_thread(work).awaited() == [1, 2]


@needs("iteration")
async def test_an_end_that_is_not_orderly_is_raised(open_channel):
    tx, rx = await open_channel(9)
    await tx.send(1)
    await tx.close("broken")
    seen = []
    with pytest.raises(ChannelClosedError, match="broken"):
        async for m in rx.acked():
            async with m:
                seen.append(m.value)
    assert seen == [1]


@needs("blocking", "threads", "timeouts")
async def test_recv_acked_waits_as_recv_does(open_channel, in_thread, start, until):
    tx, rx = await open_channel(9)
    for timeout in (0, 0.001):
        with pytest.raises(RecvTimeoutError):
            await rx.recv_acked(timeout=timeout)
        with pytest.raises(RecvTimeoutError):
            await in_thread(rx.blocking_recv_acked, timeout=timeout).awaited()
    with pytest.raises(ValueError, match="timeout"):
        rx.recv_acked(-1)
    with pytest.raises(RuntimeError, match=r"await rx\.recv_acked\(\)"):
        rx.blocking_recv_acked()
    waiting = start(rx.recv_acked())
    await until.receivers_wait(rx, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await tx.send(1)
    with await in_thread(rx.blocking_recv_acked).awaited() as m:
        assert (m.value, m.redelivered) == (1, False)


# ----------------------------------------------------------------------------------------- the end


async def test_the_end_is_held_back_while_others_have_unsettled_messages(
    open_channel, start, until
):
    tx, rx = await open_channel(9)
    other = rx.clone()
    await tx.send_batch([1, 2])
    one, two = await rx.recv_acked(), await rx.recv_acked()
    await tx.close()
    waiting = start(other.recv())
    await until.receivers_wait(rx, 1)
    one.nack()
    assert await waiting == 1
    end = start(other.recv())
    await until.receivers_wait(rx, 1)
    two.ack()
    assert await closed_kind(end) == "ended"


async def test_ones_own_unsettled_messages_do_not_hold_the_end_back(open_channel):
    tx, rx = await open_channel(9)
    await tx.send(1)
    mine = await rx.recv_acked()
    await tx.close()
    assert await closed_kind(rx.recv()) == "ended"
    mine.nack()
    assert await rx.recv() == 1
    assert await closed_kind(rx.recv()) == "ended"


async def test_deliveries_outlive_their_handle(open_channel):
    tx, rx = await open_channel(9)
    other = rx.clone()
    await tx.send_batch([1, 2])
    one, two = await rx.recv_acked(), await rx.recv_acked()
    await rx.close()
    await tx.close()
    one.nack()
    two.ack()
    assert await other.recv() == 1
    assert await closed_kind(other.recv()) == "ended"
    await other.close()


@needs("stats", "outlives_its_handles")
async def test_what_comes_back_when_no_receiver_is_left_is_dropped(open_channel, soon):
    tx, rx = await open_channel(9)
    await tx.send(1)
    m = await rx.recv_acked()
    await rx.close()
    m.nack()
    await soon.stats(tx, queue_size=0, in_flight=0)


@needs("by_reference")
async def test_a_delivery_may_go_through_its_own_channel(open_channel, no_leak):
    tx, rx = await open_channel(9)
    await tx.send(1)
    await tx.send(await rx.recv_acked())
    del tx, rx, open_channel
    gc.collect()
