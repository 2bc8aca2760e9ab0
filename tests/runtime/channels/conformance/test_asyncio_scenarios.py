"""What CPython's asyncio queue tests check of a queue between tasks, rewritten for channels: who goes on when, what a
cancelled get or put leaves behind, producers and consumers that must not get stuck, shutdown.

Left out, since a channel has no such thing: task_done and join, the other orders, a capacity that is no integer. Its
repr and its generic alias are tested in test_handles.py and in tests/typing.
"""

from __future__ import annotations

import asyncio

import pytest

from klaw_core.runtime.channels import ChannelClosedError, ChannelEmpty, ChannelFull, Err, Ok

needs = pytest.mark.needs
capacities = pytest.mark.capacities


async def cancelled(task) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ------------------------------------------------------------------------------ who goes on when


@needs("waiting", "trying", "stats")
@capacities(1, 3)
async def test_a_producer_stops_at_the_brim_and_goes_on_with_each_message_that_is_taken(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    sent = []

    async def produce() -> str:
        for n in range(capacity + 2):
            await tx.send(n)
            sent.append(n)
        return "done"

    producer = start(produce())
    for n in range(2):
        await until.senders_wait(tx, 1)
        assert sent == list(range(capacity + n))
        assert not producer.done()
        assert await rx.recv() == n
        await until.true(lambda count=capacity + n + 1: len(sent) == count)
    assert await producer == "done"
    assert [await rx.recv() for _ in range(capacity)] == list(range(2, capacity + 2))


@needs("waiting", "stats")
async def test_a_receive_ends_with_the_message_and_not_before(open_channel, capacity, start, until):
    tx, rx = await open_channel(capacity)
    ended = False

    async def receive() -> object:
        nonlocal ended
        message = await rx.recv()
        ended = True
        return message

    receiving = start(receive())
    await until.receivers_wait(rx, 1)
    assert not ended
    await tx.send("m")
    assert await receiving == "m"
    assert ended


@needs("nowait", "at_once")
@capacities(1, 3)
async def test_a_callback_of_the_loop_sends_and_receives_for_tasks_that_wait(
    open_channel, capacity, fill, start
):
    tx, rx = await open_channel(capacity)
    loop = asyncio.get_running_loop()
    receiving = start(rx.recv())
    loop.call_later(0.001, tx.send_nowait, "m")
    assert await receiving == "m"
    count = await fill(tx)
    loop.call_later(0.001, rx.recv_nowait)
    await tx.send(count)
    assert [rx.recv_nowait() for _ in range(count)] == list(range(1, count + 1))


@needs("waiting")
@capacities(0, 1)
async def test_producers_that_were_started_first_and_have_not_run_are_received_in_turn(
    open_channel, capacity, start
):
    tx, rx = await open_channel(capacity)
    producers = [start(tx.send(name)) for name in "ab"]
    received = {await rx.recv(), await rx.recv()}
    assert received == {"a", "b"}
    await asyncio.gather(*producers)


@needs("waiting")
async def test_a_task_that_sends_and_one_that_receives_as_many_both_end(open_channel, capacity):
    tx, rx = await open_channel(capacity)

    async def produce() -> None:
        for n in range(5):
            await tx.send(n)

    async def consume() -> None:
        for n in range(5):
            assert await rx.recv() == n

    for first, second in ((produce, consume), (consume, produce)):
        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())


