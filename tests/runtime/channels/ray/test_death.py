"""Processes that are killed, or stand still, and what docs/delivery.md promises then: counted.

KLAW_KILLS says how many senders and receivers are killed in a row (10 here, 100 in .ci/run), and
KLAW_ACTORS the actors of how many channels are.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from klaw_core.runtime.channels import ChannelBackendErrorException, ChannelClosedError, channel

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("KLAW_KILLS", "10"))
ACTORS = int(os.environ.get("KLAW_ACTORS", "2"))
VICTIM = Path(__file__).with_name("victim.py")
PER_VICTIM = 1_000_000


class Victims:
    """Starts them; reads what they say."""

    def __init__(self, endpoint):
        self._endpoint = pickle.dumps(endpoint).hex()
        self._running = []

    def start(self, *what):
        process = subprocess.Popen(
            [sys.executable, VICTIM, *map(str, what), self._endpoint],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def kill(self, process):
        """Gives the numbers that it has said before."""
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        self._running.remove(process)
        return [int(number) for number in said]

    def end(self):
        for process in list(self._running):
            self.kill(process)


@pytest.fixture
async def victims():
    made = []

    async def of(handle, *, by_tcp=False):
        endpoint = await handle._channel.owner.actor.get_endpoint.remote()
        made.append(Victims(endpoint | ({"unix_path": ""} if by_tcp else {})))
        return made[-1]

    yield of
    for each in made:
        each.end()


@pytest.mark.parametrize("by_tcp", [False, True], ids=["unix_socket", "tcp"])
async def test_killed_senders_lose_nothing_that_they_had_sent(
    ray_channel, victims, by_tcp, eventually
):
    tx, rx = await ray_channel(64)  # its own sender keeps the channel open
    crowd = await victims(tx, by_tcp=by_tcp)
    received = []

    async def receive():
        received.extend([number async for number in rx])

    receiving = asyncio.ensure_future(receive())
    confirmed = []
    for n in range(KILLS):
        process = crowd.start("send", n * PER_VICTIM)
        first = await asyncio.to_thread(process.stdout.readline)
        confirmed.append(int(first))
        await asyncio.sleep(0.002 * (n % 10))
        confirmed += await asyncio.to_thread(crowd.kill, process)
    await eventually.stats(tx, sender_count=1)
    await tx.close()
    await receiving
    assert max(Counter(received).values()) == 1, "applied twice"
    assert set(confirmed) <= set(received)
    for n in range(KILLS):  # at most one more of each than it could say, and in order
        of_one = [number for number in received if number // PER_VICTIM == n]
        assert of_one == list(range(n * PER_VICTIM, n * PER_VICTIM + len(of_one)))
    assert len(received) <= len(confirmed) + KILLS


@pytest.mark.parametrize("by_tcp", [False, True], ids=["unix_socket", "tcp"])
async def test_what_killed_receivers_had_not_confirmed_comes_again(
    ray_channel, victims, by_tcp, eventually
):
    tx, rx = await ray_channel(64)
    crowd = await victims(rx, by_tcp=by_tcp)
    stop = asyncio.Event()
    sent = []

    async def send():
        while not stop.is_set():
            await tx.send(len(sent))
            sent.append(len(sent))

    sending = asyncio.ensure_future(send())
    taken = Counter()
    for n in range(KILLS):
        process = crowd.start("receive")
        taken[int(await asyncio.to_thread(process.stdout.readline))] += 1
        await asyncio.sleep(0.002 * (n % 10))
        taken.update(await asyncio.to_thread(crowd.kill, process))
    stop.set()
    while not sending.done():  # it may wait for room
        with contextlib.suppress(TimeoutError):
            taken[await rx.recv(timeout=0.1)] += 1
    await eventually.stats(tx, receiver_count=1)
    await tx.close()
    async for number in rx:
        taken[number] += 1
    # Taken is what recv() has returned: of each victim perhaps one that it had no time to speak of.
    assert set(taken) <= set(sent)
    assert len(set(sent) - set(taken)) <= KILLS, "lost"
    twice = [number for number, times in taken.items() if times > 1]
    assert len(twice) <= KILLS, "more than what could not be confirmed"
    assert max(taken.values()) <= KILLS + 1


@pytest.mark.parametrize("by_tcp", [False, True], ids=["unix_socket", "tcp"])
async def test_what_killed_receivers_had_not_settled_comes_again_marked(
    ray_channel, victims, by_tcp
):
    tx, rx = await ray_channel(64)
    crowd = await victims(rx, by_tcp=by_tcp)
    await tx.send_batch(range(10))
    process = crowd.start("acked")
    for number in range(10):
        assert int(await asyncio.to_thread(process.stdout.readline)) == number
    await tx.close()
    receiving = asyncio.ensure_future(rx.recv_acked())  # the end waits for what may come back
    await asyncio.to_thread(crowd.kill, process)
    again = []
    async with await receiving as m:
        again.append((m.value, m.redelivered, m.attempt))
    async for m in rx.acked():
        async with m:
            again.append((m.value, m.redelivered, m.attempt))
    assert again == [(number, True, 2) for number in range(10)]


async def test_a_stopped_receiver_repeats_nothing_when_it_goes_on(ray_channel, victims):
    tx, rx = await ray_channel(64)
    crowd = await victims(rx)
    process = crowd.start("receive")
    await tx.send(0)
    assert int(await asyncio.to_thread(process.stdout.readline)) == 0
    process.send_signal(signal.SIGSTOP)  # while it waits for the next one
    await tx.send(1)
    received = await rx.recv(timeout=50)  # once it is taken for dead
    assert received == 1
    process.send_signal(signal.SIGCONT)
    await asyncio.sleep(0.5)
    said = await asyncio.to_thread(crowd.kill, process)
    assert said == []


async def test_a_sender_that_stood_still_for_a_while_is_alive(ray_channel, victims):
    tx, rx = await ray_channel(4)
    crowd = await victims(tx)
    process = crowd.start("send", 0)
    for n in range(10):
        assert await rx.recv(timeout=30) == n
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2)  # less than the four heartbeats
    process.send_signal(signal.SIGCONT)
    for n in range(10, 100):
        assert await rx.recv(timeout=30) == n


@pytest.mark.parametrize("seconds", [2, 8])
async def test_an_actor_that_stood_still_goes_on_and_has_lost_nothing(ray, ray_channel, seconds):
    tx, rx = await ray_channel(64)
    pid = pid_of(ray, tx)
    sent = 0
    for _ in range(10):
        await tx.send(sent)
        sent += 1
    os.kill(pid, signal.SIGSTOP)
    sending = asyncio.ensure_future(tx.send(sent))
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    try:
        await asyncio.wait_for(sending, 60)
        sent += 1
    except ChannelBackendErrorException as error:  # it was out of reach for too long
        assert seconds > 4, error  # noqa: PT017  the short pause must not be seen
    received = []
    while len(received) < sent:
        try:
            received.append(await rx.recv(timeout=20))
        except ChannelBackendErrorException:
            continue
    assert received[:10] == list(range(10))


async def test_the_death_of_the_last_sender_ends_the_channel_after_the_grace(ray_channel, victims):
    tx, rx = await ray_channel(4, orphan_grace=0.5)
    crowd = await victims(tx)
    process = crowd.start("send", 0)
    assert await rx.recv(timeout=30) == 0
    await tx.close()
    said = await asyncio.to_thread(crowd.kill, process)
    got = []
    with pytest.raises(ChannelClosedError) as caught:
        while True:
            got += [await rx.recv(timeout=30)]
    assert caught.value.kind == "peer_died"
    assert set(said) <= {0, *got}


async def test_during_the_grace_a_replacement_may_come(ray_channel, victims, eventually):
    tx, rx = await ray_channel(4, orphan_grace=30.0)
    crowd = await victims(tx)
    process = crowd.start("send", 0)
    assert await rx.recv(timeout=30) == 0
    await tx.close()
    await asyncio.to_thread(crowd.kill, process)
    await eventually.stats(rx, sender_count=0)
    crowd.start("send", 500)
    while await rx.recv(timeout=30) != 510:
        pass


async def test_a_replacement_that_closes_before_a_death_is_noticed_has_the_last_word(
    ray_channel, victims
):
    tx, rx = await ray_channel(64)
    crowd = await victims(tx, by_tcp=True)  # its death is noticed when it did not reconnect
    process = crowd.start("send", 0)
    assert await rx.recv(timeout=30) == 0
    await asyncio.to_thread(crowd.kill, process)
    sending = asyncio.ensure_future(tx.send("the replacement's"))
    while await rx.recv(timeout=30) != "the replacement's":
        pass
    await sending
    await tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await rx.recv(timeout=30)
    assert caught.value.kind == "ended"


async def test_a_task_that_ray_retries_on_another_node_ends_its_stream_in_an_orderly_way(
    ray, ray_channel, placed, tmp_path
):
    was_killed = tmp_path / "was killed"

    @ray.remote(num_cpus=0, max_retries=1, **placed("there"))
    def produce(tx):
        with tx:
            if was_killed.exists():
                tx.blocking_send("from the retry")
            else:
                tx.blocking_send("from the first")
                was_killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    tx, rx = await ray_channel(4, where="here")
    produced = produce.remote(tx)
    await tx.close()
    assert [value async for value in rx] == ["from the first", "from the retry"]
    await produced


def pid_of(ray, tx):
    from ray._private.state import actors

    return actors(tx._channel.owner.actor._actor_id.hex())["Pid"]


async def tells_once_and_goes_on(operation, told=()):
    """Each handle is told once of the restart, and, as long as that takes, that the actor is out of reach."""
    told = list(told)
    result = None
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            result = await asyncio.wait_for(operation(), 60)
        except ChannelBackendErrorException as error:
            told.append(error.message)
        else:
            break
    restarts = [
        message for message in told if message.startswith("the channel's actor was restarted")
    ]
    assert len(restarts) == 1, told
    others = [message for message in told if message not in restarts]
    assert all(message.startswith("the channel's actor can't be reached") for message in others), (
        told
    )
    return result


async def test_the_actors_of_channels_are_killed_and_the_channels_go_on(
    ray, ray_channel, eventually
):
    channels = [await ray_channel(8) for _ in range(ACTORS)]
    for round_ in range(4):
        waiting = [asyncio.ensure_future(rx.recv()) for _, rx in channels]
        for tx, _ in channels:
            await eventually.stats(tx, waiting_receivers=1)
        for tx, _ in channels:
            os.kill(pid_of(ray, tx), signal.SIGKILL)
        done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
        assert [type(error) for error in done] == [ChannelBackendErrorException] * ACTORS
        for (tx, rx), error in zip(channels, done, strict=True):
            await tells_once_and_goes_on(functools.partial(tx.send, round_))
            assert await tells_once_and_goes_on(rx.recv, [error.message]) == round_
    # Past its last restart.
    for tx, rx in channels:
        os.kill(pid_of(ray, tx), signal.SIGKILL)
        for operation in (rx.recv(), tx.send(1)):
            with pytest.raises(ChannelBackendErrorException, match="for good"):
                await asyncio.wait_for(operation, 60)


async def test_a_named_channel_whose_actor_died_for_good_can_be_made_anew(
    ray, ray_cluster, name, eventually
):
    tx, rx = await channel(4, backend="ray", name=name)
    actor = tx._channel.owner.actor
    waiting = asyncio.ensure_future(rx.recv())
    await eventually.stats(tx, waiting_receivers=1)
    ray.kill(actor, no_restart=True)
    with pytest.raises(ChannelBackendErrorException, match="for good"):
        await asyncio.wait_for(waiting, 60)
    tx, rx = await channel(4, backend="ray", name=name)
    await tx.send("anew")
    assert await rx.recv() == "anew"


async def test_a_node_that_is_lost_takes_only_its_own_with_it(
    ray, ray_cluster, start_node, ray_channel, eventually
):
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    lost = await asyncio.to_thread(start_node, "127.0.0.4")

    @ray.remote(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(lost, soft=False))
    class OnTheLostNode:
        async def take(self, rx, tx):
            self.handles = rx, tx
            return await rx.recv()

    tx, rx = await ray_channel(8, where="here", orphan_grace=0.0)
    back_tx, back_rx = await ray_channel(8, where="here", orphan_grace=0.0)
    actor = OnTheLostNode.remote()
    taken = actor.take.remote(rx, back_tx)
    await tx.send("taken")
    assert await taken == "taken"
    await back_tx.close()
    await eventually.stats(tx, receiver_count=2)
    ray_cluster.kill_node("127.0.0.4")
    with pytest.raises(ChannelClosedError) as caught:  # its sender was the last one
        await asyncio.wait_for(back_rx.recv(), 60)
    assert caught.value.kind == "peer_died"
    await eventually.stats(tx, receiver_count=1)
    await tx.send("the others go on")
    assert await rx.recv() == "the others go on"
