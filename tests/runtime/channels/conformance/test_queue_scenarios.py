"""What CPython's test_queue checks of a queue between threads, rewritten for channels: the cycle of full and empty,
waits that another thread ends, failures that damage nothing, many feeders and consumers, finalisers, shutdown.

Left out, since a channel has no such thing: task_done and join, the last-in-first-out and the priority queue, a
capacity that shrinks.
"""

from __future__ import annotations

import collections
import gc
import itertools
import time
import weakref

import pytest
from channel_tests import Thing

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFull,
    ChannelFullError,
    Err,
    Ok,
    RecvTimeoutError,
    SendTimeoutError,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities


# ------------------------------------------------------------------------------- one cycle, again


@needs("trying", "timeouts", "blocking", "threads", "stats")
@capacities(1, 3)
async def test_the_cycle_of_full_and_empty_can_be_gone_through_again_and_again(
    open_channel, capacity, in_thread, until, soon
):
    tx, rx = await open_channel(capacity)
    for _ in range(2):
        # Full: what does not wait fails, also after a while.
        for n in range(capacity):
            assert await tx.try_send(n) == Ok(None)
        await soon.stats(tx, queue_size=capacity)
        assert await tx.try_send("no room") == Err(ChannelFull(capacity))
        with pytest.raises(SendTimeoutError):
            await in_thread(tx.blocking_send, "no room", timeout=0.001).awaited()
        # A send that waits, without a limit and with one, goes on when another thread has made room.
        for n, limit in ((capacity, None), (capacity + 1, 1000)):
            sending = in_thread(tx.blocking_send, n, timeout=limit)
            await until.senders_wait(tx, 1)
            assert not sending.done()
            assert await in_thread(rx.blocking_recv).awaited() == n - capacity
            await sending.awaited()
        # Empty: the same of receives.
        for n in range(capacity):
            assert await rx.try_recv() == Ok(n + 2)
        assert await rx.try_recv() == Err(ChannelEmpty())
        with pytest.raises(RecvTimeoutError):
            await in_thread(rx.blocking_recv, timeout=0.001).awaited()
        for limit in (None, 1000):
            receiving = in_thread(rx.blocking_recv, timeout=limit)
            await until.receivers_wait(rx, 1)
            assert not receiving.done()
            await in_thread(tx.blocking_send, "at last").awaited()
            assert await receiving.awaited() == "at last"
        await soon.stats(rx, queue_size=0, waiting_senders=0, waiting_receivers=0)


