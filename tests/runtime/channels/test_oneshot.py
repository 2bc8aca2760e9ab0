"""Oneshot channels: one value, sent once, received once."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref

import pytest
from channel_tests import Thing

from klaw_core.runtime.channels import (
    AlreadySent,
    AlreadySentError,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    Err,
    Ok,
    OneshotReceiver,
    OneshotSender,
    Receiver,
    RecvTimeoutError,
    Sender,
    blocking_oneshot,
    oneshot,
)


async def test_a_value_is_received_that_was_sent_before():
    tx, rx = await oneshot()
    thing = Thing()
    assert await tx.send(thing) is None
    assert await rx.recv() is thing


async def test_a_value_is_received_by_one_that_waits(until):
    tx, rx = await oneshot()
    waiting = asyncio.create_task(rx.recv())
    await until.receivers_wait(rx, 1)
    await tx.send(1)
    assert await waiting == 1


async def test_every_way_to_send_and_to_receive(in_thread):
    sends = {
        "send": lambda tx: tx.send(1, timeout=1.0),
        "try_send": lambda tx: tx.try_send(1),
        "send_nowait": lambda tx: tx.send_nowait(1),
        "blocking_send": lambda tx: in_thread(tx.blocking_send, 1, 1.0).result(),
    }
    for name, send in sends.items():
        tx, rx = await oneshot()
        sent = send(tx)
        if name in ("send", "try_send"):
            sent = await sent
        assert sent == (Ok(None) if name == "try_send" else None)
        assert await rx.recv(timeout=1.0) == 1
    tx, rx = await oneshot()
    await tx.send(1)
    assert await rx.try_recv() == Ok(1)
    tx, rx = await oneshot()
    await tx.send(1)
    assert rx.recv_nowait() == 1
    tx, rx = await oneshot()
    waiting = in_thread(rx.blocking_recv, 30)
    await tx.send(1)
    assert waiting.result() == 1


async def test_a_second_send_is_already_sent(in_thread):
    tx, rx = await oneshot()
    await tx.send(1)
    for receive in (False, True):
        if receive:
            assert await rx.recv() == 1
        assert await tx.try_send(2) == Err(AlreadySent())
        with pytest.raises(AlreadySentError, match="already sent"):
            await tx.send(2)
        with pytest.raises(AlreadySentError):
            tx.send_nowait(2)
        with pytest.raises(AlreadySentError):
            in_thread(tx.blocking_send, 2).result()
    await tx.close()
    await rx.close()
    assert await tx.try_send(2) == Err(AlreadySent())


async def test_a_second_receive_finds_it_already_consumed(in_thread):
    tx, rx = await oneshot()
    await tx.send(1)
    assert await rx.recv() == 1
    for receive in (rx.recv, lambda: rx.recv(timeout=0)):
        with pytest.raises(ChannelClosedError, match="^already consumed$") as caught:
            await receive()
        assert caught.value.kind == "ended"
    assert await rx.try_recv() == Err(ChannelClosed("already consumed"))
    with pytest.raises(ChannelClosedError, match="^already consumed$"):
        rx.recv_nowait()
    with pytest.raises(ChannelClosedError, match="^already consumed$"):
        in_thread(rx.blocking_recv).result()
    assert rx.is_closed


async def test_of_two_receives_that_wait_the_second_finds_it_already_consumed(until):
    tx, rx = await oneshot()
    first, second = (asyncio.create_task(rx.recv()) for _ in range(2))
    await until.receivers_wait(rx, 2)
    await tx.send(1)
    assert await first == 1
    with pytest.raises(ChannelClosedError, match="already consumed"):
        await second


async def test_nothing_is_there_before_it_is_sent(in_thread):
    tx, rx = await oneshot()
    assert await rx.try_recv() == Err(ChannelEmpty())
    with pytest.raises(ChannelEmptyError):
        rx.recv_nowait()
    for timeout in (0, 0.001):
        with pytest.raises(RecvTimeoutError):
            await rx.recv(timeout=timeout)
    with pytest.raises(RecvTimeoutError):
        in_thread(rx.blocking_recv, 0.001).result()
    await tx.send(1)
    assert await rx.recv() == 1


@pytest.mark.parametrize("end", ["close", "drop"])
async def test_a_sender_that_goes_unsent_ends_the_wait(end, until):
    tx, rx = await oneshot()
    waiting = asyncio.create_task(rx.recv())
    await until.receivers_wait(rx, 1)
    if end == "close":
        tx.close()
    else:
        del tx
        gc.collect()
    with pytest.raises(ChannelClosedError, match="^Channel closed$") as caught:
        await waiting
    assert caught.value.kind == "ended"
    assert await rx.try_recv() == Err(ChannelClosed())


async def test_a_sender_that_fails_says_why():
    tx, rx = await oneshot()
    with pytest.raises(ZeroDivisionError):
        async with tx:
            await tx.send(1 / 0)
    with pytest.raises(ChannelClosedError, match="ZeroDivisionError: division by zero") as caught:
        await rx.recv()
    assert caught.value.kind == "peer_died"


async def test_a_receiver_that_closes_drops_the_value_and_ends_sends():
    tx, rx = await oneshot()
    thing = Thing()
    gone = weakref.ref(thing)
    await tx.send(thing)
    del thing
    rx.close()
    assert gone() is None
    tx, rx = await oneshot()
    watching = asyncio.create_task(tx.closed())
    await asyncio.sleep(0)
    rx.close("not interested")
    await watching
    with pytest.raises(ChannelClosedError, match="^not interested$") as caught:
        await tx.send(1)
    assert caught.value.kind == "peer_gone"
    assert await tx.try_send(1) == Err(ChannelClosed("not interested"))
    assert tx.is_closed


async def test_operations_on_a_closed_handle_are_closed():
    tx, rx = await oneshot()
    tx.close()
    rx.close()
    for operation in (tx.send(1), rx.recv(), tx.closed(), rx.closed()):
        with pytest.raises(ChannelClosedError) as caught:
            await operation
        assert caught.value.kind == "handle_closed"


async def test_iteration_gives_the_value_and_ends(in_thread):
    tx, rx = await oneshot()
    await tx.send(1)
    assert [value async for value in rx] == [1]
    tx, rx = await oneshot()
    await tx.send(1)
    assert in_thread(list, rx).result() == [1]
    tx, rx = await oneshot()
    tx.close("broken")
    with pytest.raises(ChannelClosedError, match="^broken$"):
        [value async for value in rx]


async def test_a_cancelled_receive_takes_nothing(until):
    tx, rx = await oneshot()
    waiting = asyncio.create_task(rx.recv())
    await until.receivers_wait(rx, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await tx.send(1)
    assert await rx.recv() == 1


async def test_a_receive_that_is_cancelled_after_its_wake_up_hands_on(until):
    tx, rx = await oneshot()
    first, second = (asyncio.create_task(rx.recv()) for _ in range(2))
    await until.receivers_wait(rx, 2)
    tx.send_nowait(1)
    first.cancel()
    assert await second == 1


async def test_a_cancelled_send_has_sent_nothing():
    tx, rx = await oneshot()
    sending = tx.send(1)
    sending.close()
    assert await rx.try_recv() == Err(ChannelEmpty())
    assert await tx.try_send(2) == Ok(None)


def test_one_that_is_never_awaited_warns():
    tx, rx = blocking_oneshot()
    with pytest.warns(RuntimeWarning, match=r"OneshotSender\.send"):
        tx.send(1)
    assert rx.is_closed is False


def test_it_cannot_be_cloned_copied_or_pickled():
    for handle in blocking_oneshot():
        with pytest.raises(NotImplementedError, match="^Oneshot channels do not support cloning$"):
            handle.clone()
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(handle)
        with pytest.raises(TypeError):
            type(handle)()


def test_handles_are_senders_and_receivers():
    tx, rx = blocking_oneshot()
    assert isinstance(tx, OneshotSender)
    assert isinstance(tx, Sender)
    assert isinstance(rx, OneshotReceiver)
    assert isinstance(rx, Receiver)
    assert tx.same_channel(rx)
    assert not tx.same_channel(blocking_oneshot()[0])
    assert tx.capacity == rx.capacity == 1


def test_repr_tells_the_state(drive):
    tx, rx = blocking_oneshot()
    assert repr(tx) == "<OneshotSender unsent, 1 sender, 1 receiver>"
    tx.send_nowait(1)
    assert repr(rx) == "<OneshotReceiver sent, 1 receiver, 1 sender>"
    rx.recv_nowait()
    tx.close()
    assert repr(tx) == "<OneshotSender closed received, 0 senders, 1 receiver>"


def test_stats_follow_the_value(drive):
    tx, rx = blocking_oneshot()
    stats = drive(tx.stats())
    assert (stats.sender_count, stats.receiver_count, stats.capacity) == (1, 1, 1)
    tx.send_nowait(1)
    stats = drive(rx.stats())
    assert (stats.queue_size, stats.total_sent, stats.total_received) == (1, 1, 0)
    rx.recv_nowait()
    tx.close()
    stats = drive(rx.stats())
    assert (stats.queue_size, stats.total_received, stats.senders_closed) == (0, 1, True)


def test_a_value_that_holds_its_own_handles_is_collected(no_leak):
    tx, rx = blocking_oneshot()
    thing = Thing()
    thing.handles = (tx, rx)
    gone = weakref.ref(thing)
    tx.send_nowait(thing)
    del tx, rx, thing
    no_leak()
    assert gone() is None


def test_a_value_that_holds_its_own_send_is_collected(no_leak):
    tx, rx = blocking_oneshot()
    thing = Thing()
    thing.sending = tx.try_send(thing)
    gone = weakref.ref(thing)
    del tx, rx, thing
    with pytest.warns(RuntimeWarning, match="never awaited"):
        no_leak()
    assert gone() is None


def test_handles_that_have_done_their_part_need_not_be_closed(interpreter):
    said = interpreter(
        """
from klaw_core.runtime.channels import blocking_oneshot
tx, rx = blocking_oneshot()
tx.send_nowait(1)
print(rx.recv_nowait())
del tx, rx
tx, rx = blocking_oneshot()
del tx, rx
""",
        "-X",
        "dev",
        stderr="(?s).*unclosed <OneshotSender unsent.*unclosed <OneshotReceiver unsent.*",
    )
    assert said == "1"


def test_a_thread_that_waits_is_woken_by_the_end(in_thread, until):
    tx, rx = blocking_oneshot()
    waiting = in_thread(rx.blocking_recv)
    until.true_in_thread(lambda: until.stats(rx).waiting_receivers == 1)
    tx.close()
    with pytest.raises(ChannelClosedError):
        waiting.result()


async def test_blocking_calls_refuse_a_thread_that_runs_an_event_loop():
    tx, rx = await oneshot()
    with pytest.raises(RuntimeError, match=r"await tx\.send\(value\)"):
        tx.blocking_send(1)
    with pytest.raises(RuntimeError, match=r"await rx\.recv\(\)"):
        rx.blocking_recv()
