"""``RayChannelActor``: the channel as plain Ray code sees it."""

from __future__ import annotations

import asyncio
import time

import pytest

from klaw_core.runtime.channels import ChannelStats

pytestmark = pytest.mark.ray


@pytest.fixture
def actor(ray):
    from klaw_core.runtime.channels.ray import RayChannelActor

    made = RayChannelActor.remote(3)
    yield made
    ray.kill(made)


async def test_items_come_out_in_order(actor):
    for n in range(3):
        assert await actor.put.remote(n) == "ok"
    assert [await actor.get.remote() for _ in range(3)] == [("ok", n) for n in range(3)]


async def test_what_plain_code_puts_any_handle_receives(actor):
    from klaw_core.runtime.channels.ray import RayReceiver, RaySender

    tx, rx = RaySender(actor, 3), RayReceiver(actor, 3)
    assert await actor.put.remote((1, {"a"})) == "ok"
    assert await rx.recv() == (1, {"a"})
    await tx.send([None])
    assert await actor.get.remote() == ("ok", [None])
    await tx.close()
    await rx.close()


async def test_nowait_says_full_and_empty(actor):
    assert await actor.get_nowait.remote() == ("empty", None)
    for n in range(3):
        assert await actor.put_nowait.remote(n) == "ok"
    assert await actor.put_nowait.remote(3) == "full"
    assert await actor.get_nowait.remote() == ("ok", 0)


async def test_a_limit_that_runs_out_says_full_and_empty(actor):
    assert await actor.get.remote(timeout=0.05) == ("empty", None)
    assert await actor.put_batch.remote([1, 2, 3]) == "ok"
    assert await actor.put.remote(4, timeout=0.05) == "full"


async def test_put_batch_waits_for_room_for_all(actor):
    assert await actor.put.remote(0) == "ok"
    assert await actor.put_nowait_batch.remote([1, 2, 3]) == "full"
    waiting = asyncio.ensure_future(as_task(actor.put_batch.remote([1, 2, 3])))
    assert await actor.get.remote() == ("ok", 0)
    assert await waiting == "ok"
    assert await actor.get_batch.remote(10) == ("ok", [1, 2, 3])


async def test_a_batch_that_can_never_fit_is_full_at_once(actor):
    assert await actor.put_batch.remote([1, 2, 3, 4]) == "full"


async def as_task(ref):
    return await ref


async def test_2000_waiting_gets_keep_no_put_out(ray, actor):
    waiting = [actor.get.remote() for _ in range(2000)]
    assert await asyncio.wait_for(as_task(actor.put.remote("in")), 30) == "ok"
    [served], _ = await asyncio.to_thread(ray.wait, waiting, num_returns=1, timeout=30)
    assert await served == ("ok", "in")  # whichever came first


async def test_a_repeated_call_happens_once(actor):
    await actor.register_sender.remote(sender_id="s")
    for _ in range(2):
        assert await actor.put.remote("a", sender_id="s", op=1) == "ok"
    assert await actor.put.remote("b", sender_id="s", op=2) == "ok"
    await actor.register_receiver.remote("r", "node")
    first = await actor.get.remote(reader_id="r", op=1)
    assert first == await actor.get.remote(reader_id="r", op=1) == ("ok", "a")
    assert await actor.get.remote(reader_id="r", op=2) == ("ok", "b")
    assert await actor.get_nowait.remote() == ("empty", None)


async def test_registering_counts_once_for_each_id(actor):
    for _ in range(2):
        assert await actor.register_sender.remote(sender_id="s") == "ok"
        assert await actor.register_receiver.remote("r", "a-node") == "ok"
    stats = await actor.get_stats.remote()
    assert isinstance(stats, ChannelStats)
    assert (stats.sender_count, stats.receiver_count) == (1, 1)
    assert stats.backend_extras["per_node_receivers"] == {"a-node": 1}
    assert await actor.register_sender.remote() == "ok"
    assert (await actor.get_stats.remote()).sender_count == 2


async def test_the_last_sender_that_deregisters_ends_the_channel(actor):
    await actor.register_sender.remote(sender_id="s")
    await actor.register_receiver.remote("r", "a-node")
    assert await actor.put.remote("last", sender_id="s") == "ok"
    waiting = actor.get.remote(), actor.get.remote()
    assert await actor.deregister_sender.remote("s") == "ok"
    assert sorted([await waiting[0], await waiting[1]], key=str) == [
        ("closed", None),
        ("ok", "last"),
    ]
    assert await actor.register_sender.remote(sender_id="late") == "closed"
    assert await actor.put.remote(1) == "closed"
    assert not await actor.is_closed.remote()
    assert await actor.deregister_receiver.remote("r") == "ok"
    assert await actor.is_closed.remote()


async def test_reader_stats_count_what_each_has_received(actor):
    before = time.time()
    await actor.register_receiver.remote("r", "a-node")
    await actor.put_batch.remote([1, 2])
    assert await actor.get_batch.remote(2, reader_id="r") == ("ok", [1, 2])
    stats = await actor.get_reader_stats.remote()
    assert set(stats) == {"r"}
    assert stats["r"]["node_id"] == "a-node"
    assert stats["r"]["total_received"] == 2
    assert before - 1 <= stats["r"]["registered_at"] <= time.time() + 1


async def test_it_says_what_it_is(actor):
    metadata = await actor.get_metadata.remote()
    assert metadata["kind"] == "mpmc"
    assert (metadata["capacity"], metadata["epoch"], metadata["name"]) == (3, 1, None)
    assert await actor.get_capacity.remote() == 3


async def test_counters_are_restored_into_a_fresh_channel(ray, actor):
    from klaw_core.runtime.channels.ray import RayChannelActor

    await actor.put_batch.remote([1, 2, 3])
    await actor.get.remote()
    state = await actor.get_checkpoint_state.remote()
    assert (state["total_sent"], state["total_received"]) == (3, 1)
    fresh = RayChannelActor.remote(3)
    assert await fresh.apply_checkpoint_state.remote(state) == "ok"
    stats = await fresh.get_stats.remote()
    assert (stats.total_sent, stats.total_received) == (3, 1)
    assert stats.created_at == pytest.approx(state["created_at"])
    ray.kill(fresh)


async def test_counters_are_restored_into_a_channel_that_is_in_use(actor):
    await actor.register_sender.remote("s")
    await actor.put_batch.remote([1, 2])
    state = {
        "created_at": 12.5,
        "total_sent": 7,
        "total_received": 6,
        "senders_closed": True,
        "receivers_closed": True,
    }
    assert await actor.apply_checkpoint_state.remote(state) == "ok"
    stats = await actor.get_stats.remote()
    assert (stats.created_at, stats.total_sent, stats.total_received) == (12.5, 7, 6)
    assert (stats.senders_closed, stats.receivers_closed, stats.queue_size) == (False, False, 2)
    assert await actor.get_batch.remote(2) == ("ok", [1, 2])
    with_messages = await actor.get_checkpoint_state.remote(messages=True)
    assert await actor.apply_checkpoint_state.remote(with_messages) == "closed"
