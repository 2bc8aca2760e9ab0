"""Watches on a cluster: one value, and each process has it."""

from __future__ import annotations

import asyncio
import gc
import pickle
import sys
import threading

import pytest
from channel_tests import closed

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelFullError,
    Err,
    Ok,
    RecvTimeoutError,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_watch,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    select,
    watch,
)

pytestmark = pytest.mark.ray
LIMIT_S = 60.0


async def test_every_way_to_send_and_to_look(ray_cluster, in_thread):
    tx, rx = await watch({"version": 0}, backend="ray")
    assert tx.capacity == rx.capacity == 1
    assert rx.borrow() == tx.borrow() == {"version": 0}
    assert rx.has_changed() is False
    assert await rx.try_changed() == Err(ChannelEmpty())
    with pytest.raises(RecvTimeoutError):
        await rx.changed(timeout=0.001)
    assert await tx.send(1) == 1
    assert rx.borrow() == tx.borrow() == 1
    assert rx.has_changed() is True
    assert await rx.changed() is None
    assert rx.has_changed() is False
    assert await tx.try_send(2) == Ok(1)
    assert await rx.try_changed() == Ok(None)
    assert await in_thread(tx.blocking_send, 3, 30).awaited() == 1
    await in_thread(rx.blocking_changed, 30).awaited()
    assert rx.borrow_and_update() == 3
    with pytest.raises(ChannelFullError):
        tx.send_nowait(4)  # it would have to ask
    assert await rx.wait_for(lambda value: value == 3) == 3
    waiting = asyncio.ensure_future(rx.wait_for(lambda value: value >= 6, timeout=30))
    for value in (4, 5, 6):
        await tx.send(value)
    assert await waiting == 6
    with pytest.raises(ZeroDivisionError):
        await rx.wait_for(lambda _value: 1 / 0)
    with pytest.raises(RecvTimeoutError):
        await rx.wait_for(lambda _value: False, timeout=0.05)
    assert await in_thread(rx.blocking_wait_for, bool, 30).awaited() == 6


async def test_all_handles_of_a_process_give_the_same_object(ray_cluster):
    tx, rx = await watch([0], backend="ray")
    other = rx.resubscribe()
    assert rx.borrow() is rx.borrow() is other.borrow() is tx.borrow()
    await tx.send([1])
    await other.changed()
    assert other.borrow() is rx.borrow_and_update()


async def test_intermediate_values_collapse_and_the_last_is_seen_before_the_end(ray_cluster):
    tx, rx = await watch(0, backend="ray")
    seen = []

    async def follow():
        seen.extend([value async for value in rx])

    following = asyncio.ensure_future(follow())
    for value in range(1, 101):
        await tx.send(value)
    await tx.close()
    await asyncio.wait_for(following, 30)
    assert seen[-1] == 100
    assert seen == sorted(set(seen))
    assert rx.borrow() == 100
    assert rx.is_closed
    assert await rx.try_changed() == Err(ChannelClosed())


async def test_a_named_one_is_found_by_others(ray_cluster, name):
    tx, rx = await watch("first", backend="ray", name=name)
    found_tx, found_rx = await get_channel(name)
    assert [type(handle) for handle in (found_tx, found_rx)] == [type(tx), type(rx)]
    assert tx.same_channel(found_rx)
    sender, receiver = await get_sender(name), await get_receiver(name)
    assert await sender.send("second") == 3
    late = await get_receiver(name)
    assert (late.borrow(), late.has_changed()) == ("second", False)
    assert (receiver.borrow(), receiver.has_changed()) == ("second", True)
    again_tx, again_rx = await watch("another", backend="ray", name=name)
    assert again_tx.borrow() == again_rx.borrow() == "second"  # it was there
    stats = await channel_stats(name)
    assert (stats.sender_count, stats.receiver_count, stats.capacity) == (4, 5, 1)
    assert (stats.queue_size, stats.total_sent) == (1, 1)
    assert name in list_channels()
    with pytest.raises(ValueError, match=r"'kind': 'watch'.*not \{'kind': 'mpmc'"):
        await channel(1, backend="ray", name=name)
    waiting = asyncio.ensure_future(late.changed())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(delete_channel, name) is True
    assert (await closed(waiting))[0] == "deleted"


def test_the_blocking_twins_do_the_same(ray_cluster, name):
    tx, rx = blocking_watch(0, backend="ray", name=name)
    found_tx, found_rx = blocking_get_channel(name)
    with rx, found_rx:
        with tx, found_tx:
            assert tx.blocking_send(1) == 2
            assert next(found_rx) == 1
            assert blocking_channel_stats(name).total_sent == 1
        assert list(rx) == [1]
        assert list(found_rx) == []


async def test_receivers_come_and_go(ray_cluster):
    tx, rx = await watch(0, backend="ray")
    second = tx.subscribe()
    assert await tx.send(1) == 2
    watching = asyncio.ensure_future(tx.closed())
    await rx.close()
    await second.close()
    await watching
    assert tx.is_closed
    assert (await closed(tx.send(2)))[0] == "peer_gone"
    assert tx.borrow() == 1
    third = tx.subscribe()
    assert third.borrow() == 1
    assert await tx.send(3) == 1
    await third.changed()
    assert third.borrow() == 3


