"""select() keeps the rules with every flavour; what is special about it is in ../test_select.py."""

from __future__ import annotations

import asyncio

import pytest

from klaw_core.runtime.channels import ChannelClosedError, blocking_select, select

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
