"""Watch channels: the latest value, and who has not seen it yet."""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import pickle
import weakref

import pytest
from channel_tests import Thing, closed_kind

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    Err,
    Ok,
    RecvTimeoutError,
    Sender,
    WatchReceiver,
    WatchSender,
    blocking_watch,
    select,
    watch,
)

# ------------------------------------------------------------------------------------- changes


async def test_the_initial_value_was_seen_and_the_next_is_waited_for(until):
    initial, value = Thing(), Thing()
    tx, rx = await watch(initial)
    assert rx.borrow() is initial
    assert tx.borrow() is initial
    assert not rx.has_changed()
    waiting = asyncio.create_task(rx.changed())
    await until.receivers_wait(rx, 1)
    assert await tx.send(value) == 1
    assert await waiting is None
    assert rx.borrow() is value
    assert not rx.has_changed()


async def test_every_way_to_send(in_thread):
    tx, rx = await watch(0)
    other = tx.subscribe()
    assert await tx.send(1, timeout=1.0) == 2
    assert await tx.try_send(2) == Ok(2)
    assert tx.send_nowait(3) == 2
    assert in_thread(tx.blocking_send, 4).result() == 2
    assert rx.borrow() == other.borrow() == 4


async def test_every_way_to_wait_for_a_change(in_thread, until):
    tx, rx = await watch(0)
    assert await rx.try_changed() == Err(ChannelEmpty())
    tx.send_nowait(1)
    assert await rx.try_changed() == Ok(None)
    tx.send_nowait(2)
    assert await rx.changed(timeout=0) is None
    waiting = in_thread(rx.blocking_changed, 30)
    await until.receivers_wait(rx, 1)
    tx.send_nowait(3)
    assert await waiting.awaited() is None
    assert await rx.try_changed() == Err(ChannelEmpty())


async def test_out_of_time_nothing_was_seen(in_thread):
    tx, rx = await watch(0)
    for timeout in (0, 0.001):
        with pytest.raises(RecvTimeoutError):
            await rx.changed(timeout)
    with pytest.raises(RecvTimeoutError):
        in_thread(rx.blocking_changed, 0.001).result()
    tx.send_nowait(1)
    assert rx.has_changed()


async def test_changes_between_two_looks_collapse():
    tx, rx = await watch(0)
    for value in range(1, 6):
        await tx.send(value)
    await rx.changed()
    assert rx.borrow() == 5
    assert await rx.try_changed() == Err(ChannelEmpty())


async def test_borrow_does_not_mark_as_seen_and_borrow_and_update_does():
    tx, rx = await watch(0)
    await tx.send(1)
    assert rx.borrow() == 1
    assert rx.has_changed()
    assert rx.borrow_and_update() == 1
    assert not rx.has_changed()


async def test_one_change_wakes_every_receiver_and_every_wait_on_it(until):
    tx, rx = await watch(0)
    other = rx.resubscribe()
    waits = [asyncio.create_task(handle.changed()) for handle in (rx, rx, other)]
    await until.receivers_wait(rx, 3)
    assert await tx.send(1) == 2
    await asyncio.gather(*waits)
    assert not rx.has_changed()
    assert not other.has_changed()


async def test_subscribers_have_seen_the_current_value():
    tx, rx = await watch(0)
    await tx.send(1)
    for made in (tx.subscribe(), rx.resubscribe()):
        assert isinstance(made, WatchReceiver)
        assert made.borrow() == 1
        assert not made.has_changed()
    assert rx.has_changed()


async def test_iteration_gives_the_value_after_each_change(in_thread):
    tx, rx = await watch(0)
    seen = []
    tx.send_nowait(1)
    async for value in rx:
        seen.append(value)
        if value < 3:
            tx.send_nowait(value + 1)
        else:
            tx.close()
    assert seen == [1, 2, 3]
    tx, rx = await watch(0)
    tx.send_nowait(1)
    tx.close()
    assert in_thread(list, rx).result() == [1]


# ------------------------------------------------------------------------------------- a value


async def test_a_certain_value_may_be_the_current_one():
    tx, rx = await watch(1)
    assert await rx.wait_for(lambda value: value == 1) == 1
    tx.send_nowait(2)
    assert await rx.wait_for(lambda value: value == 2, timeout=0) == 2
    assert not rx.has_changed()


