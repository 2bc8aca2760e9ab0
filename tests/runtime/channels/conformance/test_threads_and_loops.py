"""Rules 7 and 8: any thread and any event loop, and no loop is starved. Blocking twins."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from klaw_core.runtime.channels import (
    ChannelClosedError,
    blocking_select,
    select,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities


# ------------------------------------------------------------------------------------------ rule 7


@needs("blocking", "threads")
async def test_a_thread_sends_to_a_task(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)

    def produce() -> None:
        for n in range(100):
            tx.blocking_send(n)

    job = in_thread(produce)
    assert [await rx.recv() for _ in range(100)] == list(range(100))
    await job.awaited()


@needs("blocking", "threads")
async def test_a_task_sends_to_a_thread(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    job = in_thread(lambda: [rx.blocking_recv() for _ in range(100)])
    for n in range(100):
        await tx.send(n)
    assert await job.awaited() == list(range(100))


@needs("blocking", "blocking_iteration", "threads")
async def test_a_thread_iterates_until_the_end(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    job = in_thread(lambda: list(rx))
    for n in range(50):
        await tx.send(n)
    await tx.close()
    assert await job.awaited() == list(range(50))


@needs("blocking_iteration", "threads", "stats")
async def test_the_iteration_of_a_thread_ends_when_its_own_handle_closes(
    open_channel, in_thread, until
):
    _tx, rx = await open_channel(1)
    job = in_thread(lambda: list(rx))
    await until.receivers_wait(rx, 1)
    rx.close()
    assert await job.awaited() == []


@needs("blocking_iteration", "threads", "stats")
async def test_the_iteration_of_a_thread_raises_a_reason(open_channel, in_thread):
    tx, rx = await open_channel(1)
    job = in_thread(lambda: list(rx))
    await tx.send(1)
    await tx.close("broken")
    with pytest.raises(ChannelClosedError, match="^broken$"):
        await job.awaited()


@needs("blocking", "threads", "stats")
async def test_closing_wakes_the_threads_that_wait(open_channel, in_thread, until, fill):
    tx, rx = await open_channel(1)
    receiving = in_thread(rx.blocking_recv)
    await until.receivers_wait(rx, 1)
    tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await receiving.awaited()
    assert caught.value.kind == "ended"
    tx, rx = await open_channel(1)
    await fill(tx)
    sending = in_thread(tx.blocking_send, 1)
    await until.senders_wait(tx, 1)
    rx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await sending.awaited()
    assert caught.value.kind == "peer_gone"


@needs("blocking", "threads", "stats")
async def test_one_handle_serves_several_threads_at_once(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    receivers = [in_thread(lambda: [rx.blocking_recv() for _ in range(50)]) for _ in range(4)]

    def produce(name) -> None:
        for n in range(50):
            tx.blocking_send((name, n))

    senders = [in_thread(produce, name) for name in range(4)]
    received = [message for job in receivers for message in await job.awaited()]
    for job in senders:
        await job.awaited()
    assert Counter(received) == Counter((name, n) for name in range(4) for n in range(50))


@needs("waiting", "threads")
async def test_one_channel_joins_the_loops_of_two_threads(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    back_tx, back_rx = await open_channel(capacity)

    async def echo() -> None:
        async for message in rx:
            await back_tx.send(message + 1)
        await back_tx.close()

    job = in_thread(lambda: asyncio.run(echo()))
    for n in range(100):
        sending = asyncio.ensure_future(tx.send(n))
        assert await back_rx.recv() == n + 1
        await sending
    await tx.close()
    assert [message async for message in back_rx] == []
    await job.awaited()


@needs("threads", "stats", "arrival_order", "at_once")
async def test_tasks_of_several_loops_are_served_in_order_of_arrival(
    open_channel, in_thread, until
):
    tx, rx = await open_channel(1)
    jobs = []
    for n in range(4):
        jobs.append(in_thread(lambda: asyncio.run(receive(rx))))
        await until.receivers_wait(rx, n + 1)
    for n in range(4):
        await tx.send(n)
    assert [await job.awaited() for job in jobs] == [0, 1, 2, 3]


@needs("threads", "stats", "arrival_order", "clone")
async def test_tasks_of_several_loops_with_a_handle_each_are_served_in_order_of_arrival(
    open_channel, in_thread, until
):
    tx, rx = await open_channel(1)
    clones = [rx.clone() for _ in range(4)]
    jobs = []
    for n, clone in enumerate(clones):
        jobs.append(in_thread(lambda handle: asyncio.run(receive(handle)), clone))
        await until.receivers_wait(rx, n + 1)
    for n in range(4):
        await tx.send(n)
    assert [await job.awaited() for job in jobs] == [0, 1, 2, 3]


async def receive(rx) -> object:
    return await rx.recv()


# ------------------------------------------------------------------- blocking in an event loop


@needs("blocking", "blocking_batches", "blocking_iteration", "select")
async def test_blocking_calls_refuse_a_thread_that_runs_an_event_loop(open_channel, soon):
    tx, rx = await open_channel(4)
    await tx.send("ready")
    begin = r"^this thread runs an event loop \(a notebook cell\?\); write: "
    calls = [
        (lambda: tx.blocking_send(1), r"await tx\.send\(value\)"),
        (lambda: tx.blocking_send_batch([1]), r"await tx\.send_batch\(values\)"),
        (lambda: rx.blocking_recv(), r"await rx\.recv\(\)"),
        (lambda: rx.blocking_recv(timeout=0), r"await rx\.recv\(\)"),
        (lambda: rx.blocking_recv_batch(1), r"await rx\.recv_batch\(max_items\)"),
        (lambda: next(rx), "async for value in rx"),
        (lambda: list(rx), "async for value in rx"),
        (lambda: blocking_select(rx), r"await select\(\.\.\.\)"),
    ]
    for call, instead in calls:
        with pytest.raises(RuntimeError, match=begin + instead):
            call()
    await soon.stored(rx, 1)


@needs("broker", "blocking_close", "shutdown", "permits", "flush", "weak", "acknowledgements")
async def test_a_blocking_call_that_is_refused_has_no_effect(open_channel):
    """Of a channel in one process some of them never wait, and are not refused."""
    tx, rx = await open_channel(4)
    weak = tx.downgrade()
    for call in (
        lambda: tx.blocking_close(),
        lambda: rx.blocking_close(timeout=1.0),
        lambda: tx.blocking_shutdown(),
        lambda: rx.blocking_shutdown(immediate=True),
        lambda: tx.blocking_flush(),
        lambda: tx.blocking_reserve(),
        lambda: weak.blocking_upgrade(),
        lambda: rx.blocking_recv_acked(),
        lambda: next(rx.acked()),
    ):
        with pytest.raises(RuntimeError, match="^this thread runs an event loop"):
            call()
    assert not tx.is_closed
    assert not rx.is_closed
    await tx.send("value")
    assert await rx.recv() == "value"


async def test_a_blocking_close_that_is_refused_closes_no_other_flavour(open_elsewhere):
    tx, rx = await open_elsewhere()
    for handle in (tx, rx):
        with pytest.raises(RuntimeError, match="^this thread runs an event loop"):
            handle.blocking_close()
        assert not handle.is_closed
    await tx.send("value")
    assert await open_elsewhere.receive_one(rx) == "value"


@needs("blocking")
def test_blocking_calls_are_allowed_beside_a_loop_that_does_not_run(flavour):
    loop = asyncio.new_event_loop()
    try:
        tx, rx = loop.run_until_complete(made(flavour))
        tx.blocking_send(1)
        assert rx.blocking_recv() == 1
        loop.run_until_complete(closed(tx, rx))
    finally:
        loop.close()


async def made(flavour):
    return await flavour.make(capacity=1)


async def closed(*handles) -> None:
    for handle in handles:
        await handle.close()


# ------------------------------------------------------------------------------------------ rule 8


@needs("waiting", "trying", "batches", "iteration", "select", "at_once")
@pytest.mark.parametrize(
    "ready",
    ["send and recv", "try", "batch", "iterate", "select", "timed"],
)
async def test_a_task_that_always_finds_something_ready_lets_others_run(open_channel, ready):
    tx, rx = await open_channel(2)
    done = False

    async def other() -> None:
        nonlocal done
        for _ in range(3):
            await asyncio.sleep(0)
        done = True

    task = asyncio.ensure_future(other())
    while not done:  # for ever, if the loop never gets its turn: then pytest's time limit ends it
        tx.send_nowait(1)
        match ready:
            case "send and recv":
                await tx.send(2)
                await rx.recv()
                await rx.recv()
            case "try":
                await tx.try_send(2)
                await rx.try_recv()
                await rx.try_recv()
            case "batch":
                await rx.recv_batch(2)
            case "iterate":
                await anext(rx)
            case "select":
                await select(rx)
            case "timed":
                await rx.recv(timeout=5)
    await task


@needs("iteration", "at_once")
async def test_an_endless_ready_iteration_can_be_timed_out(open_channel):
    """The loop gets its turn for timers too."""
    tx, rx = await open_channel(1)
    tx.send_nowait(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            async for message in rx:
                tx.send_nowait(message)


@needs("waiting", "length", "at_once")
async def test_cancelled_at_the_point_of_giving_way_nothing_has_happened(open_channel, start):
    """It gives way before it takes a message: cancelled there, the message is still in the channel."""
    tx, rx = await open_channel(1)
    taken = 0
    sent = 0

    async def busy() -> None:
        nonlocal taken, sent
        while True:
            await tx.send(1)
            sent += 1
            await rx.recv()
            taken += 1

    for _ in range(20):
        task = start(busy())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(rx) == sent - taken
        if len(rx):
            await rx.recv()
            taken += 1
