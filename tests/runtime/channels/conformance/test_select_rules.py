"""select() keeps the rules with every flavour; what is special about it is in ../test_select.py."""

from __future__ import annotations

import asyncio

import pytest

from klaw_core.runtime.channels import (
    ChannelClosedError,
    blocking_select,
    channel,
    select,
    select_all,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities
pytestmark = [needs("select")]


@needs("stats")
async def test_it_receives_from_the_one_that_is_ready(open_channel, capacity, start, until, soon):
    channels = [await open_channel(capacity) for _ in range(3)]
    receivers = [rx for _tx, rx in channels]
    for index, (tx, _rx) in enumerate(channels):
        waiting = start(select(*receivers))
        await until.receivers_wait(receivers[-1], 1)
        await tx.send(index)
        assert await waiting == (index, index)
        for rx in receivers:
            await soon.stats(rx, waiting_receivers=0)


@needs("stats")
async def test_a_sender_that_waits_is_ready(open_channel, start, until):
    _tx, rx = await open_channel(0)
    tx2, rx2 = await open_channel(0)
    waiting = start(tx2.send("m"))
    await until.senders_wait(tx2, 1)
    assert await select(rx, rx2) == (1, "m")
    await waiting


async def test_a_closed_receiver_is_a_ready_one(open_channel, start, until):
    _tx, rx = await open_channel(1)
    tx2, rx2 = await open_channel(1)
    waiting = start(select(rx, rx2))
    await until.receivers_wait(rx2, 1)
    tx2.close()
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert (caught.value.index, caught.value.kind) == (1, "ended")


async def test_a_value_that_is_there_wins_over_an_end(open_channel, soon):
    """Also if only a broker knows of the value, and the end is known here."""
    tx, rx = await open_channel(1)
    tx2, rx2 = await open_channel(1)
    await tx.close()
    await soon.ended(rx)
    for n in range(10):
        await tx2.send(n)
        assert await select(rx, rx2, rx) == (1, n)
    with pytest.raises(ChannelClosedError) as caught:
        await select(rx, rx2)
    assert (caught.value.index, caught.value.kind) == (0, "ended")


@needs("blocking", "threads")
async def test_a_value_that_is_there_wins_over_an_end_in_a_thread_too(
    open_channel, soon, in_thread
):
    tx, rx = await open_channel(1)
    tx2, rx2 = await open_channel(1)
    await tx.close()
    await soon.ended(rx)
    for n in range(10):
        await tx2.send(n)
        assert await in_thread(blocking_select, rx, rx2).awaited() == (1, n)
    with pytest.raises(ChannelClosedError) as caught:
        await in_thread(blocking_select, rx, rx2).awaited()
    assert caught.value.index == 0


@needs("broker")
async def test_a_value_wins_over_an_end_among_local_and_remote_receivers(open_channel, soon):
    tx, rx = await open_channel(1)
    local_tx, local_rx = await channel(1)
    ended_tx, ended = await channel(1)
    await ended_tx.close()
    for n in range(10):
        await tx.send(n)
        assert await select(ended, rx, local_rx) == (1, n)
    await tx.close()
    await soon.ended(rx)
    for n in range(10):
        await local_tx.send(n)
        assert await select(rx, local_rx, ended) == (1, n)
    with pytest.raises(ChannelClosedError) as caught:
        await select(rx, local_rx, ended)
    assert caught.value.index in (0, 2)
    for handle in (local_tx, local_rx, ended):
        await handle.close()


async def test_biased_the_order_decides_for_ends_too(open_channel, soon):
    tx, rx = await open_channel(1)
    tx2, rx2 = await open_channel(1)
    await tx.close()
    await soon.ended(rx)
    await tx2.send("m")
    with pytest.raises(ChannelClosedError) as caught:
        await select(rx, rx2, biased=True)
    assert caught.value.index == 0
    assert await select(rx2, rx, biased=True) == (0, "m")


async def test_one_that_ends_while_it_is_waited_for_loses_to_a_value(
    open_channel, wake, start, until
):
    tx, rx = await open_channel(1)
    tx2, rx2 = await open_channel(1)
    waiting = start(select(rx, rx2))
    await until.receivers_wait(rx2, 1)
    tx.close()  # it wakes the select, or soon will
    wake(tx2, "m")
    assert await waiting == (1, "m")
    with pytest.raises(ChannelClosedError) as caught:
        await select(rx, rx2)
    assert (caught.value.index, caught.value.kind) == (0, "ended")


async def test_all_that_is_there_comes_before_an_end_that_is_not_orderly(open_channel):
    channels = [await open_channel(1) for _ in range(3)]
    for n, (tx, _rx) in enumerate(channels):
        await tx.send(n)
        await tx.close("broken" if n == 1 else None)
    receiving = select_all(*(rx for _tx, rx in channels))
    received = [await anext(receiving) for _ in channels]
    assert sorted(received) == [(n, n) for n in range(3)]
    with pytest.raises(ChannelClosedError, match="broken") as caught:
        await anext(receiving)
    assert caught.value.index == 1
    assert [pair async for pair in receiving] == []


@needs("timeouts")
async def test_without_time_it_tries_all_of_them(open_channel, start, until):
    """Also where each has to be asked, and the empty ones answer first."""
    channels = [await open_channel(0), await open_channel(1), await open_channel(1)]
    receivers = [rx for _tx, rx in channels]
    for biased in (True, False):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await select(*receivers, timeout=0, biased=biased)
            await channels[2][0].send("m")
            assert await select(*receivers, timeout=0, biased=biased) == (2, "m")
        waiting = start(channels[0][0].send("w"))
        await until.senders_wait(channels[0][0], 1)
        assert await select(*receivers, timeout=0, biased=biased) == (0, "w")
        await waiting


@needs("blocking", "threads")
async def test_a_thread_selects(open_channel, capacity, in_thread, until):
    _tx, rx = await open_channel(capacity)
    tx2, rx2 = await open_channel(capacity)
    job = in_thread(blocking_select, rx, rx2)
    await until.receivers_wait(rx2, 1)
    await tx2.send("m")
    assert await job.awaited() == (1, "m")


@needs("clone", "stats")
async def test_many_selects_over_the_same_channels_lose_and_double_nothing(open_channel, capacity):
    channels = [await open_channel(capacity) for _ in range(3)]
    received = []

    async def consume() -> None:
        for _ in range(60):
            received.append(await select(*(rx for _tx, rx in channels)))  # noqa: PERF401

    async def produce(index) -> None:
        for n in range(80):
            await channels[index][0].send(n)

    await asyncio.gather(*(consume() for _ in range(4)), *(produce(index) for index in range(3)))
    assert sorted(received) == sorted((index, n) for index in range(3) for n in range(80))