async def test_a_certain_value_is_waited_for_through_others(until):
    tx, rx = await watch(0)
    asked = []

    def is_it(value):
        asked.append(value)
        return value >= 3

    waiting = asyncio.create_task(rx.wait_for(is_it))
    for value in (1, 2, 3):
        await until.receivers_wait(rx, 1)
        assert not waiting.done()
        tx.send_nowait(value)
    assert await waiting == 3
    assert asked == [0, 1, 2, 3]
    assert not rx.has_changed()


async def test_a_thread_waits_for_a_certain_value(in_thread, until):
    tx, rx = await watch(0)
    waiting = in_thread(rx.blocking_wait_for, lambda value: value == 3)
    for value in (1, 2, 3):
        await until.receivers_wait(rx, 1)
        tx.send_nowait(value)
    assert await waiting.awaited() == 3
    with pytest.raises(RecvTimeoutError):
        in_thread(rx.blocking_wait_for, lambda value: value == 9, 0.001).result()


async def test_other_values_do_not_prolong_the_time(in_thread):
    tx, rx = await watch(0)
    for waiting in (
        asyncio.create_task(rx.wait_for(lambda value: value < 0, timeout=0.02)),
        in_thread(rx.blocking_wait_for, lambda value: value < 0, 0.02),
    ):
        while not waiting.done():
            tx.send_nowait(1)
            await asyncio.sleep(0)
        with pytest.raises(RecvTimeoutError):
            waiting.result()
    assert (await rx.stats()).waiting_receivers == 0


async def test_what_a_predicate_raises_comes_out(in_thread, until):
    tx, rx = await watch(0)

    def refuses_one(value):
        if value == 1:
            raise LookupError("one")
        return False

    waiting = asyncio.create_task(rx.wait_for(refuses_one))
    threaded = in_thread(rx.blocking_wait_for, refuses_one)
    await until.receivers_wait(rx, 2)
    tx.send_nowait(1)
    with pytest.raises(LookupError, match="one"):
        await waiting
    with pytest.raises(LookupError, match="one"):
        await threaded.awaited()
    with pytest.raises(LookupError):
        await rx.wait_for(refuses_one)

    class NotTrueNorFalse:
        def __bool__(self):
            raise OverflowError

    with pytest.raises(OverflowError):
        await rx.wait_for(lambda _value: NotTrueNorFalse())


async def test_a_predicate_may_use_the_channel(until):
    tx, rx = await watch(0)

    def counts(value):
        if 0 < value < 5:
            tx.send_nowait(value + 1)
        return value == 5

    waiting = asyncio.create_task(rx.wait_for(counts))
    await until.receivers_wait(rx, 1)
    tx.send_nowait(1)
    assert await waiting == 5


async def test_a_predicate_cannot_touch_the_wait_that_calls_it(until):
    tx, rx = await watch(0)
    told = []

    def meddles(value):
        for touch in (
            operation.close,
            lambda: operation.throw(KeyError()),
            lambda: operation.send(None),
        ):
            with pytest.raises(ValueError, match="already executing"):
                touch()
        told.append(repr(operation))
        return value == 1

    operation = rx.wait_for(meddles)
    waiting = asyncio.create_task(operation)
    await until.receivers_wait(rx, 1)
    tx.send_nowait(1)
    assert await waiting == 1
    assert told == ["<Operation WatchReceiver.wait_for, running>"] * 2


async def test_a_predicate_may_cancel_its_own_task(until):
    tx, rx = await watch(0)
    waiting = asyncio.create_task(rx.wait_for(lambda value: value == 1 and waiting.cancel()))
    await until.receivers_wait(rx, 1)
    tx.send_nowait(1)
    await asyncio.wait([waiting])
    assert (await rx.stats()).waiting_receivers == 0


def test_what_is_no_predicate_is_told_at_the_call():
    _tx, rx = blocking_watch(0)
    for call in (rx.wait_for, rx.blocking_wait_for):
        with pytest.raises(TypeError, match="^predicate must be callable, not int$"):
            call(5)
        with pytest.raises(TypeError, match="predicate"):
            call()
        with pytest.raises(ValueError, match="timeout"):
            call(bool, -1)
    for call in (rx.changed, rx.blocking_changed):
        with pytest.raises(TypeError, match="timeout"):
            call("soon")


