"""Smoke, capacity, trying, order, and who gets what: the first rows of crossbeam's checklist, and rule 4."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFull,
    ChannelFullError,
    Err,
    Ok,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities

# What could be mistaken for an answer, an end or an error.
ODD_VALUES = [
    None,
    False,
    0,
    "",
    (),
    (1, 2),
    [],
    StopIteration(1),
    StopAsyncIteration(),
    asyncio.CancelledError(),
    Ok(1),
    Err(ChannelClosed()),
    ...,
    NotImplemented,
    int,
]


@needs("waiting")
@capacities(1, 3, 100, None)
async def test_what_is_sent_is_received(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    assert await tx.send("a") is None
    assert await rx.recv() == "a"


@needs("waiting")
async def test_what_is_sent_is_received_by_one_that_waits(open_channel, capacity, start, until):
    tx, rx = await open_channel(capacity)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)
    await tx.send("a")
    assert await waiting == "a"


@needs("trying")
@capacities(1, 3, 100, None)
async def test_trying_gives_results(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    assert await rx.try_recv() == Err(ChannelEmpty())
    assert await tx.try_send("a") == Ok(None)
    assert await rx.try_recv() == Ok("a")
    assert await rx.try_recv() == Err(ChannelEmpty())
    await fill(tx)
    if capacity is not None:
        assert await tx.try_send("no room") == Err(ChannelFull(capacity))
    assert await rx.try_recv() == Ok(0)


@needs("nowait", "at_once")
@capacities(1, 3, 100, None)
async def test_nowait_is_a_plain_call_that_raises(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    with pytest.raises(ChannelEmptyError) as empty:
        rx.recv_nowait()
    assert not isinstance(empty.value, TimeoutError)
    assert tx.send_nowait("a") is None
    assert rx.recv_nowait() == "a"
    await fill(tx)
    if capacity is not None:
        with pytest.raises(
            ChannelFullError, match=rf"^Channel full \(capacity={capacity}\)$"
        ) as full:
            tx.send_nowait("no room")
        assert full.value.capacity == capacity
        assert not isinstance(full.value, TimeoutError)
    assert rx.recv_nowait() == 0


@needs("nowait", "broker")
@capacities(1, 3, None)
async def test_nowait_asks_no_broker(open_channel, capacity):
    """So it takes only what is in this process, and sends nothing."""
    tx, rx = await open_channel(capacity)
    with pytest.raises(ChannelFullError):
        tx.send_nowait("never sent")
    await tx.send("a")
    with pytest.raises(ChannelEmptyError):
        rx.recv_nowait()
    assert await rx.try_recv() == Ok("a")
    assert await rx.try_recv() == Err(ChannelEmpty())


@capacities(1, 3, 100)
@needs("trying", "length")
async def test_it_holds_as_many_as_its_capacity(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    assert len(rx) == 0
    assert await fill(tx) == capacity
    assert len(rx) == capacity
    assert await rx.recv() == 0
    assert len(rx) == capacity - 1
    assert await tx.try_send("again") == Ok(None)
    assert await tx.try_send("no room") == Err(ChannelFull(capacity))
    assert len(rx) == capacity


@needs("unbounded", "length")
@capacities(None)
async def test_an_unbounded_channel_is_never_full(open_channel):
    tx, rx = await open_channel(None)
    for n in range(20_000):
        tx.send_nowait(n)
    assert len(rx) == 20_000
    assert await rx.recv_batch(30_000) == list(range(20_000))
    assert len(rx) == 0


@capacities(1, 3, 100)
@needs("waiting", "stats")
async def test_a_send_to_a_full_channel_waits_for_room(open_channel, fill, start, until):
    tx, rx = await open_channel(3)
    count = await fill(tx)
    waiting = start(tx.send(count))
    await until.senders_wait(tx, 1)
    assert not waiting.done()
    assert [await rx.recv() for _ in range(count + 1)] == list(range(count + 1))
    await waiting


@needs("waiting", "by_reference")
@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
async def test_any_value_is_a_message(open_channel, value):
    tx, rx = await open_channel(4)
    await tx.send(value)
    assert await rx.recv() is value
    tx.send_nowait(value)
    assert (await rx.try_recv()).unwrap() is value
    tx.send_nowait(value)
    assert rx.recv_nowait() is value
    tx.send_nowait(value)
    assert (await rx.recv_batch(1))[0] is value
    tx.send_nowait(value)
    assert await anext(rx) is value


@needs("waiting", "by_reference")
@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
async def test_any_value_is_a_message_to_one_that_waits(open_channel, value, start, until):
    tx, rx = await open_channel(0)
    for receive in (rx.recv, rx.__anext__):
        waiting = start(receive())
        await until.receivers_wait(rx, 1)
        tx.send_nowait(value)
        assert await waiting is value


@needs("waiting")
async def test_any_value_arrives_as_it_was_sent(open_channel):
    """Where messages are bytes it is another object, which is like it."""
    tx, rx = await open_channel(4)
    for value in ODD_VALUES:
        await tx.send(value)
        received = await rx.recv()
        assert type(received) is type(value)
        if isinstance(value, BaseException):
            assert received.args == value.args
        else:
            assert received == value


# ----------------------------------------------------------------------------------- rule 4: order


@needs("waiting")
async def test_one_sender_and_one_receiver_keep_the_order(open_channel, capacity, start):
    tx, rx = await open_channel(capacity)

    async def produce() -> None:
        for n in range(500):
            await tx.send(n)

    producer = start(produce())
    assert [await rx.recv() for _ in range(500)] == list(range(500))
    await producer


@needs("clone", "iteration")
async def test_every_message_goes_to_exactly_one_receiver_in_the_order_of_its_sender(
    open_channel, capacity, start
):
    tx, rx = await open_channel(capacity)
    senders, count = 4, 200

    async def produce(tx, name) -> None:
        async with tx:
            for n in range(count):
                await tx.send((name, n))

    async def consume(rx) -> list[tuple[int, int]]:
        async with rx:
            return [message async for message in rx]

    consumers = [start(consume(rx.clone())) for _ in range(3)]
    producers = [start(produce(tx.clone(), name)) for name in range(senders)]
    await tx.close()
    await rx.close()
    received = await asyncio.gather(*consumers)
    await asyncio.gather(*producers)
    for messages in received:
        for name in range(senders):
            own = [n for sender, n in messages if sender == name]
            assert own == sorted(own)
    total = Counter(message for messages in received for message in messages)
    assert total == Counter((name, n) for name in range(senders) for n in range(count))


@needs("arrival_order", "stats")
async def test_waiting_receivers_are_served_in_the_order_in_which_they_came(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    waiting = []
    for n in range(4):
        waiting.append(start(rx.recv()))
        await until.receivers_wait(rx, n + 1, handles=1)
    for n in range(4):
        await tx.send(n)
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3]


@needs("arrival_order", "stats")
@capacities(0, 1, 3, 100)
async def test_waiting_senders_are_served_in_the_order_in_which_they_came(
    open_channel, capacity, fill, start, until
):
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    waiting = []
    for n in range(4):
        waiting.append(start(tx.send(filled + n)))
        await until.senders_wait(tx, n + 1)
    assert [await rx.recv() for _ in range(filled + 4)] == list(range(filled + 4))
    await asyncio.gather(*waiting)


@needs("arrival_order", "batches", "stats")
@capacities(3)
async def test_a_small_send_does_not_overtake_a_large_batch_that_waits(
    open_channel, start, until, fill
):
    tx, rx = await open_channel(3)
    await fill(tx)
    batch = start(tx.send_batch("abc"))
    await until.senders_wait(tx, 1)
    assert await rx.recv() == 0
    single = start(tx.send("d"))
    await until.senders_wait(tx, 2)
    assert await tx.try_send("e") == Err(ChannelFull(3))
    assert [await rx.recv() for _ in range(6)] == [1, 2, "a", "b", "c", "d"]
    await asyncio.gather(batch, single)


@needs("waiting", "stats")
async def test_one_that_waits_is_not_passed_by_for_ever(open_channel, start, until):
    """Nobody starves: others that always find something ready do not keep it from those who wait."""
    tx, rx = await open_channel(1)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)

    async def greedy() -> None:
        while not waiting.done():
            await rx.try_recv()
            await tx.try_send(1)

    await asyncio.gather(greedy(), greedy())
    assert await waiting == 1


# ----------------------------------------------------------------------------- more of crossbeam's


@needs("waiting", "by_reference")
async def test_a_channel_goes_through_a_channel(open_channel):
    tx, rx = await open_channel(1)
    inner_tx, inner_rx = await open_channel(1)
    await tx.send(inner_tx)
    received = await rx.recv()
    assert received is inner_tx
    await received.send("through both")
    assert await inner_rx.recv() == "through both"


@needs("waiting", "by_reference", "collected")
async def test_a_channel_goes_through_itself(open_channel, no_leak):
    tx, rx = await open_channel(2)
    await tx.send((tx, rx))
    again_tx, again_rx = await rx.recv()
    await again_tx.send(1)
    assert await again_rx.recv() == 1
    await again_tx.close()
    del tx, rx, again_tx, again_rx
    no_leak()


@needs("waiting")
async def test_a_message_can_be_sent_while_one_is_received(open_channel, capacity, start):
    """recv inside send: the argument of a send may itself come from the channel."""
    tx, rx = await open_channel(capacity)
    first = start(tx.send(1))
    second = start(tx.send(await rx.recv() + 1))
    assert await rx.recv() == 2
    await asyncio.gather(first, second)


@needs("waiting", "clone", "stats")
async def test_stress_loses_nothing(open_channel, capacity, soon):
    tx, rx = await open_channel(capacity)
    workers, each = 8, 250
    total = 0

    async def produce() -> None:
        for n in range(each):
            await tx.send(n)

    async def consume() -> None:
        nonlocal total
        for _ in range(each):
            message = await rx.recv()
            total += message

    await asyncio.gather(*(job() for _ in range(workers) for job in (produce, consume)))
    assert total == workers * sum(range(each))
    await soon.stats(tx, total_sent=2000, total_received=2000, queue_size=0)


# ----------------------------------------------------------------------------- capacity 0


@needs("rendezvous", "stats")
@capacities(0)
class TestRendezvous:
    async def test_a_send_waits_until_its_message_is_taken(self, open_channel, start, until, soon):
        tx, rx = await open_channel(0)
        waiting = start(tx.send("a"))
        await until.senders_wait(tx, 1)
        await soon.stored(rx, 0)
        assert not waiting.done()
        assert await rx.recv() == "a"
        await waiting

    async def test_trying_to_send_needs_a_receiver_that_waits(self, open_channel, start, until):
        tx, rx = await open_channel(0)
        assert await tx.try_send("nobody waits") == Err(ChannelFull(0))
        with pytest.raises(ChannelFullError):
            tx.send_nowait("nobody waits")
        waiting = start(rx.recv())
        await until.receivers_wait(rx, 1)
        assert await tx.try_send("a") == Ok(None)
        assert await tx.try_send("that receiver has its message") == Err(ChannelFull(0))
        assert await waiting == "a"

    async def test_trying_to_receive_takes_from_a_sender_that_waits(
        self, open_channel, start, until
    ):
        tx, rx = await open_channel(0)
        assert await rx.try_recv() == Err(ChannelEmpty())
        waiting = start(tx.send("a"))
        await until.senders_wait(tx, 1)
        assert await rx.try_recv() == Ok("a")
        assert await rx.try_recv() == Err(ChannelEmpty())
        await waiting

    async def test_many_meet_one_by_one(self, open_channel, start):
        tx, rx = await open_channel(0)
        sends = [start(tx.send(n)) for n in range(20)]
        received = await asyncio.gather(*(rx.recv() for _ in range(20)))
        assert sorted(received) == list(range(20))
        await asyncio.gather(*sends)

    async def test_a_batch_of_one_meets_a_batch(self, open_channel, start, until):
        tx, rx = await open_channel(0)
        waiting = start(rx.recv_batch(5))
        await until.receivers_wait(rx, 1)
        await tx.send_batch(["a"])
        assert await waiting == ["a"]
