"""Rules 1, 2, 3 and 6: who closes what, who is woken, and what an end is called."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from channel_tests import Thing, closed_kind

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    Err,
    Ok,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities


def kind_of(result) -> str:
    assert isinstance(result.error, ChannelClosed)
    return result.error.kind


# -------------------------------------------------------------------- rule 1: by reference count


@needs("clone", "stats")
async def test_a_clone_counts_from_the_moment_clone_returns(open_channel, soon):
    tx, rx = await open_channel(2)
    tx2 = tx.clone()
    await soon.stats(rx, sender_count=2)
    await tx.close()
    await soon.stats(rx, sender_count=1)
    assert not rx.is_closed
    await tx2.send("still open")
    rx2 = rx.clone()
    await soon.stats(tx2, receiver_count=2)
    await rx.close()
    assert not tx2.is_closed
    assert await rx2.recv() == "still open"


@needs("close", "stats")
async def test_close_is_idempotent(open_channel, soon):
    tx, rx = await open_channel(2)
    tx2, rx2 = tx.clone(), rx.clone()
    for _ in range(3):
        await tx.close()
        await rx.close()
    await tx.close("a reason that comes too late")
    await soon.stats(tx2, sender_count=1, receiver_count=1)
    await tx2.send(1)
    assert await rx2.recv() == 1
    await tx2.close()
    assert await closed_kind(rx2.recv()) == "ended"


@needs("close")
async def test_close_takes_effect_at_the_call_and_need_not_be_awaited(
    open_channel, recorded_warnings, soon
):
    tx, rx = await open_channel(2)
    with recorded_warnings() as messages:
        tx.close()
        assert tx.is_closed
        await soon.ended(rx)
        rx.close()
        assert rx.is_closed
        gc.collect()
    assert messages == []


@needs("close")
async def test_what_close_gives_can_be_awaited_later_or_by_a_task(open_channel, start):
    tx, rx = await open_channel(2)
    closing = tx.close()
    assert await closing is None
    task = start(rx.close())
    assert rx.is_closed
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rx.is_closed


@needs("close")
async def test_close_can_be_called_from_a_callback(open_channel, start, until):
    tx, rx = await open_channel(2)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)
    asyncio.get_running_loop().call_soon(tx.close)
    assert await closed_kind(waiting) == "ended"


@needs("close", "threads")
async def test_close_from_another_thread_wakes_those_who_wait(
    open_channel, start, until, in_thread
):
    tx, rx = await open_channel(0)
    receiving = start(rx.recv())
    watching = start(rx.closed())
    await until.receivers_wait(rx, 1)
    await in_thread(tx.close).awaited()
    assert await closed_kind(receiving) == "ended"
    await watching


@needs("blocking_close", "threads")
async def test_a_thread_closes(open_channel, in_thread):
    tx, rx = await open_channel(2)
    assert await in_thread(tx.blocking_close).awaited() is None
    assert tx.is_closed
    assert await in_thread(rx.blocking_close, timeout=1).awaited() is None
    await in_thread(tx.blocking_close).awaited()
    assert rx.is_closed


@needs("blocking_close", "at_once")
async def test_blocking_close_closes(open_channel):
    tx, rx = await open_channel(2)
    assert tx.blocking_close() is None
    assert tx.is_closed
    assert rx.blocking_close(timeout=1) is None
    tx.blocking_close()
    assert rx.is_closed


@needs("collected")
async def test_dropping_the_last_reference_closes(open_channel, soon):
    tx, rx = await open_channel(2)
    await tx.send(1)
    del tx
    assert await rx.recv() == 1
    assert await closed_kind(rx.recv()) == "ended"
    tx, rx = await open_channel(2)
    del rx
    await soon.true(lambda: tx.is_closed)
    assert await closed_kind(tx.send(1)) == "peer_gone"


@needs("collected", "stats")
async def test_dropping_a_handle_wakes_those_who_wait(open_channel, start, until, fill):
    tx, rx = await open_channel(2)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)
    del tx
    assert await closed_kind(waiting) == "ended"
    tx, rx = await open_channel(2)
    await fill(tx)
    waiting = start(tx.send(1))
    await until.senders_wait(tx, 1)
    del rx
    assert await closed_kind(waiting) == "peer_gone"


@needs("collected", "stats")
async def test_a_pending_operation_keeps_its_handle_open(open_channel, start, until, fill, soon):
    tx, rx = await open_channel(2)
    filled = await fill(tx)
    waiting = start(tx.send("kept"))
    await until.senders_wait(tx, 1)
    del tx
    await soon.stats(rx, sender_count=1)
    for _ in range(filled):
        await rx.recv()
    assert await rx.recv() == "kept"
    await waiting
    del waiting
    assert await closed_kind(rx.recv()) == "ended"
    assert rx.is_closed


@needs("clone", "close")
async def test_a_closed_handle_cannot_be_cloned(open_channel):
    for side in (0, 1):
        handles = await open_channel(2)
        await handles[side].close()
        with pytest.raises(ChannelClosedError) as caught:
            handles[side].clone()
        assert caught.value.kind == "handle_closed"


# ------------------------------------------------------------------------- rule 2: the other side


@needs("waiting", "trying", "nowait", "batches")
@capacities(1, 3, 100, None)
async def test_after_the_last_sender_receivers_drain_and_then_get_the_end(
    open_channel, capacity, fill, soon
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    await tx.close()
    assert not rx.is_closed
    assert [await rx.recv() for _ in range(count)] == list(range(count))
    await soon.ended(rx)
    with pytest.raises(ChannelClosedError, match="^Channel closed$") as caught:
        await rx.recv()
    assert (caught.value.kind, caught.value.reason) == ("ended", None)
    assert await rx.try_recv() == Err(ChannelClosed())
    assert kind_of(await rx.try_recv()) == "ended"
    assert kind_of(await rx.try_recv_batch(3)) == "ended"
    assert await closed_kind(rx.recv_batch(3)) == "ended"
    assert await closed_kind(rx.recv(timeout=0)) == "ended"
    with pytest.raises(ChannelClosedError):
        rx.recv_nowait()


@needs("stats", "clone", "batches", "timeouts", "iteration")
async def test_every_receiver_that_waits_is_woken_when_the_last_sender_goes(
    open_channel, capacity, start, until, long_s, soon
):
    tx, rx = await open_channel(capacity)
    tx2, rx2 = tx.clone(), rx.clone()
    waiting = [
        start(rx.recv()),
        start(rx.recv_batch(3)),
        start(rx2.recv()),
        start(rx2.recv(timeout=long_s)),
    ]
    await until.receivers_wait(rx, 4, handles=2)
    iterating = start(anext(rx, "the end"))
    await until.receivers_wait(rx, 5, handles=2)
    await tx.close()
    await soon.receivers_wait(rx, 5, handles=2)
    tx2.close()
    for task in waiting:
        assert await closed_kind(task) == "ended"
    assert await iterating == "the end"


@needs("stats", "clone", "batches", "timeouts")
@capacities(0, 1, 3, 100)
async def test_every_sender_that_waits_is_woken_when_the_last_receiver_goes(
    open_channel, capacity, start, until, fill, long_s, soon
):
    tx, rx = await open_channel(capacity)
    tx2, rx2 = tx.clone(), rx.clone()
    await fill(tx)
    waiting = [
        start(tx.send(1)),
        start(tx.send_batch([1])),
        start(tx2.send(1)),
        start(tx2.send(1, timeout=long_s)),
    ]
    await until.senders_wait(tx, 4)
    await rx.close()
    await soon.stats(tx, waiting_senders=4)
    rx2.close()
    for task in waiting:
        assert await closed_kind(task) == "peer_gone"
    await soon.true(lambda: tx.is_closed)
    assert kind_of(await tx.try_send(1)) == "peer_gone"
    assert kind_of(await tx.try_send_batch([1])) == "peer_gone"
    assert await closed_kind(tx.send(1)) == "peer_gone"
    assert await closed_kind(tx.send_batch([1])) == "peer_gone"
    with pytest.raises(ChannelClosedError):
        tx.send_nowait(1)


@needs("by_reference", "stats")
@capacities(1, 3, 100, None)
async def test_what_is_queued_is_dropped_when_the_last_receiver_goes(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    rx2 = rx.clone()
    thing = Thing()
    gone = weakref.ref(thing)
    await tx.send(thing)
    del thing
    await rx.close()
    assert gone() is not None
    await rx2.close()
    assert gone() is None
    assert (await tx.stats()).queue_size == 0


@needs("by_reference", "stats")
@capacities(0, 1, 3)
async def test_the_message_of_a_waiting_send_is_dropped_when_the_last_receiver_goes(
    open_channel, capacity, start, until, fill
):
    tx, rx = await open_channel(capacity)
    await fill(tx)
    thing = Thing()
    gone = weakref.ref(thing)
    waiting = start(tx.send(thing))
    del thing
    await until.senders_wait(tx, 1)
    await rx.close()
    assert await closed_kind(waiting) == "peer_gone"
    del waiting
    gc.collect()
    assert gone() is None


@needs("by_reference", "collected")
async def test_what_is_queued_is_dropped_with_the_channel(open_channel):
    tx, rx = await open_channel(3)
    thing = Thing()
    gone = weakref.ref(thing)
    await tx.send(thing)
    del thing, tx
    assert gone() is not None
    del rx
    assert gone() is None


@needs("by_reference")
async def test_a_message_that_closes_its_channel_when_it_is_dropped_does_no_harm(open_channel):
    tx, rx = await open_channel(3)
    dropped = []

    class Closer:
        def __del__(self) -> None:
            tx.close()
            rx.close()
            dropped.append(tx.is_closed)

    await tx.send(Closer())
    await tx.send(Closer())
    await rx.close()
    assert dropped == [True, True]


@needs("watching")
async def test_closed_waits_until_the_other_side_is_gone(open_channel, start, until):
    for side in (0, 1):
        handles = await open_channel(2)
        here, there = handles[side], handles[1 - side]
        there2 = there.clone()
        watching = start(here.closed())
        await asyncio.sleep(0)
        await there.close()
        assert not watching.done()
        await there2.close()
        assert await watching is None
        assert await here.closed() is None


@needs("watching")
async def test_closed_of_a_receiver_does_not_wait_for_what_is_stored(open_channel):
    tx, rx = await open_channel(2)
    await tx.send(1)
    await tx.close()
    await rx.closed()
    assert await rx.recv() == 1


@needs("watching")
async def test_a_cancelled_closed_leaves_nothing_behind(open_channel, start):
    tx, rx = await open_channel(2)
    watching = start(tx.closed())
    await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await rx.close()
    await tx.closed()


# -------------------------------------------------------------------------- rule 3: its own close


@needs("close", "trying", "nowait", "batches", "watching", "timeouts")
async def test_operations_on_a_handle_that_was_closed_are_closed(open_channel):
    tx, rx = await open_channel(2)
    keep_tx, keep_rx = tx.clone(), rx.clone()
    await keep_tx.send("not for the closed one")
    await tx.close()
    await rx.close()
    assert tx.is_closed
    assert rx.is_closed
    operations = [
        tx.send(1),
        tx.send(1, timeout=0),
        tx.send_batch([1]),
        tx.closed(),
        rx.recv(),
        rx.recv(timeout=0),
        rx.recv_batch(2),
        rx.closed(),
    ]
    for operation in operations:
        assert await closed_kind(operation) == "handle_closed"
    for trying in (tx.try_send(1), tx.try_send_batch([1]), rx.try_recv(), rx.try_recv_batch(1)):
        assert kind_of(await trying) == "handle_closed"
    for call in (lambda: tx.send_nowait(1), rx.recv_nowait):
        with pytest.raises(ChannelClosedError) as caught:
            call()
        assert caught.value.kind == "handle_closed"
    assert await keep_rx.recv() == "not for the closed one"


@needs("close", "stats", "clone", "batches", "watching")
async def test_closing_a_handle_ends_its_own_pending_receives_and_no_others(
    open_channel, capacity, start, until, soon
):
    tx, rx = await open_channel(capacity)
    rx2 = rx.clone()
    own = [start(rx.recv()), start(rx.recv_batch(2)), start(rx.closed())]
    await until.receivers_wait(rx, 2, handles=1)
    other = start(rx2.recv())
    await until.receivers_wait(rx, 3, handles=2)
    rx.close("whatever the reason")
    for task in own:
        assert await closed_kind(task) == "handle_closed"
    await soon.stats(rx2, waiting_receivers=1)
    await tx.send("for the other")
    assert await other == "for the other"


@needs("close", "stats", "clone", "batches", "watching")
@capacities(0, 1, 3, 100)
async def test_closing_a_handle_ends_its_own_pending_sends_and_no_others(
    open_channel, capacity, start, until, fill
):
    tx, rx = await open_channel(capacity)
    tx2 = tx.clone()
    filled = await fill(tx)
    own = [start(tx.send("own")), start(tx.send_batch(["own"])), start(tx.closed())]
    await until.senders_wait(tx, 2)
    other = start(tx2.send("other"))
    await until.senders_wait(tx, 3)
    tx.close()
    for task in own:
        assert await closed_kind(task) == "handle_closed"
    for n in range(filled):
        assert await rx.recv() == n
    assert await rx.recv() == "other"
    await other
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("close", "stats")
async def test_closing_the_last_receiver_ends_its_own_pending_receive(
    open_channel, start, until, soon
):
    tx, rx = await open_channel(2)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)
    rx.close()
    assert await closed_kind(waiting) == "handle_closed"
    await soon.true(lambda: tx.is_closed)


@needs("iteration")
async def test_iteration_over_a_handle_that_was_closed_ends(open_channel):
    tx, rx = await open_channel(2)
    await tx.send(1)
    await rx.close()
    assert [message async for message in rx] == []


# ----------------------------------------------------------------- rule 6: what ends an iteration


@needs("iteration")
@capacities(1, 3, 100, None)
async def test_iteration_drains_and_ends_with_the_last_sender(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    await tx.close()
    assert [message async for message in rx] == list(range(count))
    assert [message async for message in rx] == []


@needs("iteration", "stats")
async def test_a_waiting_iteration_ends_quietly_with_the_last_sender(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)

    async def consume() -> list[object]:
        return [message async for message in rx]

    consuming = start(consume())
    await until.receivers_wait(rx, 1)
    await tx.send(1)
    await tx.close()
    assert await consuming == [1]


@needs("iteration", "stats")
async def test_a_waiting_iteration_ends_quietly_when_its_own_handle_closes(
    open_channel, capacity, start, until, soon
):
    tx, rx = await open_channel(capacity)

    async def consume() -> list[object]:
        return [message async for message in rx]

    consuming = start(consume())
    await until.receivers_wait(rx, 1)
    rx.close()
    assert await consuming == []
    await soon.true(lambda: tx.is_closed)


@needs("close", "iteration", "trying", "batches")
@capacities(1, 3, None)
async def test_a_sender_that_closes_with_a_reason_is_drained_and_then_raised(
    open_channel, capacity, fill
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    await tx.close("the disk is full")
    received = []
    with pytest.raises(ChannelClosedError, match="^the disk is full$") as caught:
        async for message in rx:
            received.append(message)  # noqa: PERF401  what came before the error counts
    assert received == list(range(count))
    assert (caught.value.kind, caught.value.reason) == ("peer_died", "the disk is full")
    assert await closed_kind(rx.recv()) == "peer_died"
    assert await closed_kind(rx.recv_batch(1)) == "peer_died"
    assert await rx.try_recv() == Err(ChannelClosed("the disk is full"))
    assert kind_of(await rx.try_recv()) == "peer_died"


@needs("close", "clone", "stats")
async def test_the_reason_of_an_earlier_sender_is_told_at_the_end(open_channel, start, until):
    tx, rx = await open_channel(2)
    tx2 = tx.clone()
    await tx.close("the first one broke")
    await tx2.send("still working")
    await tx2.close()
    assert await rx.recv() == "still working"
    with pytest.raises(ChannelClosedError, match="^the first one broke$"):
        await rx.recv()


@needs("close", "stats", "iteration")
async def test_a_reason_wakes_those_who_wait(open_channel, capacity, start, until):
    tx, rx = await open_channel(capacity)
    waiting = [start(rx.recv()), start(rx.recv_batch(2)), start(rx.__anext__())]
    await until.receivers_wait(rx, 3, handles=1)
    await tx.close("out of order")
    for task in waiting:
        with pytest.raises(ChannelClosedError, match="^out of order$"):
            await task


@needs("close")
async def test_the_reason_of_the_last_receiver_reaches_the_senders(open_channel):
    tx, rx = await open_channel(2)
    await rx.close("no longer interested")
    with pytest.raises(ChannelClosedError, match="^no longer interested$") as caught:
        await tx.send(1)
    assert caught.value.kind == "peer_gone"


@needs("close")
@pytest.mark.parametrize("reason", ["", "ünïcode 中 \U0001f600", "nul \0 inside", "lone \udc80"])
async def test_any_text_is_a_reason(open_channel, reason):
    tx, rx = await open_channel(2)
    await tx.close(reason=reason)
    with pytest.raises(ChannelClosedError) as caught:
        await rx.recv()
    assert caught.value.reason == reason


@needs("blocks", "iteration")
async def test_a_block_closes_in_an_orderly_way(open_channel):
    tx, rx = await open_channel(2)
    async with tx as entered:
        assert entered is tx
        await tx.send(1)
    assert tx.is_closed
    assert [message async for message in rx] == [1]
    tx, rx = await open_channel(2)
    with tx as entered:
        assert entered is tx
        await tx.send(1)
    assert [message async for message in rx] == [1]
    async with rx as entered:
        assert entered is rx
    with rx:
        pass
    assert rx.is_closed


@needs("blocks", "iteration")
@pytest.mark.parametrize(
    ("error", "reason"),
    [(ValueError("no such row"), "ValueError: no such row"), (KeyError(), "KeyError")],
    ids=["with words", "without"],
)
@pytest.mark.parametrize("plain", [False, True], ids=["async with", "with"])
async def test_an_exception_that_leaves_the_block_of_a_sender_is_its_reason(
    open_channel, error, reason, plain
):
    tx, rx = await open_channel(2)
    with pytest.raises(type(error)) as caught:
        if plain:
            with tx:
                await tx.send(1)
                raise error
        else:
            async with tx:
                await tx.send(1)
                raise error
    assert caught.value is error
    assert tx.is_closed
    assert await anext(rx) == 1
    with pytest.raises(ChannelClosedError) as caught:
        await anext(rx)
    assert (caught.value.kind, caught.value.reason) == ("peer_died", reason)
    assert await closed_kind(rx.recv()) == "peer_died"


@needs("blocks")
async def test_an_exception_that_cannot_be_told_closes_all_the_same(open_channel):
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    tx, rx = await open_channel(2)
    with pytest.raises(Mute):
        async with tx:
            raise Mute
    assert await closed_kind(rx.recv()) == "peer_died"


@needs("blocks")
async def test_an_exception_that_leaves_the_block_of_a_receiver_closes_it(open_channel):
    tx, rx = await open_channel(2)
    with pytest.raises(ValueError, match="unreadable"):
        async with rx:
            raise ValueError("unreadable")
    with pytest.raises(ChannelClosedError, match="unreadable") as caught:
        await tx.send(1)
    assert caught.value.kind == "peer_gone"


@needs("trying")
async def test_the_other_side_is_not_closed_by_half(open_channel, soon):
    tx, rx = await open_channel(2)
    assert not tx.is_closed
    assert not rx.is_closed
    assert await tx.try_send(1) == Ok(None)
    await tx.close()
    assert not rx.is_closed  # one message to drain
    assert await rx.try_recv() == Ok(1)
    await soon.ended(rx)