# ------------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("end", ["close", "drop"])
async def test_the_last_senders_end_ends_all_waits(end, until):
    tx, rx = await watch(0)
    clone = tx.clone()
    waits = [
        asyncio.create_task(rx.changed()),
        asyncio.create_task(rx.wait_for(lambda value: value == 1)),
    ]
    await until.receivers_wait(rx, 2)
    clone.close()
    await asyncio.sleep(0)
    assert (await rx.stats()).waiting_receivers == 2
    if end == "close":
        tx.close()
    else:
        del tx
        gc.collect()
    for waiting in waits:
        assert await closed_kind(waiting) == "ended"
    assert await rx.try_changed() == Err(ChannelClosed())
    assert rx.borrow() == 0


async def test_an_unseen_value_is_delivered_before_the_end():
    tx, rx = await watch(0)
    await tx.send(1)
    await tx.close()
    assert not rx.is_closed
    await rx.changed()
    assert rx.borrow() == 1
    assert rx.is_closed
    assert await closed_kind(rx.changed()) == "ended"


async def test_a_sender_that_fails_says_why():
    tx, rx = await watch(0)
    with pytest.raises(ZeroDivisionError):
        async with tx:
            await tx.send(1 / 0)
    with pytest.raises(ChannelClosedError, match="division by zero"):
        [value async for value in rx]


async def test_without_a_receiver_a_send_is_closed_until_there_is_one_again():
    tx, rx = await watch(0)
    watching = asyncio.create_task(tx.closed())
    await asyncio.sleep(0)
    rx.close()
    await watching
    assert await closed_kind(tx.send(1)) == "peer_gone"
    assert await tx.try_send(1) == Err(ChannelClosed())
    with pytest.raises(ChannelClosedError):
        tx.send_nowait(1)
    assert tx.is_closed
    assert tx.borrow() == 0
    later = tx.subscribe()
    assert await tx.send(2) == 1
    assert later.borrow() == 2


async def test_operations_on_a_closed_handle_are_closed():
    tx, rx = await watch(0)
    other_tx, other_rx = tx.clone(), rx.resubscribe()
    tx.close()
    rx.close()
    for operation in (tx.send(1), rx.changed(), rx.wait_for(bool), tx.closed(), rx.closed()):
        assert await closed_kind(operation) == "handle_closed"
    for call in (
        tx.borrow, rx.borrow, rx.borrow_and_update, tx.clone, tx.subscribe, rx.resubscribe,
    ):  # fmt: skip
        with pytest.raises(ChannelClosedError) as caught:
            call()
        assert caught.value.kind == "handle_closed"
    assert rx.has_changed() is False
    assert await other_tx.send(1) == 1
    assert other_rx.has_changed()


async def test_closing_a_receiver_ends_its_own_waits_and_nobody_elses(until):
    tx, rx = await watch(0)
    other = rx.resubscribe()
    mine, theirs = asyncio.create_task(rx.changed()), asyncio.create_task(other.changed())
    await until.receivers_wait(rx, 2)
    rx.close()
    assert await closed_kind(mine) == "handle_closed"
    tx.send_nowait(1)
    await theirs


# ------------------------------------------------------------------------------------- cancelling


