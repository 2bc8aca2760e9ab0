"""Permits: slots that are held for messages to come."""

from __future__ import annotations

import asyncio
import gc

import pytest
from channel_tests import closed_kind

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    Err,
    Ok,
    Permit,
    SendTimeoutError,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities
pytestmark = [needs("permits")]


@capacities(1, 3, 100, None)
async def test_what_a_permit_sends_is_received(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    permit = await tx.reserve()
    assert isinstance(permit, Permit)
    assert await rx.try_recv() == Err(ChannelEmpty())
    assert permit.send("sent") is None
    assert await rx.recv() == "sent"


async def test_stored_and_reserved_together_never_exceed_the_capacity(open_channel):
    tx, rx = await open_channel(3)
    await tx.send(1)
    first = (await tx.try_reserve()).unwrap()
    second = await tx.reserve()
    assert await tx.try_reserve() == Err(ChannelFull(3))
    assert await tx.try_send(2) == Err(ChannelFull(3))
    assert await tx.try_send_batch([2, 3]) == Err(ChannelFull(3))
    first.send(2)
    assert await tx.try_send(3) == Err(ChannelFull(3))
    second.release()
    assert await tx.try_send(3) == Ok(None)
    assert await tx.try_reserve() == Err(ChannelFull(3))
    assert await rx.recv_batch(9) == [1, 2, 3]
    assert (await rx.stats()).high_watermark == 3


async def test_a_permit_serves_once(open_channel):
    tx, rx = await open_channel(3)
    sent, released = await tx.reserve(), await tx.reserve()
    sent.send(1)
    released.release()
    released.release()
    sent.release()
    for permit in (sent, released):
        with pytest.raises(RuntimeError, match="used or released already"):
            permit.send(2)
    assert await rx.recv_batch(9) == [1]


async def test_a_permit_that_is_dropped_gives_its_slot_to_the_next_in_line(
    open_channel, start, until
):
    tx, rx = await open_channel(1)
    permit = await tx.reserve()
    sending = start(tx.send("next"))
    await until.senders_wait(tx, 1)
    del permit
    gc.collect()
    await sending
    assert await rx.recv() == "next"


async def test_a_permit_in_a_cycle_is_collected_and_gives_its_slot_back(open_channel):
    tx, _rx = await open_channel(1)
    cycle = [await tx.reserve()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert await tx.try_send(1) == Ok(None)


@needs("by_reference")
async def test_a_permit_may_go_through_the_channel_that_it_is_of(open_channel, no_leak):
    tx, rx = await open_channel(2)
    await tx.send(await tx.reserve())
    permit = await rx.recv()
    permit.send(permit)
    del permit
    await rx.close()
    await tx.close()
    del tx, rx, open_channel


async def test_a_reserve_waits_in_line_and_nobody_passes_it(open_channel, start, until):
    tx, rx = await open_channel(1)
    await tx.send(0)
    reserving = start(tx.reserve())
    await until.senders_wait(tx, 1)
    sending = start(tx.send(2))
    await until.senders_wait(tx, 2)
    assert await rx.recv() == 0
    permit = await reserving
    assert not sending.done()
    permit.send(1)
    assert await rx.recv() == 1
    await sending
    assert await rx.recv() == 2


async def test_a_cancelled_reserve_holds_nothing(open_channel, start, until):
    tx, rx = await open_channel(1)
    await tx.send(0)
    reserving = start(tx.reserve())
    await until.senders_wait(tx, 1)
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    assert await rx.recv() == 0
    assert await tx.try_send(1) == Ok(None)


@needs("at_once")
async def test_a_reserve_that_is_cancelled_after_its_wake_up_passes_the_slot_on(
    open_channel, start, until, drive
):
    tx, rx = await open_channel(1)
    await tx.send(0)
    reserving = start(tx.reserve())
    await until.senders_wait(tx, 1)
    sending = start(tx.send(1))
    await until.senders_wait(tx, 2)
    assert drive(rx.try_recv()) == Ok(0)  # grants it the slot, and it has not run yet
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    await sending
    assert await rx.recv() == 1


@needs("timeouts")
async def test_a_limited_reserve_gives_up(open_channel):
    tx, rx = await open_channel(1)
    await tx.send(0)
    for timeout in (0, 0.001):
        with pytest.raises(SendTimeoutError):
            await tx.reserve(timeout=timeout)
    assert await rx.recv() == 0
    (await tx.reserve(0)).send(1)
    assert await rx.recv() == 1
    with pytest.raises(ValueError, match="timeout"):
        tx.reserve(timeout=-1)
    with pytest.raises(TypeError):
        tx.reserve(timeout="1")


@needs("blocking", "threads")
async def test_threads_reserve_and_send(open_channel, in_thread, until):
    tx, rx = await open_channel(1)
    await tx.send(0)

    def reserve_and_send():
        tx.blocking_reserve().send(1)
        with pytest.raises(SendTimeoutError):
            tx.blocking_reserve(timeout=0)

    job = in_thread(reserve_and_send)
    await until.senders_wait(tx, 1)
    assert await rx.recv() == 0
    await job.awaited()
    assert await rx.recv() == 1
    with pytest.raises(RuntimeError, match=r"await tx\.reserve\(\)"):
        tx.blocking_reserve()


@needs("close", "stats")
async def test_a_permit_keeps_its_sender_counted(open_channel, start, until):
    tx, rx = await open_channel(2)
    first, second = await tx.reserve(), await tx.reserve()
    assert (await rx.stats()).sender_count == 1
    await tx.close()
    assert tx.is_closed
    assert not rx.is_closed
    assert (await rx.stats()).sender_count == 1
    receiving = start(rx.recv())
    await until.receivers_wait(rx, 1)
    first.send(1)
    assert await receiving == 1
    end = start(rx.recv())
    await until.receivers_wait(rx, 1)
    del second
    assert await closed_kind(end) == "ended"
    assert (await rx.stats()).sender_count == 0


@needs("close")
async def test_closing_ends_a_reserve_that_waits(open_channel, start, until):
    tx, _rx = await open_channel(1)
    await tx.send(0)
    reserving = start(tx.reserve())
    await until.senders_wait(tx, 1)
    await tx.close()
    assert await closed_kind(reserving) == "handle_closed"
    assert await closed_kind(tx.reserve()) == "handle_closed"
    other, rx = await open_channel(1)
    await rx.close("done")
    assert await other.try_reserve() == Err(ChannelClosed("done"))


@needs("close")
async def test_what_a_permit_sends_when_no_receiver_is_left_is_dropped(open_channel):
    tx, rx = await open_channel(1)
    permit = await tx.reserve()
    await rx.close()
    permit.send(1)
    assert (await tx.stats()).total_sent == 0


@needs("rendezvous")
@capacities(0)
async def test_on_a_rendezvous_a_slot_is_a_receiver_that_waits(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    assert await tx.try_reserve() == Err(ChannelFull(0))
    reserving = start(tx.reserve())
    await until.senders_wait(tx, 1)
    assert await rx.try_recv() == Err(ChannelEmpty())
    receiving = start(rx.recv())
    permit = await reserving
    assert await tx.try_send("another") == Err(ChannelFull(0))
    assert not receiving.done()
    permit.send("sent")
    assert await receiving == "sent"
