"""shutdown(): no more sends from anywhere; receivers drain, or not. And flush()."""

from __future__ import annotations

import pytest
from channel_tests import closed_kind

from klaw_core.runtime.channels import ChannelClosed, ChannelClosedError, Err

needs = pytest.mark.needs
capacities = pytest.mark.capacities


# --------------------------------------------------------------------------------------- shutdown


@needs("shutdown")
async def test_shutdown_refuses_sends_from_every_handle(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    other = tx.clone()
    await rx.shutdown(reason="enough")
    for sender in (tx, other, tx.clone()):
        assert sender.is_closed
        assert await sender.try_send(1) == Err(ChannelClosed("enough"))
        with pytest.raises(ChannelClosedError, match="enough") as caught:
            await sender.send(1)
        assert caught.value.kind == "shutdown"


@needs("shutdown")
@capacities(1, 3, 100)
async def test_receivers_drain_and_then_end_in_an_orderly_way(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    await tx.shutdown(reason="enough")
    assert [value async for value in rx] == list(range(count))
    assert rx.is_closed
    with pytest.raises(ChannelClosedError, match="enough") as caught:
        await rx.recv()
    assert caught.value.kind == "shutdown"


@needs("shutdown")
async def test_an_immediate_shutdown_drops_what_is_stored(open_channel):
    tx, rx = await open_channel(3)
    await tx.send_batch([1, 2, 3])
    await tx.shutdown(immediate=True)
    assert rx.is_closed
    assert await closed_kind(rx.recv()) == "shutdown"
    assert (await rx.stats()).queue_size == 0


@needs("shutdown", "permits", "watching")
async def test_shutdown_wakes_everybody(open_channel, start, until):
    tx, rx = await open_channel(1)
    watching = [start(tx.closed()), start(rx.closed())]
    await tx.send(0)
    waiting = [start(tx.send(1)), start(tx.send_batch([1])), start(tx.reserve())]
    await until.senders_wait(tx, 3)
    await rx.shutdown(True)
    for each in waiting:
        assert await closed_kind(each) == "shutdown"
    for each in watching:
        await each
    tx2, rx2 = await open_channel(1)
    receiving = [start(rx2.recv()), start(rx2.recv_batch(3))]
    await until.receivers_wait(rx2, 2, handles=1)
    await tx2.shutdown()
    for each in receiving:
        assert await closed_kind(each) == "shutdown"


@needs("shutdown", "permits")
async def test_permits_that_are_held_stay_good_unless_it_is_immediate(open_channel):
    tx, rx = await open_channel(2)
    permit, other = await tx.reserve(), await tx.reserve()
    await tx.shutdown()
    assert not rx.is_closed
    permit.send(1)
    other.release()
    assert [value async for value in rx] == [1]
    tx2, rx2 = await open_channel(2)
    permit = await tx2.reserve()
    await tx2.shutdown(immediate=True)
    permit.send(1)
    assert await closed_kind(rx2.recv()) == "shutdown"


@needs("shutdown")
async def test_the_first_reason_is_kept_and_a_shutdown_can_be_hastened(open_channel):
    tx, rx = await open_channel(2)
    await tx.send(1)
    await tx.shutdown(reason="first")
    await rx.shutdown(reason="second", immediate=True)
    await tx.shutdown()
    with pytest.raises(ChannelClosedError, match="first"):
        await rx.recv()


@needs("shutdown", "threads")
async def test_threads_shut_down_too(open_channel, in_thread):
    tx, rx = await open_channel(2)
    await in_thread(rx.blocking_shutdown, False, "enough").awaited()
    assert await tx.try_send(1) == Err(ChannelClosed("enough"))


@needs("shutdown", "close")
async def test_what_shutdown_refuses(open_channel):
    tx, _rx = await open_channel(2)
    other = tx.clone()
    await other.close()
    assert await closed_kind(other.shutdown()) == "handle_closed"
    await tx.send("still open")
    with pytest.raises(TypeError, match="reason"):
        tx.shutdown(reason=1)


# ------------------------------------------------------------------------------------------ flush


@needs("flush")
async def test_after_a_flush_all_that_was_sent_is_stored(open_channel):
    tx, rx = await open_channel(3)
    await tx.send(1)
    assert await tx.flush() is None
    assert (await rx.stats()).queue_size == 1


@needs("flush", "close")
async def test_a_closed_handle_has_nothing_to_flush(open_channel):
    tx, _rx = await open_channel(3)
    await tx.close()
    assert await closed_kind(tx.flush()) == "handle_closed"


@needs("flush", "threads")
async def test_threads_flush_too(open_channel, in_thread):
    tx, rx = await open_channel(3)

    def send_and_flush():
        tx.blocking_send(1)
        tx.blocking_flush()
        tx.blocking_flush(timeout=1)

    await in_thread(send_and_flush).awaited()
    assert (await rx.stats()).queue_size == 1


@needs("flush", "permits")
async def test_a_permit_sends_before_a_flush(open_channel):
    tx, rx = await open_channel(3)
    (await tx.reserve()).send(1)
    await tx.flush()
    assert await rx.recv() == 1
