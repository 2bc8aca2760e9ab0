"""Broadcasts between processes and nodes. What all flavours do, the conformance suite shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelFull,
    ChannelFullError,
    Err,
    Lagged,
    LaggedError,
    Ok,
    RecvTimeoutError,
    SendTimeoutError,
    blocking_broadcast,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_get_receiver,
    blocking_get_sender,
    broadcast,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    select,
    select_all,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

LONG_S = 60.0


@pytest.fixture
async def make(ray):
    """Makes broadcasts; closes what is left of each, and of what was made from it."""
    made = []

    async def of(capacity=16, **settings):
        pair = await broadcast(capacity, backend="ray", **settings)
        made.extend(pair)
        return pair

    yield of
    for handle in made:
        with contextlib.suppress(ChannelClosedError):  # what it had sent is lost
            await handle.close()


@pytest.fixture
def worker(ray, placed):  # noqa: C901  an actor's class
    """An actor that keeps a receiver, on either node."""

    @ray.remote(num_cpus=0)
    class Worker:
        async def keep(self, rx):
            self.rx = rx
            # Until the broker knows whose it is, it counts as one that is on its way.
            await asyncio.to_thread(rx._wait_until_opened, LONG_S)

        async def find(self, name, namespace):
            self.rx = await get_receiver(name, namespace=namespace)

        async def receive(self, count):
            return [await self.rx.recv() for _ in range(count)]

        async def receive_all(self):
            return [value async for value in self.rx]

        async def events(self):
            """What comes, until the end: values, and lags as negative numbers."""
            events = []
            while True:
                try:
                    events.append(await self.rx.recv())
                except LaggedError as lag:
                    events.append(-lag.skipped)
                except ChannelClosedError:
                    return events

        async def close(self):
            await self.rx.close()

        async def pid(self):
            return os.getpid()

    made = []

    def start(where="here"):
        made.append(Worker.options(**placed(where)).remote())
        return made[-1]

    yield start
    for actor in made:
        ray.kill(actor)


async def take_all(rx):
    taken = []
    while isinstance(result := await rx.try_recv(), Ok):
        taken.append(result.value)
    return taken


# ------------------------------------------------------------------------------------- messages


async def test_receivers_on_all_nodes_get_every_message_in_order(make, worker):
    tx, rx = await make()
    workers = [worker("here"), worker("there"), worker("there")]
    for each in workers:
        await each.keep.remote(tx.subscribe())
    rx.close()
    receiving = [each.receive_all.remote() for each in workers]
    counts = set()
    for number in range(50):
        while isinstance(sent := await tx.try_send(number), Err):
            await asyncio.sleep(0.001)
        counts.add(sent.value)
        await asyncio.sleep(0.002)
    assert counts == {3}
    await tx.close()
    # A lag is skipped by an iteration: who was slow for a moment may lack some.
    for received in await asyncio.gather(*receiving):
        assert received == sorted(set(received))
        assert received[-1] == 49


async def test_with_overflow_wait_nobody_misses_anything(make, worker):
    tx, rx = await make(4, overflow="wait")
    workers = [worker("here"), worker("there")]
    for each in workers:
        await each.keep.remote(rx.resubscribe())
    rx.close()
    receiving = [each.receive_all.remote() for each in workers]
    for number in range(100):
        assert await tx.send(number) == 2
    await tx.close()
    assert await asyncio.gather(*receiving) == [list(range(100))] * 2


async def test_a_receiver_gets_what_is_sent_after_it_subscribed(make):
    from klaw_core.runtime.channels.ray import RayBroadcastReceiver, RayBroadcastSender

    tx, rx = await make()
    assert await tx.send(1) == 1
    subscribed, resubscribed = tx.subscribe(), rx.resubscribe()
    assert type(tx) is RayBroadcastSender
    assert type(rx) is type(subscribed) is type(resubscribed) is RayBroadcastReceiver
    assert await tx.clone().send(2) == 3
    assert await take_all(rx) == [1, 2]
    assert await take_all(subscribed) == await take_all(resubscribed) == [2]
    with pytest.raises(NotImplementedError, match="resubscribe"):
        rx.clone()
    for handle in (tx, rx):
        handle.close()
    with pytest.raises(ChannelClosedError, match="handle_closed|closed"):
        tx.subscribe()
    with pytest.raises(ChannelClosedError):
        rx.resubscribe()


async def test_every_way_to_send_and_to_receive(make, in_thread):
    tx, rx = await make()
    assert await tx.send(1, timeout=LONG_S) == 1
    assert await tx.try_send(2) == Ok(1)
    assert await in_thread(tx.blocking_send, 3, LONG_S).awaited() == 1
    with pytest.raises(ChannelFullError):  # it can't ask at once
        tx.send_nowait(4)
    assert await rx.recv(timeout=0) == 1
    assert await rx.try_recv() == Ok(2)
    assert await in_thread(rx.blocking_recv, LONG_S).awaited() == 3
    assert await rx.try_recv() == Err(ChannelEmpty())
    for timeout in (0, 0.001):
        with pytest.raises(RecvTimeoutError):
            await rx.recv(timeout)
    with pytest.raises(RecvTimeoutError):
        await in_thread(rx.blocking_recv, 0.001).awaited()
    await tx.send("last")
    tx.close()
    assert await in_thread(list, rx).awaited() == ["last"]


# ------------------------------------------------------------------------------------- too many


async def test_one_that_fell_behind_is_told_once_how_far(make, in_thread):
    tx, rx = await make(3)  # 4
    assert tx.capacity == rx.capacity == 4
    other, iterating, blocking = (rx.resubscribe() for _ in range(3))
    for number in range(10):
        assert await tx.send(number) == 4
    with pytest.raises(LaggedError) as caught:
        await rx.recv()
    assert caught.value.skipped == 6
    assert await take_all(rx) == [6, 7, 8, 9]
    assert await other.try_recv() == Err(Lagged(6))
    assert await other.recv() == 6
    with pytest.raises(LaggedError):
        await in_thread(blocking.blocking_recv).awaited()
    await tx.close()
    assert [number async for number in iterating] == [6, 7, 8, 9]


async def test_lags_add_up_over_processes(make, worker):
    tx, rx = await make(2)
    each = worker("there")
    await each.keep.remote(rx)
    receiving = each.events.remote()
    for number in range(1, 501):
        await tx.send(number)
    await tx.close()
    events = await receiving
    position = 0
    for event in events:
        position = position - event if event < 0 else position + 1
        assert event < 0 or event == position
    assert position == 500


async def test_select_raises_a_lag_with_its_index_and_select_all_skips_it(make):
    tx, rx = await make(1)
    queue_tx, queue_rx = await channel(1)
    for number in range(3):
        await tx.send(number)
    with pytest.raises(LaggedError) as caught:
        await select(queue_rx, rx)
    assert (caught.value.skipped, caught.value.index) == (2, 1)
    assert await select(queue_rx, rx) == (1, 2)
    for number in range(3):
        await tx.send(number)
    await tx.close()
    queue_tx.close()
    assert [item async for item in select_all(queue_rx, rx)] == [(1, 2)]
    queue_rx.close()


async def test_a_send_waits_for_the_slowest_receiver_wherever_it_is(make, worker):
    tx, rx = await make(1, overflow="wait")
    each = worker("there")
    await each.keep.remote(tx.subscribe())
    assert await tx.send(1) == 2
    assert await rx.recv() == 1
    assert await tx.try_send(2) == Err(ChannelFull(1))
    with pytest.raises(SendTimeoutError):
        await tx.send(2, timeout=0.05)
    waiting = asyncio.ensure_future(tx.send(2))
    assert await each.receive.remote(1) == [1]
    assert await waiting == 2
    waiting = asyncio.ensure_future(tx.send(3))
    assert await rx.recv() == 2
    await each.close.remote()
    assert await waiting == 1
    assert await rx.recv() == 3


async def test_a_killed_receiver_holds_nobody_up(make, worker):
    tx, rx = await make(1, overflow="wait")
    each = worker("here")
    await each.keep.remote(tx.subscribe())
    assert await tx.send(1) == 2
    assert await rx.recv() == 1
    waiting = asyncio.ensure_future(tx.send(2))
    os.kill(await each.pid.remote(), signal.SIGKILL)
    assert await waiting == 1
    assert await rx.recv() == 2


# ------------------------------------------------------------------------------------- who is there


async def test_without_receivers_a_send_is_closed_until_somebody_subscribes(make):
    tx, rx = await make()
    watching = asyncio.ensure_future(tx.closed())
    await rx.close()
    await watching
    with pytest.raises(ChannelClosedError, match="^no receivers$") as caught:
        await tx.send(1)
    assert caught.value.kind == "peer_gone"
    assert isinstance((await tx.try_send(1)).error, ChannelClosed)
    again = tx.subscribe()
    assert await tx.send(2) == 1
    assert not tx.is_closed
    await again.close("had enough")
    with pytest.raises(ChannelClosedError, match="^had enough$"):
        await tx.send(3)


async def test_what_is_sent_while_a_receiver_travels_reaches_it(make, worker):
    tx, rx = await make()
    pickled = pickle.dumps(rx)
    await rx.close()
    assert await tx.send("on its way") == 1  # it counts
    travelled = pickle.loads(pickled)
    second = pickle.loads(pickled)
    assert await second.try_recv() == Err(ChannelEmpty())
    assert await travelled.recv() == "on its way"
    assert await tx.send("to both") == 2
    assert await travelled.recv() == await second.recv() == "to both"
    copy = pickle.loads(pickle.dumps(tx))
    assert await copy.send("by another") == 2
    for handle in (travelled, second, copy):
        await handle.close()


async def test_the_end_comes_after_what_is_kept(make, worker):
    tx, rx = await make(2)
    each = worker("there")
    await each.keep.remote(rx)
    for number in range(1, 6):
        await tx.send(number)
    await tx.close()
    assert await each.events.remote() == [-3, 4, 5]


# ------------------------------------------------------------------------------------- with a name


async def test_a_named_one_is_found_by_others_with_the_right_handles(ray, name, worker, in_thread):
    from klaw_core.runtime.channels.ray import RayBroadcastReceiver, RayBroadcastSender

    tx, rx = await broadcast(8, backend="ray", name=name)
    assert name in list_channels()
    each = worker("there")
    await each.find.remote(name, "klaw")
    assert await tx.send("hello") == 2
    found_tx, found_rx = await get_channel(name)
    also_tx, also_rx = await in_thread(blocking_get_channel, name).awaited()
    senders = [found_tx, also_tx, await get_sender(name)]
    senders.append(await in_thread(blocking_get_sender, name).awaited())
    receivers = [found_rx, also_rx, await get_receiver(name)]
    receivers.append(await in_thread(blocking_get_receiver, name).awaited())
    assert {type(handle) for handle in senders} == {RayBroadcastSender}
    assert {type(handle) for handle in receivers} == {RayBroadcastReceiver}
    assert await senders[-1].send("all") == 6
    assert [await handle.recv() for handle in receivers] == ["all"] * 4  # from when they came on
    assert await take_all(rx) == ["hello", "all"]
    assert await each.receive.remote(2) == ["hello", "all"]
    stats = await channel_stats(name)
    assert (stats.sender_count, stats.receiver_count, stats.capacity) == (5, 6, 8)
    assert (stats.total_sent, stats.queue_size) == (2, 0)
    assert await in_thread(blocking_channel_stats, name).awaited() is not None
    waiting = asyncio.ensure_future(rx.recv())
    await asyncio.sleep(0)
    assert delete_channel(name)
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert caught.value.kind == "deleted"
    assert await get_channel(name) is None
    for handle in (tx, rx, *senders, *receivers):
        handle.close()


async def test_a_name_stands_for_one_kind_and_its_settings(ray, name, in_thread):
    tx, rx = await in_thread(
        blocking_broadcast, 8, overflow="wait", backend="ray", name=name
    ).awaited()
    same_tx, same_rx = await broadcast(5, overflow="wait", backend="ray", name=name)  # 8
    assert same_tx.same_channel(tx)
    for other in (
        broadcast(16, overflow="wait", backend="ray", name=name),
        broadcast(8, backend="ray", name=name),
        channel(8, backend="ray", name=name),
    ):
        with pytest.raises(ValueError, match="exists with other settings"):
            await other
    for handle in (tx, rx, same_tx, same_rx):
        await handle.close()


async def test_a_handle_of_another_kind_is_told(make, ray):
    from klaw_core.runtime.channels.ray import RayReceiver

    tx, _rx = await make()
    wrong = RayReceiver(tx._channel.owner.actor, 16)
    with pytest.raises(ChannelBackendErrorException, match="kind 'broadcast'"):
        await wrong.recv()
    wrong.close()


async def test_plain_calls_can_send_and_not_receive(make, eventually):
    tx, rx = await make()
    actor = tx._channel.owner.actor
    assert await actor.put.remote("plain") == "ok"
    assert await actor.put_batch.remote(["two", "items"]) == "full"
    assert await actor.get.remote() == ("closed", None)
    assert await actor.register_receiver.remote("reader") == "closed"
    assert await rx.recv() == "plain"
    await rx.close()
    await eventually.stats(tx, receiver_count=0)  # which nobody waits for
    assert await actor.put.remote("nobody") == "closed"


# ------------------------------------------------------------------------------------- the actor's death


def kill_actor(tx):
    from ray._private.state import actors

    os.kill(actors(tx._channel.owner.actor._actor_id.hex())["Pid"], signal.SIGKILL)


async def works_after(operation):
    """Tries until it works; gives the backend's errors that were raised before, and the result."""
    told = []
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                return told, await operation()
            except ChannelBackendErrorException as error:
                told.append(error.message)


async def test_after_a_restart_each_handle_hears_of_it_once_and_the_channel_goes_on(make, worker):
    tx, rx = await make(10_000)  # none of them lags, however many are sent until all have come back
    other = rx.resubscribe()
    each = worker("there")
    await each.keep.remote(tx.subscribe())
    assert await tx.send("lost") == 3
    waiting = asyncio.ensure_future(other.recv())
    assert await waiting == "lost"
    waiting = asyncio.ensure_future(other.recv())
    await asyncio.sleep(0)
    kill_actor(tx)
    with pytest.raises(ChannelBackendErrorException, match=r"actor (was restarted|died)"):
        await waiting
    told, _ = await works_after(lambda: tx.send("first"))
    assert sum("can't be reached" not in message for message in told) == 1
    with pytest.raises(ChannelBackendErrorException):  # what it had not read is lost
        await rx.recv()
    while await tx.send("again") < 3:  # not all have come back
        await asyncio.sleep(0.01)
    for handle in (rx, other):
        received = [await handle.recv()]
        received += await take_all(handle)
        assert received[-1] == "again"
        assert set(received) <= {"first", "again"}
    await other.close()
