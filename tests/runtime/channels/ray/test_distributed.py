"""Ray channels between processes and nodes: handles that travel, and what keeps a channel open."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import time

import pytest

from klaw_core.runtime.channels import ChannelClosedError, get_sender

pytestmark = pytest.mark.ray

PLACES = ["here", "there"]


@pytest.fixture
def tasks(ray):
    """Remote functions, each takes its handles in a list or plainly."""

    @ray.remote(num_cpus=0)
    def send(tx, values):
        with tx:
            for value in values:
                tx.blocking_send(value)
        return "sent"

    @ray.remote(num_cpus=0)
    def receive_all(rx):
        with rx:
            return list(rx)

    @ray.remote(num_cpus=0)
    def drop(handle):
        return repr(handle)

    class Tasks:
        pass

    made = Tasks()
    made.send, made.receive_all, made.drop = send, receive_all, drop
    return made


@pytest.fixture
def worker(ray):
    """An asynchronous actor that keeps a handle."""

    @ray.remote(num_cpus=0)
    class Worker:
        async def keep(self, handle):
            self.handle = handle

        async def send(self, value):
            await self.handle.send(value)

        async def receive(self):
            return await self.handle.recv()

        async def receive_all(self):
            return [value async for value in self.handle]

        async def drop(self):
            del self.handle

    made = []

    def make(**options):
        made.append(Worker.options(**options).remote())
        return made[-1]

    yield make
    for actor in made:
        ray.kill(actor)


@pytest.mark.parametrize("where", PLACES)
async def test_a_sender_handed_to_a_task_keeps_the_channel_open(ray_channel, tasks, placed, where):
    tx, rx = await ray_channel(4, where="here")
    sent = tasks.send.options(**placed(where)).remote(tx, list(range(20)))
    await tx.close()  # the handle on its way holds the side open
    assert [value async for value in rx] == list(range(20))
    assert await sent == "sent"


@pytest.mark.parametrize("where", PLACES)
async def test_a_receiver_handed_to_a_task_takes_its_share(ray_channel, tasks, placed, where):
    tx, rx = await ray_channel(4, where="there")
    received = tasks.receive_all.options(**placed(where)).remote(rx)
    await rx.close()
    for n in range(20):
        await tx.send(n)
    await tx.close()
    assert await received == list(range(20))


async def test_handles_are_kept_by_asynchronous_actors(ray_channel, worker, placed, eventually):
    tx, rx = await ray_channel(4)
    sender, receiver = worker(**placed("here")), worker(**placed("there"))
    await sender.keep.remote(tx)
    await receiver.keep.remote(rx)
    await tx.close()
    await rx.close()
    receiving = asyncio.ensure_future(as_task(receiver.receive_all.remote()))
    for n in range(10):
        await sender.send.remote(n)
    await sender.drop.remote()
    assert await receiving == list(range(10))


async def as_task(ref):
    return await ref


async def test_many_processes_share_one_channel(ray_channel, tasks, placed):
    tx, rx = await ray_channel(16)
    sent = [
        tasks.send.options(**placed(PLACES[n % 2])).remote(tx, list(range(100 * n, 100 * n + 100)))
        for n in range(4)
    ]
    received = [tasks.receive_all.options(**placed(PLACES[n % 2])).remote(rx) for n in range(3)]
    await tx.close()
    await rx.close()
    shares = [await share for share in received]
    assert sorted(value for share in shares for value in share) == list(range(400))
    for share in shares:
        for n in range(4):  # each sender's order, at each receiver
            of_one = [value for value in share if value // 100 == n]
            assert of_one == sorted(of_one)
    assert [await each for each in sent] == ["sent"] * 4


async def test_a_handle_dropped_in_a_task_closes(ray_channel, tasks, eventually):
    tx, rx = await ray_channel(4)
    await tasks.drop.remote(tx)
    await eventually.stats(rx, sender_count=1)
    await tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await rx.recv()
    assert caught.value.kind == "ended"


async def test_a_handle_in_flight_holds_its_side_open_until_it_is_claimed(ray_channel, eventually):
    tx, rx = await ray_channel(4)
    pickled = pickle.dumps(tx)
    await tx.close()
    await eventually.stats(rx, sender_count=1)
    loaded = pickle.loads(pickled)
    await loaded.send("from the loaded one")
    assert await rx.recv() == "from the loaded one"
    again = pickle.loads(pickled)  # another one; the hold is used up
    await again.send("from another one")
    assert await rx.recv() == "from another one"
    await eventually.stats(rx, sender_count=2)
    await loaded.close()
    await again.close()
    with pytest.raises(ChannelClosedError):
        await rx.recv()
    late = pickle.loads(pickled)
    with pytest.raises(ChannelClosedError):
        await late.send("the side has closed")


async def test_handles_that_nobody_has_claimed_are_told(ray_channel, eventually):
    tx, rx = await ray_channel(4)

    async def unclaimed():
        extras = (await tx.stats()).backend_extras
        return extras["unclaimed_senders"], extras["unclaimed_receivers"]

    assert await unclaimed() == (0, 0)
    pickled = [pickle.dumps(tx), pickle.dumps(tx), pickle.dumps(rx)]

    async def are_told(*counts):
        return await unclaimed() == counts

    await eventually.true(lambda: are_told(2, 1))
    loaded = [pickle.loads(each) for each in pickled[1:]]
    await eventually.true(lambda: are_told(1, 0))
    await eventually.stats(tx, sender_count=3, receiver_count=2)
    for handle in loaded:
        await handle.close()


class Kills:
    """Whoever unpickles it; once, if ``once`` is a path."""

    def __init__(self, once=None):
        self.once = once

    def __reduce__(self):
        kill = "__import__('os').kill(__import__('os').getpid(), 9)"
        if self.once is None:
            return eval, (kill,)
        return eval, (
            f"__import__('os').path.exists({self.once!r}) or (open({self.once!r}, 'w').close(), {kill})",
        )


@pytest.mark.parametrize("what", ["before", "after", "in its first line", "in the queue"])
@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_a_task_that_dies_at_its_start_is_noticed_within_the_graces(
    ray, ray_channel, what, side
):
    @ray.remote(num_cpus=0, max_retries=0)
    def dies(arguments):
        if what == "in its first line":
            os.kill(os.getpid(), signal.SIGKILL)

    tx, rx = await ray_channel(1, orphan_grace=0.1)
    passed, kept = (tx, rx) if side == "sender" else (rx, tx)
    if what == "in the queue":
        task = dies.options(resources={"there is none": 1}).remote(passed)
        ray.cancel(task)
    else:
        dies.remote([Kills(), passed] if what == "before" else [passed, Kills()])
    await passed.close()
    with pytest.raises(ChannelClosedError) as caught:
        if side == "sender":
            await kept.recv(timeout=60)
        else:
            await asyncio.wait_for(kept.send("fills it"), 60)
            await asyncio.wait_for(kept.send("waits"), 60)
    assert caught.value.kind == "peer_died"


async def test_a_handle_waits_for_the_retry_of_a_task_that_died_at_its_start(
    ray, ray_channel, tmp_path
):
    @ray.remote(num_cpus=0, max_retries=1)
    def send(tx, kills):
        with tx:
            tx.blocking_send("from the retry")

    tx, rx = await ray_channel(4, orphan_grace=0.1)
    sent = send.remote(tx, Kills(once=str(tmp_path / "was killed")))
    await tx.close()
    assert [value async for value in rx] == ["from the retry"]
    await sent


async def test_a_handle_waits_for_a_task_as_long_as_it_is_queued(ray, ray_channel, eventually):
    tx, rx = await ray_channel(4, orphan_grace=0.0)

    @ray.remote(num_cpus=0)
    def wait_for(told):
        time.sleep(told)

    @ray.remote(num_cpus=0)
    def send(tx, _waited):
        with tx:
            tx.blocking_send("after a while")

    sent = send.remote(tx, wait_for.remote(7))  # longer than it takes until a lost one is told
    await tx.close()
    assert [value async for value in rx] == ["after a while"]
    await sent


async def test_a_channel_travels_through_a_channel(ray_channel, worker, placed):
    carrier_tx, carrier_rx = await ray_channel(4)
    tx, rx = await ray_channel(4)
    there = worker(**placed("there"))
    await there.keep.remote(carrier_rx)

    await carrier_tx.send({"answer to": tx})
    await tx.close()

    @ray_remote(there)
    async def answer(carrier):
        reply = (await carrier.recv())["answer to"]
        async with reply:
            await reply.send("answered")

    await answer(carrier_rx)
    assert [value async for value in rx] == ["answered"]


def ray_remote(_actor):
    """Runs the coroutine in a task of another process."""
    import ray

    def decorate(function):
        remote = ray.remote(num_cpus=0)(lambda handle: asyncio.run(function(handle)))

        async def call(handle):
            return await remote.remote(handle)

        return call

    return decorate


async def test_a_named_channel_is_used_from_plain_tasks(ray, ray_cluster, name):
    from klaw_core.runtime.channels import blocking_get_sender, channel

    tx, rx = await channel(4, backend="ray", name=name)

    @ray.remote(num_cpus=0)
    def send_by_name(n):
        with blocking_get_sender(name, wait=20) as sender:
            sender.blocking_send(n)

    for n in range(3):
        await send_by_name.remote(n)
        assert await rx.recv() == n
    assert (await get_sender(name)).same_channel(tx)


async def test_statistics_count_receivers_by_node(ray_channel, worker, placed, eventually):
    tx, rx = await ray_channel(4, where="here")
    there = worker(**placed("there"))
    await there.keep.remote(rx)

    async def both_nodes():
        return sorted((await tx.stats()).backend_extras["per_node_receivers"].values()) == [1, 1]

    await eventually.true(both_nodes)


async def test_after_ray_shutdown_a_process_lets_go_of_its_handles(ray_cluster, name, eventually):
    import subprocess
    import sys

    from klaw_core.runtime.channels import channel

    tx, rx = await channel(4, backend="ray", name=name)
    code = f"""
import ray
ray.init(log_to_driver=False)
from klaw_core.runtime.channels import blocking_get_sender
tx = blocking_get_sender({name!r})
ray.shutdown()
tx.blocking_send("its connection is its own")
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert await rx.recv() == "its connection is its own"
    await eventually.stats(rx, sender_count=1)  # the interpreter's exit closed the other
    await tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await rx.recv()
    assert caught.value.kind == "ended"
