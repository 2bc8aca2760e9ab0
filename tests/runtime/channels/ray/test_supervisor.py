"""The supervisor: channels by plain actor calls, what they hold taken along, deaths noticed."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import uuid

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelCheckpoint,
    ChannelClosedError,
    PayloadLostError,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    oneshot,
)

pytestmark = pytest.mark.ray

NAMESPACE = "supervised"


@pytest.fixture(scope="module")
def supervisor(ray_cluster):
    import ray

    from klaw_core.runtime.channels.ray import get_channel_supervisor

    made = get_channel_supervisor(NAMESPACE)
    yield made
    ray.kill(made)


@pytest.fixture
def names():
    """Two names for channels, which are deleted afterwards."""
    chosen = [f"test-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    yield chosen
    for name in chosen:
        delete_channel(name, namespace=NAMESPACE)


async def receive_marked(rx, count):
    received = []
    for _ in range(count):
        async with await rx.recv_acked(timeout=30) as m:
            received.append((m.value, m.redelivered))
    return received


async def kill(ray, supervisor_or_actor, eventually):
    """Its process; returns once Ray has started it again, or given it up."""
    from ray._private.state import actors

    actor_id = supervisor_or_actor._actor_id.hex()
    before = actors(actor_id)
    os.kill(before["Pid"], signal.SIGKILL)

    def is_over():
        found = actors(actor_id)
        restarted = found["NumRestarts"] > before["NumRestarts"] and found["State"] == "ALIVE"
        return restarted or found["State"] == "DEAD"

    await eventually.true(is_over)


# --- channels ---


async def test_it_makes_lists_and_deletes_channels(supervisor, names):
    name, other = names
    assert await supervisor.create_channel.remote(name, 3) == "ok"
    assert await supervisor.create_channel.remote(name, 5) == "exists"
    assert await supervisor.create_channel.remote(other, unbounded=True) == "ok"
    assert set(names) <= set(await supervisor.list_channels.remote())
    stats = await channel_stats(name, namespace=NAMESPACE)
    assert (stats.capacity, stats.sender_count, stats.receiver_count) == (3, 0, 0)
    assert (await channel_stats(other, namespace=NAMESPACE)).capacity is None
    tx, rx = await get_channel(name, namespace=NAMESPACE)
    await tx.send("a")
    assert await rx.recv() == "a"
    waiting = asyncio.ensure_future(rx.recv())
    assert await supervisor.delete_channel.remote(name) == "ok"
    with pytest.raises(ChannelClosedError) as caught:
        await asyncio.wait_for(waiting, 30)
    assert caught.value.kind == "deleted"
    assert await supervisor.delete_channel.remote(name) == "missing"
    assert name not in await supervisor.list_channels.remote()


async def test_of_many_that_make_a_channel_at_once_one_does(supervisor, names):
    made = [supervisor.create_channel.remote(names[0]) for _ in range(8)]
    assert sorted([await each for each in made]) == ["exists"] * 7 + ["ok"]


async def test_one_that_is_used_up_is_made_fresh(supervisor, names):
    tx, rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    assert await supervisor.create_channel.remote(names[0], 5) == "exists"
    await tx.close()
    await rx.close()
    assert await supervisor.create_channel.remote(names[0], 5) == "ok"
    assert (await channel_stats(names[0], namespace=NAMESPACE)).capacity == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "name must be a str, not int"),
        (("x", -1), "capacity must be between 0 and .*, got -1"),
        (("x", 1.5), "capacity must be an int, not float"),
        (("x", 1, "yes"), "unbounded must be a bool, not str"),
    ],
)
async def test_bad_arguments_are_told(supervisor, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        await supervisor.create_channel.remote(*arguments)


async def test_it_is_one_for_all_of_the_namespace(ray, supervisor):
    from klaw_core.runtime.channels.ray import get_channel_supervisor

    @ray.remote(num_cpus=0)
    def found_by_a_task():
        return get_channel_supervisor(NAMESPACE)._actor_id.hex()

    assert get_channel_supervisor(NAMESPACE)._actor_id == supervisor._actor_id
    assert await found_by_a_task.remote() == supervisor._actor_id.hex()


async def test_a_foreign_actor_of_its_name_is_a_clear_error(ray, ray_cluster):
    from klaw_core.runtime.channels.ray import get_channel_supervisor

    @ray.remote(num_cpus=0)
    class Foreign:
        pass

    foreign = Foreign.options(name="klaw_supervisor", namespace="foreign").remote()
    with pytest.raises(ChannelBackendErrorException, match="is no channel supervisor"):
        get_channel_supervisor("foreign")
    ray.kill(foreign)


# --- checkpoints ---


async def test_a_checkpoint_has_the_counters(supervisor, names):
    assert await supervisor.get_checkpoint.remote(names[0]) is None
    tx, rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    await tx.send_batch([1, 2, 3])
    assert await rx.recv() == 1
    await tx.close()
    state = await supervisor.get_checkpoint.remote(names[0])
    checkpoint = ChannelCheckpoint(**state)
    assert (checkpoint.total_sent, checkpoint.senders_closed, checkpoint.receivers_closed) == (
        3,
        True,
        False,
    )
    assert await supervisor.restore_from_checkpoint.remote(names[1], state) == "missing"
    assert await supervisor.create_channel.remote(names[1]) == "ok"
    assert await supervisor.restore_from_checkpoint.remote(names[1], state) == "ok"
    assert (await channel_stats(names[1], namespace=NAMESPACE)).total_sent == 3


async def test_counters_are_restored_into_a_channel_that_is_in_use(supervisor, names):
    tx, rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    await tx.send("its own")
    state = await supervisor.get_checkpoint.remote(names[0]) | {"total_sent": 41}
    assert await supervisor.restore_from_checkpoint.remote(names[0], state) == "ok"
    assert await supervisor.restore_from_checkpoint.remote(names[0], state) == "ok"
    await tx.send("another")
    assert (await tx.stats()).total_sent == 42
    assert [await rx.recv(), await rx.recv()] == ["its own", "another"]


async def test_messages_come_back_in_order_and_marked_in_a_fresh_channel(supervisor, names):
    tx, rx = await channel(64, backend="ray", name=names[0], namespace=NAMESPACE)
    values = [0, b"bytes", "text", {"a": [1, None]}, (1, 2), *range(5, 40)]
    await tx.send_batch(values)
    taken = await rx.recv()
    unsettled = await rx.recv_acked()
    assert (taken, unsettled.value) == (0, b"bytes")
    state = await supervisor.get_checkpoint.remote(names[0], messages=True)
    assert isinstance(state["messages"], bytes)
    state = pickle.loads(pickle.dumps(state))
    assert await supervisor.create_channel.remote(names[1], 8) == "ok"  # the messages do not fit
    assert await supervisor.restore_from_checkpoint.remote(names[1], state) == "ok"
    restored = await get_receiver(names[1], namespace=NAMESPACE)
    assert await receive_marked(restored, 39) == [(value, True) for value in values[1:]]
    # It is a channel like any other, also for the process that had sent them.
    tx = await get_sender(names[1], namespace=NAMESPACE)
    await tx.send_batch(range(8))
    assert await receive_marked(restored, 8) == [(n, False) for n in range(8)]
    async with unsettled:
        pass
    assert await rx.recv() == "text"  # the other goes on


async def test_an_end_comes_back_after_the_messages(supervisor, names):
    tx, _rx = await channel(8, backend="ray", name=names[0], namespace=NAMESPACE)
    await tx.send_batch([1, 2])
    await tx.close()
    state = await supervisor.get_checkpoint.remote(names[0], messages=True)
    await supervisor.create_channel.remote(names[1])
    assert await supervisor.restore_from_checkpoint.remote(names[1], state) == "ok"
    rx = await get_receiver(names[1], namespace=NAMESPACE)
    assert [value async for value in rx] == [1, 2]


async def test_a_channel_that_was_used_refuses_and_keeps_what_it_has(supervisor, names):
    tx, rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    await tx.send("its own")
    state = await supervisor.get_checkpoint.remote(names[0], messages=True)
    with pytest.raises(ValueError, match=f"'{names[0]}'.*was used already.*create_channel"):
        await supervisor.restore_from_checkpoint.remote(names[0], state)
    assert await rx.recv() == "its own"
    assert (await rx.stats()).queue_size == 0


async def test_a_damaged_checkpoint_is_refused_and_the_channel_stays_fresh(supervisor, names):
    tx, _rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    await tx.send("a")
    state = await supervisor.get_checkpoint.remote(names[0], messages=True)
    await supervisor.create_channel.remote(names[1])
    for wrong, why in (
        (state | {"messages": state["messages"][:-1]}, f"'{names[1]}'.*damaged"),
        (state | {"messages": b"other"}, "no checkpoint"),
        (state | {"messages": None}, "no checkpoint"),
        ({}, "no checkpoint.*created_at"),
    ):
        with pytest.raises(ValueError, match=why):
            await supervisor.restore_from_checkpoint.remote(names[1], wrong)
    assert await supervisor.restore_from_checkpoint.remote(names[1], state) == "ok"


async def test_messages_of_a_reference_channel_are_refused(supervisor, names):
    tx, _rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE, reference=True)
    await tx.send("a")
    with pytest.raises(ValueError, match="reference channel"):
        await supervisor.get_checkpoint.remote(names[0], messages=True)
    assert (await supervisor.get_checkpoint.remote(names[0]))["total_sent"] == 1


async def test_messages_of_another_kind_of_channel_are_refused(supervisor, names):
    handles = await oneshot(backend="ray", name=names[0], namespace=NAMESPACE)
    with pytest.raises(ValueError, match="oneshot channel.*MPMC"):
        await supervisor.get_checkpoint.remote(names[0], messages=True)
    state = await supervisor.get_checkpoint.remote(names[0])
    with pytest.raises(ValueError, match="oneshot channel.*MPMC"):
        await supervisor.restore_from_checkpoint.remote(names[0], state)
    for handle in handles:
        await handle.close()


async def test_references_within_another_channel_are_lost_and_told(supervisor, names):
    from klaw_core.runtime.channels.ray import RayReferenceReceiver, RayReferenceSender

    tx, _rx = await channel(4, backend="ray", name=names[0], namespace=NAMESPACE)
    await RayReferenceSender(tx).send("by reference")
    state = await supervisor.get_checkpoint.remote(names[0], messages=True)
    await supervisor.create_channel.remote(names[1])
    await supervisor.restore_from_checkpoint.remote(names[1], state)
    rx = RayReferenceReceiver(await get_receiver(names[1], namespace=NAMESPACE))
    with pytest.raises(PayloadLostError):
        await rx.recv(timeout=30)


# --- watching ---


async def test_it_survives_its_own_death_and_finds_the_channels_again(
    ray, supervisor, names, eventually
):
    assert await supervisor.create_channel.remote(names[0]) == "ok"
    handles = await channel(4, backend="ray", name=names[1], namespace=NAMESPACE)
    await kill(ray, supervisor, eventually)
    assert set(names) <= set(await supervisor.list_channels.remote())
    states = await supervisor.get_channel_states.remote()
    assert {states[name] for name in names} == {"alive"}
    assert await supervisor.create_channel.remote(names[1]) == "exists"
    assert await supervisor.delete_channel.remote(names[0]) == "ok"
    for handle in handles:
        await handle.close()


async def test_it_tells_of_a_channel_whose_actor_died_for_good(ray, supervisor, names, eventually):
    actor_options = {"max_restarts": 1}
    tx, _rx = await channel(
        4, backend="ray", name=names[0], namespace=NAMESPACE, actor_options=actor_options
    )
    await supervisor.create_channel.remote(names[1])
    actor = tx._channel.owner.actor
    await kill(ray, actor, eventually)
    assert (await supervisor.get_channel_states.remote())[names[0]] == "alive"
    await kill(ray, actor, eventually)
    states = await supervisor.get_channel_states.remote()
    assert (states[names[0]], states[names[1]]) == ("dead", "alive")
    assert names[0] not in await supervisor.list_channels.remote()
    # Made anew, it lives; and one that is deleted is not dead.
    assert await supervisor.create_channel.remote(names[0]) == "ok"
    assert (await supervisor.get_channel_states.remote())[names[0]] == "alive"
    assert await asyncio.to_thread(delete_channel, names[0], namespace=NAMESPACE)
    assert names[0] not in await supervisor.get_channel_states.remote()


async def test_who_died_is_forgotten_when_it_is_deleted(ray, supervisor, names, eventually):
    actor_options = {"max_restarts": 0}
    tx, _rx = await channel(
        4, backend="ray", name=names[0], namespace=NAMESPACE, actor_options=actor_options
    )
    assert (await supervisor.get_channel_states.remote())[names[0]] == "alive"
    await kill(ray, tx._channel.owner.actor, eventually)
    assert (await supervisor.get_channel_states.remote())[names[0]] == "dead"
    assert await supervisor.delete_channel.remote(names[0]) == "missing"
    assert names[0] not in await supervisor.get_channel_states.remote()
