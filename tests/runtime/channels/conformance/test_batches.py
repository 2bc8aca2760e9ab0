"""A batch goes in whole or not at all; a batch receive takes what is there."""

from __future__ import annotations

import asyncio

import pytest

from klaw_core.runtime.channels import (
    ChannelEmpty,
    ChannelFull,
    ChannelFullError,
    Err,
    Ok,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities
pytestmark = [needs("batches")]


@capacities(3, 100, None)
async def test_a_batch_goes_in_in_order(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    assert await tx.send_batch([1, 2]) is None
    assert await tx.try_send_batch([3]) == Ok(None)
    assert await rx.recv_batch(10) == [1, 2, 3]


@needs("waiting")
async def test_any_iterable_is_a_batch(open_channel):
    tx, rx = await open_channel(4)
    for values in (
        [1, 2],
        (1, 2),
        {1: "a", 2: "b"},
        range(1, 3),
        iter([1, 2]),
        (n for n in (1, 2)),
    ):
        await tx.send_batch(values)
        assert await rx.recv_batch(4) == [1, 2]


async def test_an_empty_batch_is_done_at_once(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    assert await tx.send_batch([]) is None
    assert await tx.try_send_batch(()) == Ok(None)
    await fill(tx)
    assert await tx.send_batch([]) is None
    assert (await rx.stats()).waiting_senders == 0


@needs("stats")
@capacities(0, 1, 3, 100)
async def test_a_batch_larger_than_the_channel_is_full_at_once(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    values = list(range(max(capacity, 1) + 1))
    with pytest.raises(ChannelFullError) as caught:
        await tx.send_batch(values)
    assert caught.value.capacity == capacity
    assert not isinstance(caught.value, TimeoutError)
    with pytest.raises(ChannelFullError):
        await tx.send_batch(values, timeout=1000)
    assert await tx.try_send_batch(values) == Err(ChannelFull(capacity))
    assert await rx.try_recv() == Err(ChannelEmpty())


@needs("stats", "arrival_order")
@capacities(3, 100)
async def test_a_batch_waits_until_all_of_it_has_room(
    open_channel, capacity, fill, start, until, soon
):
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    batch = start(tx.send_batch("abc"))
    await until.senders_wait(tx, 1)
    assert await tx.try_send_batch("xy") == Err(ChannelFull(capacity))
    for n in range(2):
        assert await rx.recv() == n
        await asyncio.sleep(0)
        await soon.stored(rx, filled - n - 1)
        assert not batch.done()
    assert await rx.recv() == 2
    await batch
    rest = [*range(3, filled), "a", "b", "c"]
    assert await rx.recv_batch(filled + 3) == rest


@capacities(3, 100)
async def test_trying_a_batch_is_all_or_none(open_channel, capacity, fill, soon):
    tx, rx = await open_channel(capacity)
    await fill(tx)
    assert await rx.recv() == 0
    assert await tx.try_send_batch("ab") == Err(ChannelFull(capacity))
    await soon.stored(rx, capacity - 1)
    assert await tx.try_send_batch("a") == Ok(None)
    await soon.stored(rx, capacity)


@capacities(3, 100, None)
async def test_a_batch_receive_takes_what_is_there(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    filled = await fill(tx)
    assert await rx.recv_batch(2) == [0, 1]
    assert await rx.try_recv_batch(1) == Ok([2])
    assert await rx.try_recv_batch(1000) == (
        Ok(list(range(3, filled))) if filled > 3 else Err(ChannelEmpty())
    )
    assert await rx.try_recv_batch(1) == Err(ChannelEmpty())


@needs("stats")
async def test_a_batch_receive_waits_for_the_first_only(open_channel, capacity, start, until):
    tx, rx = await open_channel(capacity)
    waiting = start(rx.recv_batch(10))
    await until.receivers_wait(rx, 1)
    await tx.send("a")
    assert await waiting == ["a"]


@needs("stats", "nowait", "at_once")
@capacities(3, 100, None)
async def test_a_woken_batch_receive_takes_what_has_come_meanwhile(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    waiting = start(rx.recv_batch(2))
    await until.receivers_wait(rx, 1)
    for value in "abc":
        tx.send_nowait(value)
    assert await waiting == ["a", "b"]
    assert await rx.recv() == "c"


@needs("stats")
@capacities(3, 100, None)
async def test_a_batch_receive_that_waits_takes_of_a_batch_what_it_may(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    waiting = start(rx.recv_batch(2))
    await until.receivers_wait(rx, 1)
    await tx.send_batch("abc")
    assert await waiting == ["a", "b"]
    assert await rx.recv() == "c"


@needs("stats")
@capacities(3, 100, None)
async def test_a_batch_receive_leaves_what_others_were_woken_for(
    open_channel, capacity, start, until
):
    tx, rx = await open_channel(capacity)
    waiting = start(rx.recv())
    await until.receivers_wait(rx, 1)
    await tx.send_batch("abc")
    taken = (await rx.try_recv_batch(10)).unwrap()
    assert len(taken) == 2
    assert sorted([*taken, await waiting]) == ["a", "b", "c"]


@needs("stats")
async def test_a_batch_receive_makes_room_for_those_who_wait(open_channel, start, until, fill):
    tx, rx = await open_channel(3)
    await fill(tx)
    waiting = [start(tx.send(value)) for value in "ab"]
    await until.senders_wait(tx, 2)
    assert await rx.recv_batch(2) == [0, 1]
    await asyncio.gather(*waiting)
    assert await rx.recv_batch(10) == [2, "a", "b"]


@pytest.mark.parametrize("max_items", [0, -1, -(2**80)])
async def test_a_limit_below_one_is_a_value_error_at_the_call(open_channel, max_items):
    _tx, rx = await open_channel(4)
    for receive in (rx.recv_batch, rx.try_recv_batch, rx.blocking_recv_batch):
        with pytest.raises(ValueError, match=f"^max_items must be at least 1, got {max_items}$"):
            receive(max_items)


@pytest.mark.parametrize("max_items", [None, 1.0, "1", True, []], ids=repr)
async def test_a_limit_that_is_no_integer_is_a_type_error_at_the_call(open_channel, max_items):
    _tx, rx = await open_channel(4)
    for receive in (rx.recv_batch, rx.try_recv_batch, rx.blocking_recv_batch):
        with pytest.raises(
            TypeError, match=f"^max_items must be an int, not {type(max_items).__name__}$"
        ):
            receive(max_items)


async def test_a_huge_limit_will_do(open_channel):
    tx, rx = await open_channel(4)
    await tx.send_batch("ab")
    assert await rx.recv_batch(2**100) == ["a", "b"]


@needs("blocking_batches")
@pytest.mark.parametrize("values", [None, 5, object()], ids=lambda values: type(values).__name__)
async def test_a_batch_that_is_no_iterable_is_a_type_error_at_the_call(open_channel, values):
    tx, _rx = await open_channel(4)
    for send in (tx.send_batch, tx.try_send_batch):
        with pytest.raises(TypeError, match="iterable"):
            send(values)


@needs("trying", "stats")
async def test_an_error_while_a_batch_is_collected_sends_nothing(open_channel, soon):
    def broken():
        yield 1
        raise ValueError("half way")

    tx, rx = await open_channel(4)
    for send in (tx.send_batch, tx.try_send_batch):
        with pytest.raises(ValueError, match="half way"):
            send(broken())
    assert await rx.try_recv() == Err(ChannelEmpty())
    await soon.stored(rx, 0)


@needs("blocking_batches")
async def test_batches_go_between_threads(open_channel, capacity, in_thread):
    tx, rx = await open_channel(capacity)
    size = min(capacity or 1, 3)

    def produce() -> None:
        with tx:
            for n in range(0, 30, size):
                tx.blocking_send_batch(range(n, min(n + size, 30)))

    def consume() -> list[int]:
        received: list[int] = []
        while len(received) < 30:
            received += rx.blocking_recv_batch(4)
        return received

    jobs = in_thread(produce), in_thread(consume)
    assert await jobs[1].awaited() == list(range(30))
    await jobs[0].awaited()
