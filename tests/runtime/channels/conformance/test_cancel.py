"""Rule 5: cancelling loses nothing. anyio's checklist: before, during and after the wake-up, stored and not."""

from __future__ import annotations

import asyncio
import weakref

import pytest
from channel_tests import Thing

from klaw_core.runtime.channels import ChannelClosedError, ChannelEmpty, Err, Ok, select

needs = pytest.mark.needs
capacities = pytest.mark.capacities

RECEIVES = {
    "recv": lambda rx: rx.recv(),
    "recv_batch": lambda rx: rx.recv_batch(5),
    "timed": lambda rx: rx.recv(timeout=1000),
    "anext": lambda rx: rx.__anext__(),
}
SENDS = {
    "send": lambda tx, value: tx.send(value),
    "send_batch": lambda tx, value: tx.send_batch([value]),
    "timed": lambda tx, value: tx.send(value, timeout=1000),
}
each_receive = pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)
each_send = pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)


async def cancelled(task) -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


# ----------------------------------------------------------------------------------------- receive


@needs("waiting", "timeouts", "batches", "iteration", "stats", "trying")
@each_receive
class TestAReceive:
    async def test_cancelled_before_it_has_begun_takes_nothing(
        self, open_channel, capacity, receive, start
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        task.cancel()
        await cancelled(task)
        waiting = start(tx.send(1))
        assert await rx.recv() == 1
        await waiting

    async def test_cancelled_while_it_waits_takes_nothing(
        self, open_channel, capacity, receive, start, until, soon
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        task.cancel()
        await cancelled(task)
        await soon.stats(rx, waiting_receivers=0)
        waiting = start(tx.send(1))
        assert await rx.recv() == 1
        await waiting

    async def test_cancelled_after_its_wake_up_gives_its_message_to_the_next(
        self, open_channel, capacity, receive, start, until, wake
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        next_one = start(rx.recv())
        await until.receivers_wait(rx, 2, handles=1)
        wake(tx, "m")
        task.cancel()
        await cancelled(task)
        assert await next_one == "m"

    async def test_cancelled_after_its_wake_up_leaves_its_message_when_nobody_waits(
        self, open_channel, capacity, receive, start, until, wake
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        wake(tx, "m")
        task.cancel()
        await cancelled(task)
        assert await rx.try_recv() == Ok("m")
        assert await rx.try_recv() == Err(ChannelEmpty())

    async def test_cancelled_after_its_wake_up_keeps_the_order(
        self, open_channel, capacity, receive, start, until, wake
    ):
        tx, rx = await open_channel(3 if capacity is not None else None)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        wake(tx, 0, 1, 2)
        task.cancel()
        await cancelled(task)
        assert [await rx.recv() for _ in range(3)] == [0, 1, 2]

    async def test_cancelled_after_the_end_woke_it_is_cancelled(
        self, open_channel, capacity, receive, start, until
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        tx.close()
        task.cancel()
        await cancelled(task)
        with pytest.raises(ChannelClosedError):
            await rx.recv()

    async def test_cancelled_after_its_wake_up_with_the_end_behind_it_hands_on_both(
        self, open_channel, capacity, receive, start, until, wake
    ):
        tx, rx = await open_channel(capacity)
        task = start(receive(rx))
        await until.receivers_wait(rx, 1)
        next_one = start(rx.recv())
        last_one = start(rx.recv())
        await until.receivers_wait(rx, 3, handles=1)
        wake(tx, "m")
        tx.close()
        task.cancel()
        await cancelled(task)
        assert await next_one == "m"
        with pytest.raises(ChannelClosedError):
            await last_one

    async def test_that_is_dropped_while_it_waits_takes_nothing(
        self, open_channel, capacity, receive, until, wake
    ):
        """As when its task is destroyed: the message goes to the next."""
        tx, rx = await open_channel(capacity)
        operation = receive(rx)
        operation.send(None)
        await until.receivers_wait(rx, 1)
        wake(tx, "m")
        operation.close()
        assert await rx.try_recv() == Ok("m")


# -------------------------------------------------------------------------------------------- send


@needs("waiting", "timeouts", "batches", "stats", "trying")
@capacities(0, 1, 3, 100)
@each_send
class TestASend:
    async def test_cancelled_before_it_has_begun_sends_nothing(
        self, open_channel, capacity, send, start
    ):
        tx, rx = await open_channel(capacity)
        task = start(send(tx, "m"))
        task.cancel()
        await cancelled(task)
        assert await rx.try_recv() == Err(ChannelEmpty())

    async def test_cancelled_while_it_waits_sends_nothing(
        self, open_channel, capacity, send, start, until, fill, soon
    ):
        tx, rx = await open_channel(capacity)
        filled = await fill(tx)
        task = start(send(tx, "m"))
        await until.senders_wait(tx, 1)
        task.cancel()
        await cancelled(task)
        await soon.stats(tx, waiting_senders=0)
        assert [(await rx.try_recv()).unwrap() for _ in range(filled)] == list(range(filled))
        assert await rx.try_recv() == Err(ChannelEmpty())

    async def test_cancelled_while_it_waits_lets_the_next_sender_through(
        self, open_channel, capacity, send, start, until, fill
    ):
        tx, rx = await open_channel(capacity)
        filled = await fill(tx)
        task = start(send(tx, "cancelled"))
        await until.senders_wait(tx, 1)
        next_one = start(tx.send("next"))
        await until.senders_wait(tx, 2)
        task.cancel()
        await cancelled(task)
        assert [await rx.recv() for _ in range(filled + 1)] == [*range(filled), "next"]
        await next_one

    @needs("nowait", "at_once")
    async def test_cancelled_after_its_wake_up_has_sent_its_message_once(
        self, open_channel, capacity, send, start, until, fill
    ):
        tx, rx = await open_channel(capacity)
        filled = await fill(tx)
        task = start(send(tx, "m"))
        await until.senders_wait(tx, 1)
        first = rx.recv_nowait()  # wakes the sender, which has not run yet
        task.cancel()
        await cancelled(task)
        rest = [(await rx.try_recv()).unwrap() for _ in range(filled)]
        assert [first, *rest] == [*range(filled), "m"]
        assert await rx.try_recv() == Err(ChannelEmpty())

    @needs("blocking", "threads")
    async def test_cancelled_as_there_is_room_has_sent_its_message_once_or_left_it_alone(
        self, open_channel, capacity, send, start, until, fill, in_thread
    ):
        tx, rx = await open_channel(capacity)
        filled = await fill(tx)
        task = start(send(tx, "m"))
        await until.senders_wait(tx, 1)
        received = [in_thread(rx.blocking_recv).result()]  # meanwhile the event loop stands still
        task.cancel()
        await cancelled(task)
        while (result := await rx.try_recv()).is_ok():
            received.append(result.unwrap())
        assert result == Err(ChannelEmpty())
        assert received in ([*range(filled)], [*range(filled), "m"])

    @needs("by_reference")
    async def test_cancelled_drops_its_message(
        self, open_channel, capacity, send, start, until, fill
    ):
        tx, _rx = await open_channel(capacity)
        await fill(tx)
        thing = Thing()
        gone = weakref.ref(thing)
        task = start(send(tx, thing))
        del thing
        await until.senders_wait(tx, 1)
        task.cancel()
        await cancelled(task)
        assert gone() is None


@needs("arrival_order", "batches", "stats")
@capacities(3)
async def test_a_large_batch_that_is_cancelled_makes_way_for_a_small_send(
    open_channel, start, until, fill
):
    tx, rx = await open_channel(3)
    await fill(tx)
    assert await rx.recv() == 0
    batch = start(tx.send_batch("abc"))
    await until.senders_wait(tx, 1)
    single = start(tx.send("d"))
    await until.senders_wait(tx, 2)
    batch.cancel()
    await single
    await cancelled(batch)
    assert [await rx.recv() for _ in range(3)] == [1, 2, "d"]


@needs("batches", "stats")
@capacities(3, 100, None)
async def test_a_batch_receive_that_is_cancelled_after_its_wake_up_leaves_all(
    open_channel, capacity, start, until, wake
):
    tx, rx = await open_channel(capacity)
    task = start(rx.recv_batch(3))
    await until.receivers_wait(rx, 1)
    others = [start(rx.recv()) for _ in range(2)]
    await until.receivers_wait(rx, 3, handles=1)
    wake(tx, "a", "b", "c", as_batch=True)
    task.cancel()
    await cancelled(task)
    assert sorted(await asyncio.gather(*others)) == ["a", "b"]
    assert await rx.recv() == "c"


# ------------------------------------------------------------------------------------------ select


@needs("select", "stats", "trying")
class TestASelect:
    async def test_cancelled_while_it_waits_takes_nothing(
        self, open_channel, capacity, start, until, soon
    ):
        tx, rx = await open_channel(capacity)
        tx2, rx2 = await open_channel(capacity)
        task = start(select(rx, rx2))
        await until.receivers_wait(rx2, 1)
        task.cancel()
        await cancelled(task)
        for sender, receiver in ((tx, rx), (tx2, rx2)):
            await soon.stats(receiver, waiting_receivers=0)
            waiting = start(sender.send(1))
            assert await receiver.recv() == 1
            await waiting

    async def test_cancelled_after_its_wake_up_gives_its_message_to_the_next(
        self, open_channel, capacity, start, until, soon, wake
    ):
        _tx, rx = await open_channel(capacity)
        tx2, rx2 = await open_channel(capacity)
        task = start(select(rx, rx2))
        await until.receivers_wait(rx2, 1)
        next_one = start(rx2.recv())
        await until.receivers_wait(rx2, 2, handles=1)
        wake(tx2, "m")
        task.cancel()
        await cancelled(task)
        assert await next_one == "m"
        await soon.stats(rx, waiting_receivers=0)


# -------------------------------------------------------------------------------------- in numbers


@needs("waiting", "stats")
async def test_cancelling_at_every_turn_of_the_loop_loses_nothing(open_channel, capacity, start):
    """One receiver is cancelled after 0, 1, 2... turns of the loop, while messages come in."""
    tx, rx = await open_channel(capacity)
    for turns in range(8):
        victim = start(rx.recv())
        sending = start(tx.send("m"))
        for _ in range(turns):
            await asyncio.sleep(0)
        victim.cancel()
        try:
            assert await victim == "m"
        except asyncio.CancelledError:
            assert await rx.recv() == "m"
        await sending
        assert await rx.try_recv() == Err(ChannelEmpty())
