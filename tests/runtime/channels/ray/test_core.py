"""Ray channels, seen from one process: handles, messages, waiting, closing, cancelling, forking."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from dataclasses import dataclass

import pytest

from klaw_core.result import Err, Ok
from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelEmpty,
    ChannelFull,
    ChannelFullError,
    ChannelReceiver,
    ChannelSender,
    RecvTimeoutError,
    SendTimeoutError,
    channel,
    select,
)

pytestmark = pytest.mark.ray


@dataclass
class Point:
    x: int
    y: int


class Odd:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ValueError("it can't be unpickled")


# ----------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize("where", ["here", "there"])
async def test_messages_come_out_as_they_went_in(ray_channel, where):
    tx, rx = await ray_channel(where=where)
    values = [
        None, True, 0, -1, 2**63, 2**70, 1.5, float("inf"), "", "ü", "\ud800", b"", b"\0" * 100,
        [], [1, [2, [3]]], {}, {"a": {1: None}}, (1, 2), {1, 2}, Point(1, 2), 1j, range(3), [Point(3, 4)],
    ]  # fmt: skip
    for value in values:
        await tx.send(value)
        received = await rx.recv()
        assert received == value
        assert type(received) is type(value)


async def test_what_holds_itself_goes_through(ray_channel):
    tx, rx = await ray_channel()
    circle: list[object] = [1]
    circle.append(circle)
    await tx.send(circle)
    received = await rx.recv()
    assert received[1] is received


async def test_functions_go_through(ray_channel):
    tx, rx = await ray_channel()
    factor = 3
    await tx.send(lambda x: factor * x)
    assert (await rx.recv())(2) == 6


async def test_an_array_is_read_where_it_arrived(ray_channel):
    import numpy as np  # beside Ray only

    tx, rx = await ray_channel()
    sent = np.arange(100_000, dtype=np.float64).reshape(100, 1000)
    await tx.send({"array": sent, "transposed": sent.T})
    received = await rx.recv()
    assert np.array_equal(received["array"], sent)
    assert np.array_equal(received["transposed"], sent.T)
    assert not received["array"].flags.owndata
    assert not received["array"].flags.writeable


@pytest.mark.parametrize("where", ["here", "there"])
async def test_a_large_message_goes_through(ray_channel, where):
    tx, rx = await ray_channel(where=where)
    large = os.urandom(20_000_000)
    await tx.send(large)
    assert await rx.recv() == large


async def test_a_message_that_is_too_large_is_told_at_once(ray_channel):
    tx, rx = await ray_channel()
    with pytest.raises(ChannelClosedError, match="larger than 67108864 bytes.*in parts"):
        await tx.send(bytes(65 * 1024 * 1024))
    await tx.send("small")
    assert await rx.recv() == "small"


async def test_a_message_that_cannot_be_pickled_is_told_at_the_call(ray_channel):
    tx, _rx = await ray_channel()
    with pytest.raises(TypeError):
        tx.send(threading.Lock())


async def test_a_message_that_cannot_be_decoded_raises_and_stops_nothing(ray_channel, eventually):
    tx, rx = await ray_channel()
    for value in (1, Odd(), 2):
        await tx.send(value)
    assert await rx.recv() == 1
    with pytest.raises(ValueError, match="it can't be unpickled"):
        await rx.recv()
    assert await rx.recv() == 2
    await eventually.stats(tx, total_received=3, queue_size=0)


async def test_a_message_that_cannot_be_decoded_spares_its_batch(ray_channel):
    tx, rx = await ray_channel()
    await tx.send_batch([1, Odd(), 2])
    assert await rx.recv_batch(3) == [1, 2]
    with pytest.raises(ValueError, match="it can't be unpickled"):
        await rx.recv()
    await tx.send(3)
    assert await rx.recv() == 3


# ------------------------------------------------------------------------------------------ handles


async def test_handles_are_channel_handles(ray_channel):
    tx, rx = await ray_channel(5)
    assert isinstance(tx, ChannelSender)
    assert isinstance(rx, ChannelReceiver)
    assert (tx.capacity, rx.capacity) == (5, 5)
    assert tx.same_channel(rx)
    assert tx.clone().same_channel(rx)
    assert not tx.same_channel((await ray_channel())[0])
    assert len(bytes.fromhex(rx.reader_id)) == 16
    assert rx.clone().reader_id != rx.reader_id
    assert bool(tx)
    assert "capacity 5" in repr(tx)
    assert repr(rx).startswith("<RayReceiver ")


async def test_what_the_factory_returns_counts_and_so_does_a_clone(ray_channel, eventually):
    tx, rx = await ray_channel()
    await eventually.stats(tx, sender_count=1, receiver_count=1)
    clone = tx.clone()
    await tx.close()
    await eventually.stats(rx, sender_count=1)
    await clone.send("the clone counted before its original closed")
    assert await rx.recv() == "the clone counted before its original closed"


async def test_a_handle_built_by_hand_counts_from_its_first_use(ray, ray_channel, eventually):
    from klaw_core.runtime.channels.ray import RayChannelActor, RayReceiver, RaySender

    actor = RayChannelActor.remote(4)
    tx, rx = RaySender(actor, 4), RayReceiver(actor, 4)
    clone = tx.clone()
    assert (await ray_stats(actor)).sender_count == 0
    await tx.send(1)
    assert (await ray_stats(actor)).sender_count == 1
    assert await rx.recv() == 1
    assert (await ray_stats(actor)).receiver_count == 1
    await clone.send(2)
    assert (await ray_stats(actor)).sender_count == 2
    for handle in (tx, rx, clone):
        await handle.close()
    await eventually.true(lambda: is_closed(actor))


async def ray_stats(actor):
    return await actor.get_stats.remote()


async def is_closed(actor):
    return await actor.is_closed.remote()


async def test_a_dropped_handle_closes(ray_channel, eventually):
    tx, rx = await ray_channel()
    clone = tx.clone()
    await eventually.stats(rx, sender_count=2)
    del clone
    await eventually.stats(rx, sender_count=1)


async def test_copies_are_refused(ray_channel):
    tx, rx = await ray_channel()
    for handle in (tx, rx):
        for function in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"use clone\(\)"):
                function(handle)


async def test_a_closed_handle_is_not_pickled(ray_channel):
    tx, _rx = await ray_channel()
    await tx.close()
    with pytest.raises(ChannelClosedError):
        pickle.dumps(tx)


# ------------------------------------------------------------------------------------------ waiting


async def test_an_operation_with_a_limit_ends_and_has_not_happened(ray_channel):
    tx, rx = await ray_channel(1)
    with pytest.raises(RecvTimeoutError):
        await rx.recv(timeout=0.1)
    await tx.send("fills it")
    with pytest.raises(SendTimeoutError):
        await tx.send("no room", timeout=0.1)
    assert await tx.try_send("no room") == Err(ChannelFull(1))
    assert await rx.recv() == "fills it"
    assert await rx.try_recv() == Err(ChannelEmpty())


async def test_batches_go_whole_or_not_at_all(ray_channel):
    tx, rx = await ray_channel(3)
    await tx.send(0)
    assert await tx.try_send_batch([1, 2, 3]) == Err(ChannelFull(3))
    with pytest.raises(ChannelFullError):
        await tx.send_batch([1, 2, 3, 4])
    waiting = asyncio.ensure_future(tx.send_batch([1, 2, 3]))
    assert await rx.recv() == 0
    await waiting
    assert await rx.recv_batch(10) == [1, 2, 3]


async def test_1200_waiting_receivers_do_not_keep_a_send_out(ray_channel, eventually):
    tx, rx = await ray_channel(8)
    waiting = [asyncio.ensure_future(rx.recv()) for _ in range(1200)]
    await eventually.stats(tx, waiting_receivers=1)  # handles, on Ray
    for n in range(1200):
        await tx.send(n)
    assert await asyncio.gather(*waiting) == list(range(1200))


async def test_a_cancelled_receive_swallows_nothing(ray_channel):
    tx, rx = await ray_channel(8)
    got = []
    for n in range(50):
        victim = asyncio.ensure_future(rx.recv())
        sending = asyncio.ensure_future(tx.send(n))
        await asyncio.sleep(n / 50_000)  # more and less than a round trip
        if victim.cancel():
            await asyncio.wait([victim])
        got.append(await rx.recv() if victim.cancelled() else victim.result())
        await sending
    assert got == list(range(50))
    assert await rx.try_recv() == Err(ChannelEmpty())


async def test_a_cancelled_send_has_happened_or_not(ray_channel):
    tx, rx = await ray_channel(1)
    await tx.send("first")
    victim = asyncio.ensure_future(tx.send("cancelled"))
    later = asyncio.ensure_future(tx.send("later"))
    await asyncio.sleep(0.05)
    victim.cancel()
    await asyncio.wait([victim])
    assert await rx.recv() == "first"
    assert await rx.recv() == "later"
    await later


async def test_a_waiting_receiver_wakes_at_the_last_close(ray_channel, eventually):
    tx, rx = await ray_channel()
    waiting = asyncio.ensure_future(rx.recv())
    await eventually.stats(tx, waiting_receivers=1)
    await tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert caught.value.kind == "ended"


async def test_a_waiting_sender_wakes_when_nobody_receives_any_more(ray_channel, eventually):
    tx, rx = await ray_channel(1)
    await tx.send(1)
    waiting = asyncio.ensure_future(tx.send(2))
    await eventually.stats(tx, waiting_senders=1)
    await rx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert caught.value.kind == "peer_gone"
    await tx.closed()


async def test_an_end_with_a_reason_is_told_after_the_last_message(ray_channel):
    tx, rx = await ray_channel()
    await tx.send("last")
    await tx.close("the disk is full")
    got = []
    with pytest.raises(ChannelClosedError, match="the disk is full"):
        async for value in rx:
            got += [value]
    assert got == ["last"]


async def test_threads_block_and_loops_await_on_one_channel(ray_channel):
    tx, rx = await ray_channel(4)

    def produce():
        for n in range(200):
            tx.blocking_send(n)
        tx.blocking_close()

    producing = asyncio.create_task(asyncio.to_thread(produce))
    assert [n async for n in rx] == list(range(200))
    await producing


async def test_blocking_calls_refuse_an_event_loop(ray_channel):
    tx, rx = await ray_channel()
    with pytest.raises(RuntimeError, match="this thread runs an event loop"):
        tx.blocking_send(1)
    with pytest.raises(RuntimeError, match="this thread runs an event loop"):
        rx.blocking_recv()


# ------------------------------------------------------------------------------------------- select


async def test_select_over_local_and_ray_receivers(ray_channel):
    near_tx, near_rx = await channel(4)
    here_tx, here_rx = await ray_channel(4, where="here")
    there_tx, there_rx = await ray_channel(4, where="there")
    receivers = (near_rx, here_rx, there_rx)
    for n, tx in enumerate((near_tx, here_tx, there_tx) * 5):
        waiting = asyncio.ensure_future(select(*receivers))
        await asyncio.sleep(0.01 * (n % 2))
        await tx.send(n)
        assert await waiting == (n % 3, n)
    with pytest.raises(TimeoutError):
        await select(*receivers, timeout=0.05)
    with pytest.raises(TimeoutError):
        await select(here_rx, near_rx, timeout=0)
    await there_tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await select(*receivers)
    assert caught.value.index == 2


async def test_a_select_that_tries_finds_what_is_there(ray_channel):
    tx, rx = await ray_channel()
    await tx.send("there")
    _near_tx, near_rx = await channel(1)
    assert await select(near_rx, rx, timeout=0) == (1, "there")


async def test_select_takes_nothing_from_the_losers(ray_channel):
    a_tx, a_rx = await ray_channel(100)
    b_tx, b_rx = await ray_channel(100)
    for n in range(50):
        await a_tx.send(n)
        await b_tx.send(n)
    got: tuple[list[int], list[int]] = ([], [])
    for _ in range(100):
        index, value = await select(a_rx, b_rx)
        got[index].append(value)
    assert got == (list(range(50)), list(range(50)))
    assert await a_rx.try_recv() == await b_rx.try_recv() == Err(ChannelEmpty())


async def test_a_select_in_a_thread(ray_channel):
    from klaw_core.runtime.channels import blocking_select

    tx, rx = await ray_channel()
    _near_tx, near_rx = await channel(1)
    waiting = asyncio.create_task(asyncio.to_thread(blocking_select, near_rx, rx))
    await tx.send(1)
    assert await waiting == (1, 1)


# --------------------------------------------------------------------------------------------- fork


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, beside threads
async def test_a_forked_childs_handles_are_new_clones(ray_channel, eventually):
    tx, rx = await ray_channel(8)
    await tx.send("from the parent")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            tx.blocking_send("from the child", timeout=20)
            status = 0
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert status == 0
    assert await rx.recv() == "from the parent"
    assert await rx.recv() == "from the child"
    await eventually.stats(tx, sender_count=1)
    assert await tx.try_send("the parent goes on") == Ok(None)