async def test_a_reason_is_told_and_a_collected_sender_ends_it(ray_cluster):
    tx, rx = await watch(0, backend="ray")
    copy = tx.clone()
    await tx.close("broken")
    await copy.close()
    assert await closed(rx.changed()) == ("peer_died", "broken")
    tx, rx = await watch(0, backend="ray")
    waiting = asyncio.ensure_future(rx.changed())
    await asyncio.sleep(0)
    del tx
    gc.collect()
    assert (await closed(waiting))[0] == "ended"
    rx.close()
    with pytest.raises(ChannelClosedError):
        rx.borrow()
    assert rx.has_changed() is False


async def test_workers_follow_it(ray):
    @ray.remote(num_cpus=0)
    def follow(settings):
        with settings:
            return [settings.borrow(), *settings]

    @ray.remote(num_cpus=0)
    def change(settings, values):
        with settings:
            return [settings.blocking_send(value) for value in values]

    tx, rx = await watch("begin", backend="ray")
    followers = [follow.remote(rx) for _ in range(3)]
    counts = await change.remote(tx, ["middle", "end"])
    assert all(
        count == 4 for count in counts
    )  # this process's own, and three on their way or there
    await tx.close()
    for seen in await asyncio.gather(*followers):
        assert seen[0] == "begin"
        assert seen[-1] == "end"
    assert rx.borrow_and_update() == "end"


async def test_a_pickled_receiver_has_seen_what_its_original_had(ray_cluster):
    tx, rx = await watch(0, backend="ray")
    await tx.send(1)
    unseen = pickle.dumps(rx)
    await rx.changed()
    seen = pickle.dumps(rx)
    first, second = pickle.loads(unseen), pickle.loads(seen)
    assert (first.borrow(), first.has_changed()) == (1, True)
    assert (second.borrow(), second.has_changed()) == (1, False)
    sender = pickle.loads(pickle.dumps(tx))
    assert sender.borrow() == 1
    assert await sender.send(2) == 3
    await second.changed()
    assert second.borrow() == 2


async def test_select_takes_a_change(ray_cluster):
    tx, rx = await watch(0, backend="ray")
    queue_tx, queue_rx = await channel(1)
    waiting = asyncio.ensure_future(select(queue_rx, rx, timeout=30))
    await tx.send("value")
    assert await waiting == (1, "value")
    for handle in (queue_tx, queue_rx):
        await handle.close()


async def test_after_the_death_of_its_actor_it_is_the_initial_value_again(ray, eventually):
    tx, rx = await watch("initial", backend="ray")
    await tx.send("later")
    await rx.changed()
    ray.kill(tx._channel.owner.actor, no_restart=False)
    with pytest.raises(ChannelBackendErrorException):
        await rx.changed()
    assert rx.borrow() in ("later", "initial")
    await rx.changed(timeout=30)
    assert rx.borrow() == "initial"
    with pytest.raises(ChannelBackendErrorException):
        await tx.send("again")
    assert await tx.send("again") >= 1
    await rx.changed()
    assert rx.borrow() == "again"


async def test_plain_calls_of_its_actor_can_send_and_not_receive(ray_cluster, eventually):
    tx, rx = await watch(0, backend="ray")
    actor = tx._channel.owner.actor
    assert (await actor.get_metadata.remote())["kind"] == "watch"
    assert await actor.put.remote("plain") == "ok"
    await rx.changed()
    assert rx.borrow() == "plain"
    assert await actor.get.remote() == ("closed", None)
    await rx.close()
    await eventually.stats(tx, receiver_count=0)  # which nobody waits for
    assert await actor.put.remote("nobody") == "closed"


async def test_what_cannot_be_pickled_is_told_before_anything_is_made(ray_cluster, name):
    with pytest.raises(TypeError):
        await watch(threading.Lock(), backend="ray", name=name)
    assert name not in list_channels()


MAKER = """
import sys
from klaw_core.runtime.channels import blocking_watch

tx, rx = blocking_watch(b"x" * int(sys.argv[2]), backend="ray", name=sys.argv[1])
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("size", [300_000, 8_000_000])
async def test_a_large_initial_value_is_there_again_though_its_maker_is_gone(ray, name, size):
    made = [sys.executable, "-c", MAKER, name, str(size)]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    maker = await asyncio.create_subprocess_exec(*made, **pipes)
    assert await maker.stdout.readline() == b"made\n"
    tx, rx = await get_channel(name)
    await maker.communicate(b"")  # which lets it end
    assert rx.borrow() == b"x" * size
    await tx.send("later")
    await rx.changed()
    ray.kill(tx._channel.owner.actor, no_restart=False)
    with pytest.raises(ChannelBackendErrorException):
        await rx.changed()
    await rx.changed(timeout=LIMIT_S)
    assert rx.borrow() == b"x" * size


async def test_an_initial_value_that_is_too_large_is_an_error_that_says_so(ray_cluster, name):
    for size in (8 * 1024 * 1024, 65 * 1024 * 1024):
        with pytest.raises(ChannelBackendErrorException, match="the initial value is larger than"):
            await watch(b"x" * size, backend="ray", name=name)
    assert name not in list_channels()