async def test_a_cancelled_wait_has_seen_nothing(until):
    tx, rx = await watch(0)
    for after_its_wake_up in (False, True):
        waiting = asyncio.create_task(rx.changed())
        await until.receivers_wait(rx, 1)
        if after_its_wake_up:
            tx.send_nowait(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert rx.has_changed() is after_its_wake_up
    assert (await rx.stats()).waiting_receivers == 0


async def test_a_cancelled_wait_for_a_value_leaves_nothing_behind(until):
    tx, rx = await watch(0)
    waiting = asyncio.create_task(rx.wait_for(lambda value: value == 9, timeout=30))
    await until.receivers_wait(rx, 1)
    tx.send_nowait(1)
    await until.receivers_wait(rx, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (await rx.stats()).waiting_receivers == 0


# ------------------------------------------------------------------------------------- the rest


async def test_select_gives_the_new_value_which_was_seen_then(until):
    tx, rx = await watch(0)
    tx.send_nowait(1)
    assert await select(rx) == (0, 1)
    assert not rx.has_changed()
    waiting = asyncio.create_task(select(rx))
    await until.receivers_wait(rx, 1)
    tx.send_nowait(2)
    assert await waiting == (0, 2)


async def test_a_watch_that_loses_a_select_has_seen_nothing():
    tx, rx = await watch(0)
    tx2, rx2 = await watch("a")
    tx.send_nowait(1)
    tx2.send_nowait("b")
    assert await select(rx, rx2, biased=True) == (0, 1)
    assert rx2.has_changed()


async def test_threads_and_loops_follow_one_value(in_thread):
    tx, rx = await watch(0)

    def follow(handle):
        last = 0
        for value in handle:
            assert value > last
            last = value
        return last

    async def follow_in_loop(handle):
        last = 0
        async for value in handle:
            assert value > last
            last = value
        return last

    followers = [in_thread(follow, rx.resubscribe()) for _ in range(2)]
    followers += [in_thread(asyncio.run, follow_in_loop(rx.resubscribe())) for _ in range(2)]
    for value in range(1, 2001):
        tx.send_nowait(value)
        if value % 100 == 0:
            await asyncio.sleep(0)
    tx.close()
    assert [await follower.awaited() for follower in followers] == [2000] * 4


def test_handles_are_of_their_types():
    tx, rx = blocking_watch(0)
    assert isinstance(tx, WatchSender)
    assert isinstance(tx, Sender)
    assert isinstance(rx, WatchReceiver)
    assert tx.same_channel(rx)
    assert rx.same_channel(tx.clone())
    assert not tx.same_channel(blocking_watch(0)[1])
    assert not hasattr(rx, "clone")
    for handle in (tx, rx):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(handle)
        with pytest.raises(TypeError):
            type(handle)()


def test_repr_and_stats_tell_the_state(drive):
    tx, rx = blocking_watch(0)
    other = tx.subscribe()
    assert repr(tx) == "<WatchSender 0 changes, 1 sender, 2 receivers>"
    tx.send_nowait(1)
    assert repr(rx) == "<WatchReceiver 1 change, 2 receivers, 1 sender>"
    drive(rx.changed())
    stats = drive(rx.stats())
    assert (stats.sender_count, stats.receiver_count) == (1, 2)
    assert (stats.capacity, stats.queue_size) == (1, 1)
    assert (stats.total_sent, stats.total_received) == (1, 1)
    tx.close()
    assert repr(tx) == "<WatchSender closed 1 change, 0 senders, 2 receivers>"
    assert drive(other.stats()).senders_closed


def test_a_value_is_let_go_of_when_it_is_replaced_or_nobody_is_left():
    first, second = Thing(), Thing()
    gone_first, gone_second = weakref.ref(first), weakref.ref(second)
    tx, rx = blocking_watch(first)
    del first
    tx.send_nowait(second)
    del second
    assert gone_first() is None
    tx.close()
    assert gone_second() is not None
    rx.close()
    assert gone_second() is None


def test_a_value_that_holds_its_own_handles_is_collected(no_leak):
    tx, rx = blocking_watch(None)
    thing = Thing()
    thing.handles = (tx, rx, tx.subscribe())
    gone = weakref.ref(thing)
    tx.send_nowait(thing)
    del tx, rx, thing
    no_leak()
    assert gone() is None


async def test_a_wait_whose_predicate_holds_it_is_collected(no_leak):
    tx, rx = await watch(0)
    thing = Thing()
    thing.task = asyncio.create_task(rx.wait_for(functools.partial(operator.is_, thing)))
    await asyncio.sleep(0)
    gone = weakref.ref(thing)
    del tx, rx, thing
    for _ in range(4):
        await asyncio.sleep(0)
        gc.collect()
    assert gone() is None


def test_a_replaced_value_may_use_the_channel_while_it_goes():
    class Meddler:
        def __del__(self):
            seen.append(rx.borrow())

    seen = []
    tx, rx = blocking_watch(Meddler())
    tx.send_nowait(1)
    assert seen == [1]


async def test_blocking_calls_refuse_a_thread_that_runs_an_event_loop():
    tx, rx = await watch(0)
    for call, instead in (
        (lambda: tx.blocking_send(1), r"await tx\.send\(value\)"),
        (rx.blocking_changed, r"await rx\.changed\(\)"),
        (lambda: rx.blocking_wait_for(bool), r"await rx\.wait_for\(predicate\)"),
    ):
        with pytest.raises(RuntimeError, match=instead):
            call()