@needs("nowait", "at_once", "length")
@capacities(1, 3, 100)
async def test_nowait_fills_it_to_the_brim_and_drains_it_to_the_last(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    for _ in range(2):
        for n in range(capacity):
            assert len(rx) == n
            tx.send_nowait(n)
        with pytest.raises(ChannelFullError):
            tx.send_nowait("no room")
        assert [rx.recv_nowait() for _ in range(capacity)] == list(range(capacity))
        with pytest.raises(ChannelEmptyError):
            rx.recv_nowait()


@needs("nowait", "at_once", "blocking", "length")
@capacities(100, None)
async def test_every_way_to_send_and_to_receive_counts_alike(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    await tx.send(0)
    tx.send_nowait(1)
    assert await tx.try_send(2) == Ok(None)
    in_thread(tx.blocking_send, 3, timeout=1000).result()
    assert len(rx) == 4
    assert in_thread(rx.blocking_recv, timeout=1000).result() == 0
    assert await rx.try_recv() == Ok(1)
    assert rx.recv_nowait() == 2
    assert len(rx) == 1
    assert await rx.recv() == 3
    assert len(rx) == 0


# ------------------------------------------------------------------- what fails damages nothing


@needs("timeouts", "blocking", "threads", "trying")
@capacities(3)
async def test_a_limit_that_is_refused_has_sent_and_taken_nothing(open_channel, in_thread):
    tx, rx = await open_channel(3)
    await tx.send("a")
    with pytest.raises(ValueError, match="timeout"):
        await in_thread(tx.blocking_send, "b", timeout=-1).awaited()
    with pytest.raises(ValueError, match="timeout"):
        await in_thread(rx.blocking_recv, timeout=-1).awaited()
    assert await rx.try_recv() == Ok("a")
    assert await rx.try_recv() == Err(ChannelEmpty())


class Unsendable:
    def __reduce__(self):
        raise LookupError("it stays here")


class Unreceivable:
    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise LookupError("it never arrives")


@needs("broker", "blocking", "threads", "trying", "stats")
@capacities(3)
async def test_a_send_whose_message_cannot_be_encoded_leaves_the_channel_as_it_was(
    open_channel, fill, in_thread, until, soon
):
    tx, rx = await open_channel(3)
    await tx.send("first")
    for send in (tx.send, tx.try_send):
        with pytest.raises(LookupError, match="it stays here"):
            await send(Unsendable())
    with pytest.raises(LookupError, match="it stays here"):
        await in_thread(tx.blocking_send, Unsendable()).awaited()
    await soon.stats(tx, queue_size=1, waiting_senders=0)
    # All of the capacity is still there, and no more; a full channel refuses it no later.
    assert await fill(tx) == 2
    with pytest.raises(LookupError, match="it stays here"):
        await tx.send(Unsendable())
    waiting = in_thread(tx.blocking_send, 2)
    await until.senders_wait(tx, 1)
    assert [await rx.recv() for _ in range(4)] == ["first", 0, 1, 2]
    await waiting.awaited()


@needs("broker", "blocking", "threads", "trying", "stats")
@capacities(3)
async def test_a_receive_whose_message_cannot_be_decoded_leaves_the_channel_in_order(
    open_channel, in_thread, soon
):
    tx, rx = await open_channel(3)
    receives = (rx.recv, rx.try_recv, lambda: in_thread(rx.blocking_recv).awaited())
    for receive in receives:
        for value in ("before", Unreceivable(), "after"):
            await tx.send(value)
        assert await rx.recv() == "before"
        with pytest.raises(Exception, match="it never arrives"):
            await receive()
        assert await rx.recv() == "after"
        await soon.stats(rx, queue_size=0)


@needs("broker", "blocking", "threads", "stats")
async def test_a_receive_that_waits_for_what_cannot_be_decoded_raises_and_the_next_one_works(
    open_channel, capacity, in_thread, until
):
    tx, rx = await open_channel(capacity)
    waiting = in_thread(rx.blocking_recv)
    await until.receivers_wait(rx, 1)
    await tx.send(Unreceivable())
    with pytest.raises(Exception, match="it never arrives"):
        await waiting.awaited()
    waiting = in_thread(rx.blocking_recv)
    await until.receivers_wait(rx, 1)
    await tx.send("next")
    assert await waiting.awaited() == "next"


# ----------------------------------------------------------------------------- feeders, consumers


def take(rx):
    return rx.blocking_recv()


def poll(rx):
    while True:
        try:
            return rx.recv_nowait()
        except ChannelEmptyError:
            time.sleep(0)  # gives way to the other threads


def take_with_a_short_limit(rx):
    while True:
        try:
            return rx.blocking_recv(timeout=0.00001)
        except RecvTimeoutError:
            pass


async def fed_and_consumed(channel, in_thread, receive, *, pairs: int, messages: int) -> list[int]:
    """Several threads share one supply, and as many eat until they meet the end of one of the feeders."""
    tx, rx = channel
    supply = collections.deque(range(messages))
    end = None
    eaten: collections.deque[int] = collections.deque()

    def feed() -> None:
        while True:
            try:
                message = supply.popleft()
            except IndexError:
                tx.blocking_send(end)
                return
            tx.blocking_send(message)

    def consume() -> None:
        while (message := receive(rx)) is not end:
            eaten.append(message)

    jobs = [in_thread(body) for body in (feed, consume) for _ in range(pairs)]
    for job in jobs:
        await job.awaited()
    assert await rx.try_recv() == Err(ChannelEmpty())
    return list(eaten)


@needs("blocking", "threads")
async def test_one_feeder_and_one_consumer_keep_the_order(open_channel, capacity, in_thread):
    channel = await open_channel(capacity)
    eaten = await fed_and_consumed(channel, in_thread, take, pairs=1, messages=100)
    assert eaten == list(range(100))


@needs("blocking", "threads")
async def test_many_feeders_and_consumers_lose_and_double_nothing(
    open_channel, capacity, in_thread
):
    channel = await open_channel(capacity)
    eaten = await fed_and_consumed(channel, in_thread, take, pairs=10, messages=400)
    assert sorted(eaten) == list(range(400))


@needs("blocking", "threads", "timeouts")
async def test_consumers_that_run_out_of_time_again_and_again_lose_and_double_nothing(
    open_channel, capacity, in_thread
):
    channel = await open_channel(capacity)
    eaten = await fed_and_consumed(
        channel, in_thread, take_with_a_short_limit, pairs=5, messages=100
    )
    assert sorted(eaten) == list(range(100))


@needs("nowait", "at_once", "blocking", "threads")
@capacities(0, 1, 3, 100, None)
async def test_consumers_that_only_poll_lose_and_double_nothing(open_channel, capacity, in_thread):
    channel = await open_channel(capacity)
    eaten = await fed_and_consumed(channel, in_thread, poll, pairs=5, messages=200)
    assert sorted(eaten) == list(range(200))


# ------------------------------------------------------------------------------------- references


@needs("by_reference", "nowait", "iteration", "batches")
@capacities(100, None)
async def test_a_message_that_was_taken_is_no_longer_held(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    for receive in (
        rx.recv,
        rx.try_recv,
        rx.__anext__,
        lambda: rx.recv_batch(1),
        lambda: rx.recv(timeout=1000),
    ):
        tx.send_nowait(Thing())
        tx.send_nowait(Thing())
        for _ in range(2):
            received = await receive()
            if isinstance(received, Ok):
                received = received.unwrap()
            gone = weakref.ref(received[0] if isinstance(received, list) else received)
            del received
            assert gone() is None


@needs("by_reference", "blocking", "threads")
@capacities(0)
async def test_a_message_that_was_handed_over_by_waiting_threads_is_no_longer_held(
    open_channel, in_thread, until
):
    tx, rx = await open_channel(0)
    receiving = in_thread(lambda: weakref.ref(rx.blocking_recv()))
    await until.receivers_wait(rx, 1)
    await in_thread(lambda: tx.blocking_send(Thing())).awaited()
    assert (await receiving.awaited())() is None


@needs("at_once", "nowait")
@capacities(None)
async def test_a_finaliser_may_send_wherever_the_collector_runs(open_channel):
    """Also in the middle of an operation on the same channel: each number comes once, and in order."""
    tx, rx = await open_channel(None)
    numbers = itertools.count()

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            tx.send_nowait(next(numbers))

    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        received = []
        while not received or received[-1] < 2000:
            Cycle()
            tx.send_nowait(next(numbers))
            received.append(await rx.recv())
    finally:
        gc.set_threshold(*thresholds)
    assert received == list(range(len(received)))
    gc.collect()  # the last of them, while the channel is still open


# --------------------------------------------------------------------------------------- shutdown


def shut(operation) -> None:
    with pytest.raises(ChannelClosedError) as caught:
        operation()
    assert caught.value.kind == "shutdown"


@needs("shutdown", "blocking", "nowait", "at_once", "timeouts", "threads")
@pytest.mark.parametrize("immediate", [False, True])
async def test_in_one_thread_every_operation_knows_of_a_shutdown(
    open_channel, in_thread, immediate
):
    tx, rx = await open_channel(2)

    def program() -> None:
        tx.blocking_send("a")
        tx.send_nowait("b")
        tx.blocking_shutdown(immediate=immediate)
        shut(lambda: tx.blocking_send("c"))
        shut(lambda: tx.send_nowait("c"))
        if not immediate:
            assert rx.blocking_recv() == "a"
            assert rx.recv_nowait() == "b"
        shut(rx.blocking_recv)
        shut(rx.recv_nowait)
        shut(lambda: rx.blocking_recv(timeout=1000))

    await in_thread(program).awaited()


@needs("shutdown", "blocking", "threads", "stats")
@pytest.mark.parametrize("immediate", [False, True])
async def test_threads_that_wait_hear_of_a_shutdown(open_channel, in_thread, until, immediate):
    tx, rx = await open_channel(0)
    waiting = [in_thread(shut, rx.blocking_recv) for _ in range(3)]
    await until.receivers_wait(rx, 3, handles=1)
    await tx.shutdown(immediate)
    for job in waiting:
        await job.awaited()
    tx, rx = await open_channel(1)
    await tx.send("stored")
    waiting = [in_thread(shut, lambda: tx.blocking_send("too late")) for _ in range(3)]
    await until.senders_wait(tx, 3)
    await rx.shutdown(immediate)
    for job in waiting:
        await job.awaited()
    if not immediate:
        assert await rx.recv() == "stored"
    assert isinstance((await rx.try_recv()).unwrap_err().to_exception(), ChannelClosedError)


@needs("shutdown", "blocking", "threads", "stats")
@pytest.mark.parametrize("immediate", [False, True])
async def test_a_shutdown_amid_feeders_and_consumers_ends_them_all(
    open_channel, capacity, in_thread, until, immediate
):
    """What a send has put in before it is received, unless the shutdown drops it; nothing comes twice."""
    tx, rx = await open_channel(capacity)
    sent: collections.deque[tuple[int, int]] = collections.deque()
    received: collections.deque[tuple[int, int]] = collections.deque()

    def feed(name: int) -> None:
        with pytest.raises(ChannelClosedError):
            for n in itertools.count():
                tx.blocking_send((name, n))
                sent.append((name, n))

    def consume() -> None:
        with pytest.raises(ChannelClosedError):
            while True:
                received.append(rx.blocking_recv())

    jobs = [in_thread(feed, name) for name in range(3)] + [in_thread(consume) for _ in range(4)]
    await until.true(lambda: len(received) >= 100)
    await tx.shutdown(immediate)
    for job in jobs:
        await job.awaited()
    assert len(set(received)) == len(received)
    assert set(received) <= set(sent)
    if not immediate:
        assert set(received) == set(sent)