@needs("waiting", "trying", "stats")
@capacities(1, 3)
async def test_several_senders_are_let_in_when_several_messages_go_at_once(
    open_channel, capacity, fill, until
):
    """Each message that is taken wakes a sender, though the first to be woken has not run yet."""
    tx, rx = await open_channel(capacity)
    count = await fill(tx)

    async def drain() -> None:
        await until.senders_wait(tx, capacity)
        for n in range(count):
            assert await rx.try_recv() == Ok(n)

    async with asyncio.TaskGroup() as group:
        group.create_task(drain())
        for n in range(capacity):
            group.create_task(tx.send(n))
    assert sorted([await rx.recv() for _ in range(capacity)]) == list(range(capacity))
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("nowait", "at_once", "length")
@capacities(1, 3)
async def test_senders_that_come_while_others_are_woken_are_let_in_behind_them(
    open_channel, capacity, fill, start
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    first = start(tx.send("first"))
    await asyncio.sleep(0)
    assert rx.recv_nowait() == 0  # the room belongs to the first, which has not run yet
    assert await tx.try_send("passes") == Err(ChannelFull(capacity))
    second = start(tx.send("second"))
    await asyncio.sleep(0)
    assert first.done()
    assert not second.done()
    rest = [await rx.recv() for _ in range(count + 1)]
    assert rest == [*range(1, count), "first", "second"]
    await second
    assert len(rx) == 0


# ----------------------------------------------------------------------- what cancelling leaves


@needs("arrival_order", "stats")
async def test_the_message_goes_past_a_cancelled_receive_to_the_one_behind_it(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    first = start(rx.recv())
    await until.receivers_wait(rx, 1)
    second = start(rx.recv())
    await until.receivers_wait(rx, 2, handles=1)
    await cancelled(first)
    await tx.send("a")
    assert await second == "a"


@needs("waiting", "stats")
async def test_a_woken_receive_that_is_cancelled_and_tried_again_gets_the_same_message(
    open_channel, start, until, wake
):
    tx, rx = await open_channel(3)
    receiving = start(rx.recv())
    await until.receivers_wait(rx, 1)
    wake(tx, 1, 2)
    receiving.cancel()
    try:
        received = await receiving
    except asyncio.CancelledError:
        received = await rx.recv()
    assert received == 1
    assert await rx.recv() == 2


@needs("waiting", "stats")
async def test_of_several_woken_receives_the_one_that_is_cancelled_robs_nobody(
    open_channel, start, until, wake
):
    tx, rx = await open_channel(3)
    tasks = []
    for n in range(3):
        tasks.append(start(rx.recv()))
        await until.receivers_wait(rx, n + 1, handles=1)
    wake(tx, 1, 2)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert set(outcomes[1:]) == {1, 2}


@needs("waiting", "trying")
@capacities(1)
async def test_a_send_cancelled_before_it_came_to_wait_is_not_seen(
    open_channel, start, until, soon
):
    tx, rx = await open_channel(1)
    sends = [start(tx.send("a")), start(tx.send("b")), start(tx.send("never"))]
    await until.senders_wait(tx, 2)
    await cancelled(sends[2])
    await soon.stats(tx, waiting_senders=1)
    received = {await rx.recv(), await rx.recv()}
    assert received == {"a", "b"}
    await asyncio.gather(*sends[:2])
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("waiting", "stats", "trying")
@capacities(0, 1, 3)
async def test_a_send_cancelled_as_room_is_made_and_looked_after_arrives_once(
    open_channel, capacity, start, until, fill
):
    """Who can't know whether it was sent looks at the other end, and sends it again only if it is not there."""
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    sending = start(tx.send("m"))
    await until.senders_wait(tx, 1)
    received = [await rx.recv()]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    while (result := await rx.try_recv()).is_ok():
        received.append(result.unwrap())
    if "m" not in received:
        again = start(tx.send("m"))
        received.append(await rx.recv())
        await again
    assert received == [*range(filled), "m"]
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("nowait", "at_once")
@capacities(1, 3)
async def test_a_send_that_was_let_in_and_is_cancelled_says_cancelled_and_harms_nothing(
    open_channel, capacity, fill, start
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    sending = start(tx.send("m"))
    await asyncio.sleep(0)
    rx.recv_nowait()
    await cancelled(sending)
    assert [rx.recv_nowait() for _ in range(count)] == [*range(1, count), "m"]
    assert await fill(tx) == capacity


@needs("waiting", "stats")
async def test_a_receive_that_wait_for_gave_up_does_not_wait_any_more(
    open_channel, capacity, start, soon
):
    tx, rx = await open_channel(capacity)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rx.recv(), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await rx.recv()
    await soon.stats(rx, waiting_receivers=0)
    sending = start(tx.send("m"))
    assert await rx.recv() == "m"
    await sending


@needs("waiting", "stats", "trying")
@capacities(0, 1, 3)
async def test_a_send_that_wait_for_gave_up_does_not_wait_any_more(
    open_channel, capacity, fill, soon
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tx.send("never"), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await tx.send("never")
    await soon.stats(tx, waiting_senders=0)
    assert [await rx.try_recv() for _ in range(count)] == [Ok(n) for n in range(count)]
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("waiting", "trying", "prompt")
async def test_receives_that_wait_for_gives_up_beside_messages_lose_none(open_channel, capacity):
    """wait_for may see the message and the end of its time in the same turn of the loop."""
    tx, rx = await open_channel(capacity)
    count = 50
    received = []

    async def produce() -> None:
        for n in range(count):
            await tx.send(n)

    async def consume() -> None:
        n = 0
        while len(received) < count:
            n += 1
            try:
                received.append(await asyncio.wait_for(rx.recv(), 0.0001 * (n % 5)))
            except TimeoutError:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
    assert received == list(range(count))


# --------------------------------------------------------------------------------------- shutdown


async def shut(awaitable) -> None:
    with pytest.raises(ChannelClosedError) as caught:
        await awaitable
    assert caught.value.kind == "shutdown"


async def shut_for_all(tx, rx) -> None:
    await shut(tx.send("too late"))
    await shut(rx.recv())
    for trying in (tx.try_send("too late"), rx.try_recv()):
        assert (await trying).unwrap_err().kind == "shutdown"


@needs("shutdown", "stats")
@pytest.mark.parametrize("immediate", [False, True])
async def test_a_shutdown_of_an_empty_channel_ends_the_receive_that_waits(
    open_channel, capacity, start, until, soon, immediate
):
    tx, rx = await open_channel(capacity)
    receiving = start(rx.recv())
    await until.receivers_wait(rx, 1)
    await tx.shutdown(immediate)
    await shut(receiving)
    await shut_for_all(tx, rx)
    await soon.stats(rx, queue_size=0, waiting_receivers=0)


@needs("shutdown", "stats", "trying")
@capacities(1, 3)
@pytest.mark.parametrize("immediate", [False, True])
async def test_a_shutdown_of_a_full_channel_ends_the_send_that_waits(
    open_channel, capacity, start, until, fill, immediate
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    sending = start(tx.send("never"))
    await until.senders_wait(tx, 1)
    await tx.shutdown(immediate)
    await shut(sending)
    if not immediate:
        await shut(tx.send("too late, though there is something to drain"))
        assert [await rx.recv() for _ in range(count)] == list(range(count))
    await shut_for_all(tx, rx)


@needs("shutdown", "stats")
@capacities(1, 3)
async def test_what_was_taken_before_an_immediate_shutdown_is_kept(open_channel, capacity, soon):
    tx, rx = await open_channel(capacity)
    await tx.send("taken")
    received = await rx.recv()
    await tx.send("dropped")
    await rx.shutdown(immediate=True)
    assert received == "taken"
    await soon.stats(rx, queue_size=0)
    await shut_for_all(tx, rx)
