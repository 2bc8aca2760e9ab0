"""Broadcast channels: every receiver gets every message sent after it subscribed."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref

import pytest
from channel_tests import Thing, closed_kind

from klaw_core.runtime.channels import (
    BroadcastReceiver,
    BroadcastSender,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFull,
    ChannelFullError,
    Err,
    Lagged,
    LaggedError,
    Ok,
    Receiver,
    RecvTimeoutError,
    Sender,
    SendTimeoutError,
    blocking_broadcast,
    broadcast,
    select,
    select_all,
)


async def take_all(rx) -> list:
    taken = []
    while isinstance(result := await rx.try_recv(), Ok):
        taken.append(result.value)
    return taken


# ------------------------------------------------------------------------------------- messages


async def test_every_receiver_gets_the_very_same_message():
    tx, rx = await broadcast()
    other = tx.subscribe()
    thing = Thing()
    assert await tx.send(thing) == 2
    assert await rx.recv() is thing
    assert await other.recv() is thing


async def test_receivers_that_wait_all_get_it(until):
    tx, rx = await broadcast()
    other = rx.resubscribe()
    waits = [asyncio.create_task(handle.recv()) for handle in (rx, other)]
    await until.receivers_wait(tx, 2)
    assert await tx.send(1) == 2
    assert await asyncio.gather(*waits) == [1, 1]


async def test_two_receives_on_one_handle_share_its_messages(until):
    tx, rx = await broadcast()
    waits = [asyncio.create_task(rx.recv()) for _ in range(2)]
    await until.receivers_wait(tx, 2)
    tx.send_nowait(1)
    tx.send_nowait(2)
    assert await asyncio.gather(*waits) == [1, 2]


async def test_a_receiver_gets_what_is_sent_after_it_subscribed():
    tx, rx = await broadcast()
    await tx.send(1)
    subscribed, resubscribed = tx.subscribe(), rx.resubscribe()
    assert isinstance(subscribed, BroadcastReceiver)
    await tx.send(2)
    assert await take_all(rx) == [1, 2]
    assert await take_all(subscribed) == await take_all(resubscribed) == [2]


async def test_every_way_to_send_and_to_receive(in_thread):
    tx, rx = await broadcast()
    assert await tx.send(1, timeout=1.0) == 1
    assert await tx.try_send(2) == Ok(1)
    assert tx.send_nowait(3) == 1
    assert in_thread(tx.blocking_send, 4, 1.0).result() == 1
    assert await rx.recv(timeout=0) == 1
    assert await rx.try_recv() == Ok(2)
    assert rx.recv_nowait() == 3
    assert in_thread(rx.blocking_recv, 30).result() == 4
    assert await rx.try_recv() == Err(ChannelEmpty())
    with pytest.raises(ChannelEmptyError):
        rx.recv_nowait()
    for timeout in (0, 0.001):
        with pytest.raises(RecvTimeoutError):
            await rx.recv(timeout)
    with pytest.raises(RecvTimeoutError):
        in_thread(rx.blocking_recv, 0.001).result()


# ------------------------------------------------------------------------------------- too many


@pytest.mark.parametrize(("asked", "kept"), [(1, 1), (2, 2), (3, 4), (16, 16), (17, 32)])
async def test_the_capacity_is_rounded_up_to_a_power_of_two(asked, kept):
    tx, rx = await broadcast(asked)
    assert tx.capacity == rx.capacity == kept
    for value in range(kept):
        await tx.send(value)
    assert await take_all(rx) == list(range(kept))


async def test_it_keeps_sixteen_unless_told():
    assert (await broadcast())[0].capacity == 16


async def test_one_that_fell_behind_is_told_once_and_goes_on_at_the_oldest_kept(in_thread):
    receives = {
        "recv": lambda rx: rx.recv(),
        "recv_nowait": lambda rx: rx.recv_nowait(),
        "blocking_recv": lambda rx: in_thread(rx.blocking_recv).result(),
    }
    for name, receive in receives.items():
        tx, rx = await broadcast(4)
        for value in range(10):
            await tx.send(value)
        with pytest.raises(LaggedError, match="6") as caught:
            result = receive(rx)
            if name == "recv":
                await result
        assert caught.value.skipped == 6
        assert caught.value.index is None
        assert await take_all(rx) == [6, 7, 8, 9]


async def test_a_try_finds_the_lag_as_a_value():
    tx, rx = await broadcast(2)
    for value in range(5):
        await tx.send(value)
    assert await rx.try_recv() == Err(Lagged(3))
    assert await rx.try_recv() == Ok(3)


async def test_iteration_skips_lags(in_thread):
    tx, rx = await broadcast(2)
    other = rx.resubscribe()
    for value in range(5):
        await tx.send(value)
    tx.close()
    assert [value async for value in rx] == [3, 4]
    assert in_thread(list, other).result() == [3, 4]


async def test_an_iteration_that_waits_skips_the_lag_that_it_is_woken_with(until):
    tx, rx = await broadcast(2)

    async def collect():
        return [value async for value in rx]

    collecting = asyncio.create_task(collect())
    await until.receivers_wait(tx, 1)
    for value in range(9):
        tx.send_nowait(value)
    tx.close()
    assert await collecting == [7, 8]


async def test_a_thread_that_iterates_skips_lags(in_thread, until):
    tx, rx = await broadcast(2)
    collecting = in_thread(list, rx)
    await until.receivers_wait(tx, 1)
    for value in range(9):
        tx.send_nowait(value)
    tx.close()
    taken = await collecting.awaited()
    assert taken == sorted(taken)
    assert taken[-2:] == [7, 8]


async def test_with_overflow_wait_a_send_waits_for_the_slowest(until, in_thread):
    tx, rx = await broadcast(2, overflow="wait")
    fast = tx.subscribe()
    tx.send_nowait(0)
    tx.send_nowait(1)
    assert await take_all(fast) == [0, 1]
    assert await tx.try_send(2) == Err(ChannelFull(2))
    with pytest.raises(ChannelFullError):
        tx.send_nowait(2)
    for timeout in (0, 0.001):
        with pytest.raises(SendTimeoutError):
            await tx.send(2, timeout)
    with pytest.raises(SendTimeoutError):
        in_thread(tx.blocking_send, 2, 0.001).result()
    sending = asyncio.create_task(tx.send(2))
    await until.senders_wait(tx, 1)
    assert await rx.recv() == 0
    assert await sending == 2
    assert await take_all(rx) == [1, 2]
    assert await take_all(fast) == [2]


async def test_a_send_that_waits_ends_with_the_last_receiver(until):
    tx, rx = await broadcast(1, overflow="wait")
    tx.send_nowait(0)
    sending = asyncio.create_task(tx.send(1))
    await until.senders_wait(tx, 1)
    rx.close()
    assert await closed_kind(sending) == "peer_gone"


async def test_a_cancelled_send_that_waited_has_sent_nothing(until):
    tx, rx = await broadcast(1, overflow="wait")
    tx.send_nowait(0)
    sending = asyncio.create_task(tx.send(1))
    await until.senders_wait(tx, 1)
    sending.cancel()
    await asyncio.wait([sending])
    assert await take_all(rx) == [0]


# ------------------------------------------------------------------------------------- closing


async def test_without_receivers_a_send_is_closed_until_somebody_subscribes():
    tx, rx = await broadcast()
    watching = asyncio.create_task(tx.closed())
    await asyncio.sleep(0)
    rx.close()
    await watching
    with pytest.raises(ChannelClosedError, match="^no receivers$") as caught:
        await tx.send(1)
    assert caught.value.kind == "peer_gone"
    assert await tx.try_send(1) == Err(ChannelClosed("no receivers"))
    with pytest.raises(ChannelClosedError):
        tx.send_nowait(1)
    assert tx.is_closed
    later = tx.subscribe()
    assert await tx.send(2) == 1
    assert await take_all(later) == [2]


@pytest.mark.parametrize("end", ["close", "drop"])
async def test_after_the_last_sender_receivers_drain_and_then_end(end, until):
    tx, rx = await broadcast()
    waiting_rx = rx.resubscribe()
    tx.send_nowait(1)
    assert await waiting_rx.recv() == 1
    waiting = asyncio.create_task(waiting_rx.recv())
    clone = tx.clone()
    await until.receivers_wait(rx, 1)
    clone.close()
    await asyncio.sleep(0)
    assert not waiting.done()
    if end == "close":
        tx.close()
    else:
        del tx
        gc.collect()
    assert await closed_kind(waiting) == "ended"
    assert not rx.is_closed
    assert await rx.recv() == 1
    assert rx.is_closed
    assert await rx.try_recv() == Err(ChannelClosed())


async def test_a_sender_that_fails_says_why():
    tx, rx = await broadcast()
    with pytest.raises(ZeroDivisionError):
        async with tx:
            await tx.send(1)
            await tx.send(1 / 0)
    got = []
    with pytest.raises(ChannelClosedError, match="division by zero") as caught:
        async for value in rx:
            got.append(value)  # noqa: PERF401  what came before counts
    assert got == [1]
    assert caught.value.kind == "peer_died"


async def test_operations_on_a_closed_handle_are_closed():
    tx, rx = await broadcast()
    other_tx, other_rx = tx.clone(), rx.resubscribe()
    tx.close()
    rx.close()
    assert rx.is_closed
    assert tx.is_closed
    for operation in (tx.send(1), rx.recv(), tx.closed(), rx.closed()):
        assert await closed_kind(operation) == "handle_closed"
    for call in (tx.clone, tx.subscribe, rx.resubscribe):
        with pytest.raises(ChannelClosedError) as caught:
            call()
        assert caught.value.kind == "handle_closed"
    assert await other_tx.send(1) == 1
    assert await other_rx.recv() == 1


async def test_closing_a_receiver_ends_its_own_receives_and_nobody_elses(until):
    tx, rx = await broadcast()
    other = rx.resubscribe()
    mine, theirs = asyncio.create_task(rx.recv()), asyncio.create_task(other.recv())
    await until.receivers_wait(tx, 2)
    rx.close()
    assert await closed_kind(mine) == "handle_closed"
    tx.send_nowait(1)
    assert await theirs == 1


async def test_a_receiver_hears_that_the_senders_are_gone():
    tx, rx = await broadcast()
    watching = asyncio.create_task(rx.closed())
    await asyncio.sleep(0)
    assert not watching.done()
    tx.close()
    await watching


# ------------------------------------------------------------------------------------- cancelling


async def test_a_cancelled_receive_takes_nothing(until):
    tx, rx = await broadcast()
    for after_its_wake_up in (False, True):
        waiting = asyncio.create_task(rx.recv())
        await until.receivers_wait(tx, 1)
        if after_its_wake_up:
            tx.send_nowait(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    assert await take_all(rx) == [1]


# ------------------------------------------------------------------------------------- select


async def test_select_takes_from_a_broadcast_and_leaves_the_losers(until):
    tx, rx = await broadcast()
    other = rx.resubscribe()
    tx.send_nowait(1)
    assert await select(rx, other, biased=True) == (0, 1)
    assert await take_all(other) == [1]
    waiting = asyncio.create_task(select(rx))
    await until.receivers_wait(tx, 1)
    tx.send_nowait(2)
    assert await waiting == (0, 2)


async def test_select_tells_a_lag_with_its_index():
    tx, rx = await broadcast(2)
    _idle_tx, idle = await broadcast()
    for value in range(5):
        tx.send_nowait(value)
    with pytest.raises(LaggedError) as caught:
        await select(idle, rx)
    assert caught.value.skipped == 3
    assert caught.value.index == 1
    assert await select(idle, rx) == (1, 3)


async def test_select_all_skips_lags():
    tx, rx = await broadcast(2)
    for value in range(5):
        tx.send_nowait(value)
    tx.close()
    assert [pair async for pair in select_all(rx)] == [(0, 3), (0, 4)]


# ------------------------------------------------------------------------------------- the rest


async def test_threads_and_loops_all_see_one_order(in_thread):
    tx, rx = await broadcast(8, overflow="wait")
    receivers = [rx, *(rx.resubscribe() for _ in range(3))]

    async def collect(handle):
        return [value async for value in handle]

    collecting = [in_thread(list, handle) for handle in receivers[:2]]
    collecting += [in_thread(asyncio.run, collect(handle)) for handle in receivers[2:]]

    def send(handle, first):
        with handle:
            for value in range(first, first + 500):
                handle.blocking_send(value)

    sending = [in_thread(send, tx.clone(), first) for first in (0, 1000)]
    tx.close()
    for job in sending:
        await job.awaited()
    taken = [await job.awaited() for job in collecting]
    assert all(each == taken[0] for each in taken)
    assert [value for value in taken[0] if value < 1000] == list(range(500))
    assert [value for value in taken[0] if value >= 1000] == list(range(1000, 1500))


@pytest.mark.parametrize("capacity", [0, -1, 2**62 + 1])
@pytest.mark.parametrize("make", [broadcast, blocking_broadcast])
def test_a_capacity_out_of_range_is_a_value_error(make, capacity):
    with pytest.raises(ValueError, match="^capacity must be between 1 and "):
        make(capacity)


@pytest.mark.parametrize("make", [broadcast, blocking_broadcast])
def test_an_unknown_overflow_is_a_value_error(make):
    with pytest.raises(ValueError, match="^Unknown overflow: 'drop'$"):
        make(8, overflow="drop")


def test_handles_are_of_their_types():
    tx, rx = blocking_broadcast()
    assert isinstance(tx, BroadcastSender)
    assert isinstance(tx, Sender)
    assert isinstance(rx, BroadcastReceiver)
    assert isinstance(rx, Receiver)
    assert tx.same_channel(rx)
    assert rx.same_channel(tx.subscribe())
    assert not tx.same_channel(blocking_broadcast()[1])
    with pytest.raises(NotImplementedError, match=r"resubscribe\(\)"):
        rx.clone()
    for handle in (tx, rx):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(handle)
        with pytest.raises(TypeError):
            type(handle)()


def test_repr_and_stats_tell_the_state(drive):
    tx, rx = blocking_broadcast(8)
    other = tx.subscribe()
    tx.send_nowait(1)
    assert repr(tx) == "<BroadcastSender 1/8, 1 sender, 2 receivers>"
    rx.recv_nowait()
    assert repr(rx) == "<BroadcastReceiver 1/8, 2 receivers, 1 sender>"
    stats = drive(rx.stats())
    assert (stats.sender_count, stats.receiver_count, stats.capacity) == (1, 2, 8)
    assert (stats.queue_size, stats.total_sent, stats.total_received) == (1, 1, 1)
    other.close()
    assert repr(other) == "<BroadcastReceiver closed 0/8, 1 receiver, 1 sender>"


def test_a_message_is_let_go_of_when_the_last_receiver_has_it():
    thing = Thing()
    gone = weakref.ref(thing)
    tx, rx = blocking_broadcast()
    other = rx.resubscribe()
    tx.send_nowait(thing)
    del thing
    rx.recv_nowait()
    assert gone() is not None
    other.recv_nowait()
    assert gone() is None


@pytest.mark.parametrize("overflow", ["lag", "wait"])
def test_a_message_that_holds_its_own_handles_is_collected(no_leak, overflow):
    tx, rx = blocking_broadcast(2, overflow=overflow)
    thing = Thing()
    thing.handles = (tx, rx, tx.subscribe())
    gone = weakref.ref(thing)
    tx.send_nowait(thing)
    tx.send_nowait(thing)
    del tx, rx, thing
    no_leak()
    assert gone() is None


async def test_a_message_that_holds_the_send_that_waits_with_it_is_collected(no_leak):
    tx, rx = await broadcast(1, overflow="wait")
    tx.send_nowait(0)
    thing = Thing()
    thing.task = asyncio.create_task(tx.send(thing))
    await asyncio.sleep(0)
    gone = weakref.ref(thing)
    del tx, rx, thing
    for _ in range(4):
        await asyncio.sleep(0)
        gc.collect()
    assert gone() is None


def test_a_dropped_message_may_use_the_channel():
    class Meddler:
        def __del__(self):
            seen.append(repr(tx))

    seen = []
    tx, rx = blocking_broadcast(1)
    tx.send_nowait(Meddler())
    tx.send_nowait(1)
    assert len(seen) == 1
    tx.send_nowait(Meddler())
    rx.close()
    assert len(seen) == 2


async def test_blocking_calls_refuse_a_thread_that_runs_an_event_loop():
    tx, rx = await broadcast()
    with pytest.raises(RuntimeError, match=r"await tx\.send\(value\)"):
        tx.blocking_send(1)
    with pytest.raises(RuntimeError, match=r"await rx\.recv\(\)"):
        rx.blocking_recv()
    with pytest.raises(RuntimeError, match="async for"):
        next(rx)
