"""Oneshots on a cluster: one value, of whichever process, for whichever process."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys

import pytest
from channel_tests import closed

from klaw_core.runtime.channels import (
    AlreadySent,
    AlreadySentError,
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFullError,
    Err,
    Ok,
    RecvTimeoutError,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_oneshot,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    oneshot,
    select,
)

pytestmark = pytest.mark.ray


@pytest.fixture
def tasks(ray):
    @ray.remote(num_cpus=0)
    def send(tx, value):
        try:
            tx.blocking_send(value)
        except AlreadySentError:
            return "already sent"
        return "sent"

    @ray.remote(num_cpus=0)
    def receive(rx):
        try:
            return rx.blocking_recv(timeout=30)
        except ChannelClosedError as error:
            return str(error)

    class Tasks:
        pass

    made = Tasks()
    made.send, made.receive = send, receive
    return made


async def test_every_way_to_send_and_to_receive(ray_cluster, in_thread):
    tx, rx = await oneshot(backend="ray")
    assert tx.capacity == rx.capacity == 1
    assert await rx.try_recv() == Err(ChannelEmpty())
    with pytest.raises(RecvTimeoutError):
        await rx.recv(timeout=0.001)
    with pytest.raises(ChannelEmptyError):
        rx.recv_nowait()
    with pytest.raises(ChannelFullError):
        tx.send_nowait(1)  # it would have to ask
    assert await tx.try_send(1) == Ok(None)
    assert await tx.try_send(2) == Err(AlreadySent())
    with pytest.raises(AlreadySentError, match="already sent"):
        await tx.send(2, timeout=10)
    assert await rx.recv() == 1
    assert await rx.try_recv() == Err(ChannelClosed("already consumed"))
    with pytest.raises(ChannelClosedError, match="^already consumed$"):
        rx.recv_nowait()
    assert rx.is_closed
    tx, rx = await oneshot(backend="ray")
    receiving = in_thread(rx.blocking_recv, 30)
    await in_thread(tx.blocking_send, "value", 30).awaited()
    assert await receiving.awaited() == "value"
    for handle in (tx, rx):
        with pytest.raises(NotImplementedError, match="^Oneshot channels do not support cloning$"):
            handle.clone()


async def test_a_named_one_is_found_by_others(ray_cluster, name):
    tx, rx = await oneshot(backend="ray", name=name)
    found_tx, found_rx = await get_channel(name)
    assert [type(handle) for handle in (found_tx, found_rx)] == [type(tx), type(rx)]
    assert tx.same_channel(found_rx)
    sender, receiver = await get_sender(name), await get_receiver(name)
    assert name in list_channels()
    stats = await channel_stats(name)
    assert (stats.sender_count, stats.receiver_count, stats.capacity) == (3, 3, 1)
    assert (await rx.stats()).total_sent == 0
    await sender.send("value")
    with pytest.raises(AlreadySentError):
        await tx.send("another")
    assert (await channel_stats(name)).queue_size == 1
    assert await receiver.recv() == "value"
    assert await closed(found_rx.recv()) == ("ended", "already consumed")
    assert await closed(rx.recv()) == ("ended", "already consumed")


def test_the_blocking_twins_do_the_same(ray_cluster, name):
    tx, rx = blocking_oneshot[str](backend="ray", name=name)
    found_tx, found_rx = blocking_get_channel(name)
    with tx, rx, found_tx, found_rx:
        tx.blocking_send("value")
        assert list(found_rx) == ["value"]
        assert blocking_channel_stats(name).total_sent == 1


async def test_a_channel_of_that_name_of_another_kind_is_an_error_that_names_both(
    ray_cluster, name
):
    handles = await oneshot(backend="ray", name=name)
    with pytest.raises(ValueError, match=r"'kind': 'oneshot'.*not \{'kind': 'mpmc'"):
        await channel(1, backend="ray", name=name)
    for handle in handles:
        await handle.close()
    with pytest.raises(ValueError, match=r"'kind': 'mpmc'.*not \{'kind': 'oneshot'"):
        tx, rx = await channel(1, backend="ray", name=name)
        await oneshot(backend="ray", name=name)
    await tx.close()
    await rx.close()
    await oneshot(backend="ray", name=name)  # the other one was used up


async def test_deleting_ends_what_waits(ray_cluster, name):
    _tx, rx = await oneshot(backend="ray", name=name)
    waiting = asyncio.ensure_future(rx.recv())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(delete_channel, name) is True
    assert (await closed(waiting))[0] == "deleted"
    assert name not in list_channels()


async def test_an_answer_from_a_task(tasks):
    tx, rx = await oneshot(backend="ray")
    answered = tasks.send.remote(tx, [1, 2, 3])
    assert await rx.recv(timeout=30) == [1, 2, 3]
    assert await answered == "sent"
    with pytest.raises(AlreadySentError):
        await tx.send("mine")


async def test_of_several_processes_one_sends_and_one_receives(tasks):
    tx, rx = await oneshot(backend="ray")
    receiving = [tasks.receive.remote(rx) for _ in range(3)]
    sending = [tasks.send.remote(tx, n) for n in range(3)]
    sent = await asyncio.gather(*sending)
    assert sorted(sent) == ["already sent", "already sent", "sent"]
    received = await asyncio.gather(*receiving)
    assert sorted(map(str, received)) == [str(sent.index("sent")), *["already consumed"] * 2]


async def test_a_pickled_handle_keeps_its_side_open(ray_cluster):
    tx, rx = await oneshot(backend="ray")
    pickled = pickle.dumps(tx)
    await tx.close()
    waiting = asyncio.ensure_future(rx.recv(timeout=30))
    again = pickle.loads(pickled)
    await again.send("value")
    assert await waiting == "value"


async def test_a_side_that_goes_ends_the_other(ray_cluster):
    tx, rx = await oneshot(backend="ray")
    waiting = asyncio.ensure_future(rx.recv())
    watching = asyncio.ensure_future(rx.closed())
    await asyncio.sleep(0)
    del tx
    gc.collect()
    assert (await closed(waiting))[0] == "ended"
    await watching
    tx, rx = await oneshot(backend="ray")
    watching = asyncio.ensure_future(tx.closed())
    await rx.close("not interested")
    await watching
    assert tx.is_closed
    assert await closed(tx.send(1)) == ("peer_gone", "not interested")
    tx, rx = await oneshot(backend="ray")
    await tx.close("broken")
    assert await closed(rx.recv()) == ("peer_died", "broken")


async def test_select_takes_it(ray_cluster):
    tx, rx = await oneshot(backend="ray")
    queue_tx, queue_rx = await channel(1)
    await tx.send("value")
    assert await select(queue_rx, rx, timeout=30) == (1, "value")
    for handle in (queue_tx, queue_rx):
        await handle.close()


async def test_a_value_that_died_with_the_actor_is_not_waited_for(ray, eventually):
    tx, rx = await oneshot(backend="ray")
    await tx.send("value")
    ray.kill(tx._channel.owner.actor, no_restart=False)

    async def is_dead():
        with pytest.raises((AlreadySentError, ChannelBackendErrorException)) as caught:
            await tx.send("again")
        return caught.type is ChannelBackendErrorException

    await eventually.true(is_dead)
    with pytest.raises(ChannelBackendErrorException):
        await rx.recv()
    kind, why = await closed(rx.recv())
    assert (kind, why) == (
        "peer_died",
        "the value was sent, and lost when the channel's actor died",
    )
    with pytest.raises(AlreadySentError):
        await tx.send("again")


async def test_an_unsent_one_works_on_after_the_death_of_its_actor(ray):
    tx, rx = await oneshot(backend="ray")
    ray.kill(tx._channel.owner.actor, no_restart=False)
    with pytest.raises(ChannelBackendErrorException):
        await rx.recv()
    with pytest.raises(ChannelBackendErrorException):
        await tx.send("value")
    await tx.send("value")
    assert await rx.recv() == "value"


async def test_plain_calls_of_its_actor_are_the_same_channel(ray_cluster):
    tx, rx = await oneshot(backend="ray")
    actor = tx._channel.owner.actor
    assert (await actor.get_metadata.remote())["kind"] == "oneshot"
    assert await actor.put_nowait.remote("value") == "ok"
    assert await actor.put.remote("another") == "closed"
    assert await rx.recv() == "value"
    assert await actor.get.remote() == ("closed", None)


def test_what_has_done_its_part_is_collected_without_a_warning(ray_cluster):
    code = """
import asyncio, gc
from klaw_core.runtime.channels import oneshot

async def main():
    tx, rx = await oneshot(backend="ray")
    await tx.send(1)
    await rx.recv()
    del tx, rx
    gc.collect()
    tx, rx = await oneshot(backend="ray")
    del tx
    gc.collect()
    await rx.close()

asyncio.run(main())
"""
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    warned = [line for line in run.stderr.splitlines() if "unclosed <Ray" in line]
    assert len(warned) == 1
    assert "unclosed <RayOneshotSender " in warned[0]
