"""What a channel with checkpoint_dir keeps, and what of it survives its actor: on its node, on another, under load.

KLAW_KILLS says how many actors are killed under load (a fifth of it), and KLAW_ACTORS how many nodes are lost (half).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections import Counter

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    channel,
    delete_channel,
    get_receiver,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

KILLS = min(4, int(os.environ.get("KLAW_KILLS", "10")) // 5)  # Ray restarts an actor four times
LOSSES = max(1, int(os.environ.get("KLAW_ACTORS", "2")) // 2)
LACKS = re.compile(r"the channel was restored from a checkpoint that lacks (\d+) messages")
RESTARTED = "the channel's actor was restarted"


def saving_each(seconds):
    """Options of an actor that writes a checkpoint so often; by itself, never, if that is None."""
    period = 1e6 if seconds is None else seconds
    return {"runtime_env": {"env_vars": {"KLAW_CHECKPOINT_PERIOD": str(period)}}}


@pytest.fixture
async def kept(tmp_path, ray_cluster):
    """Makes channels that keep what they hold in a folder, and only write it down when they are told to."""
    made = []

    async def make(capacity=64, *, seconds=None, **settings):
        options = saving_each(seconds) | settings.pop("actor_options", {})
        settings = {"checkpoint_dir": tmp_path / "kept", "actor_options": options} | settings
        handles = await channel(capacity, backend="ray", **settings)
        made.extend(handles)
        return handles

    yield make
    for handle in made:
        with contextlib.suppress(ChannelClosedError):  # what it had sent is lost
            await handle.close()


def actor_of(handle):
    return handle._channel.owner.actor


def files_of(tmp_path):
    """(epoch, number) of each checkpoint, the oldest first, and the paths."""
    found = (tmp_path / "kept").glob("*/*.checkpoint")
    by_age = sorted(((*map(int, path.stem.split("-")),), path) for path in found)
    return [age for age, _ in by_age], [path for _, path in by_age]


async def kill(ray, handle):
    """The process of its actor; returns once Ray has started it again, or given it up."""
    from ray._private.state import actors

    actor_id = actor_of(handle)._actor_id.hex()
    before = actors(actor_id)
    os.kill(before["Pid"], signal.SIGKILL)
    for _ in range(600):
        found = actors(actor_id)
        if found["State"] == "DEAD" or (found["State"], found["NumRestarts"]) == (
            "ALIVE",
            before["NumRestarts"] + 1,
        ):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come back")


async def told(operation):
    """What it raises before it goes on, and what it gives then."""
    messages = []
    while True:
        try:
            return messages, await asyncio.wait_for(operation(), 60)
        except ChannelBackendErrorException as error:
            messages.append(error.message)


async def losses_told(tx, value):
    """Sends it; and how many of what it had sent before its handle has said to be lost."""
    # A loss of which it hears while it sends is raised by its next operation.
    messages = [*(await told(lambda: tx.send(value)))[0], *(await told(tx.flush))[0]]
    losses = [LACKS.match(message) for message in messages if not message.startswith(RESTARTED)]
    return [int(loss[1]) for loss in losses]


# --- the folder ---


@pytest.fixture
def folder_of(ray_cluster, tmp_path):
    from klaw_core.runtime.channels.ray.checkpoints import CheckpointFolder

    return lambda epoch, actor="actor", name="jobs": CheckpointFolder(
        str(tmp_path), name, actor, epoch
    )


def texts(paths):
    return [path.read_text() for path in paths]


def test_a_folder_keeps_two_generations_and_gives_those_of_earlier_epochs_newest_first(folder_of):
    first = folder_of(1)
    for n in range(11):
        first.write(b"1-%d" % n)
    assert list(first.earlier()) == []
    assert texts(folder_of(2).earlier()) == ["1-10", "1-9"]
    second = folder_of(2)
    second.write(b"2-1")
    assert texts(folder_of(3).earlier()) == ["2-1", "1-10"]
    assert texts(second.earlier()) == ["1-10"]


def test_who_was_taken_for_dead_and_lives_on_spoils_nothing(folder_of):
    old, new = folder_of(1), folder_of(2)
    new.write(b"new")
    for _ in range(3):
        old.write(b"old")
    assert texts(folder_of(3).earlier())[0] == "new"
    new.write(b"newer")
    assert texts(folder_of(3).earlier()) == ["newer", "new"]


def test_what_was_not_written_to_its_end_is_no_checkpoint(folder_of, monkeypatch):
    first = folder_of(1)
    first.write(b"whole")

    def break_off(descriptor):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(os, "fsync", break_off)
        first.write(b"torn")
    assert texts(folder_of(2).earlier()) == ["whole"]
    first.write(b"again")
    assert texts(folder_of(2).earlier()) == ["again", "whole"]


def test_a_folder_is_its_actors_and_what_others_put_there_stays(folder_of):
    mine, theirs = folder_of(1, "mine", "a/b: ü"), folder_of(1, "theirs", "a/b: ü")
    theirs.write(b"theirs")
    mine.write(b"mine")
    assert mine.path.stat().st_mode & 0o777 == 0o700
    (theirs.path / "notes.txt").write_text("mine")
    mine.remove()
    assert not mine.path.exists()
    assert texts(folder_of(2, "theirs", "a/b: ü").earlier()) == ["theirs"]
    theirs.remove()
    assert [path.name for path in theirs.path.iterdir()] == ["notes.txt"]


# --- an actor that dies ---


async def test_what_is_in_the_checkpoint_survives_and_the_rest_is_told(ray, kept):
    tx, rx = await kept()
    await tx.send_batch(range(10))
    assert await rx.recv() == 0
    assert await actor_of(tx).save_checkpoint.remote() == "ok"
    await tx.send_batch(range(10, 13))
    assert [await rx.recv() for _ in range(2)] == [1, 2]
    await kill(ray, tx)
    assert await losses_told(tx, 13) == [3]
    messages, delivery = await told(rx.recv_acked)
    assert messages == [f"{RESTARTED}, and what came after its last checkpoint is lost"]
    received = [(delivery.value, delivery.redelivered)]
    async with delivery:
        pass
    for _ in range(9):
        async with await rx.recv_acked(timeout=30) as m:
            received.append((m.value, m.redelivered))
    assert received == [(n, True) for n in range(1, 10)] + [(13, False)]
    stats = await actor_of(tx).get_stats.remote()
    assert (stats.total_sent, stats.backend_extras["epoch"]) == (11, 2)


async def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(ray, kept, tmp_path):
    tx, rx = await kept()
    for n in range(3):
        await tx.send(n)
        await actor_of(tx).save_checkpoint.remote()
    ages, paths = files_of(tmp_path)
    assert ages == [(1, 3), (1, 4)]  # the first was that of the empty channel
    paths[-1].write_bytes(paths[-1].read_bytes()[:-1])
    await kill(ray, tx)
    assert await losses_told(tx, 3) == [1]
    _, first = await told(rx.recv)
    assert [first, await rx.recv(), await rx.recv()] == [0, 1, 3]
    # And if both are: it begins empty, and says so.
    await actor_of(tx).save_checkpoint.remote()
    for path in files_of(tmp_path)[1]:
        path.write_bytes(b"something else")
    await kill(ray, tx)
    messages, _ = await told(lambda: tx.send(4))
    assert messages == [f"{RESTARTED}, and what it held is lost"]
    _, first = await told(rx.recv)
    assert first == 4


async def test_another_channels_checkpoint_and_one_of_a_later_epoch_are_not_taken(
    ray, kept, tmp_path
):
    tx, rx = await kept()
    await tx.send("mine")
    await actor_of(tx).save_checkpoint.remote()
    other_tx, _other_rx = await kept(checkpoint_dir=tmp_path / "other")
    await other_tx.send("another's")
    await actor_of(other_tx).save_checkpoint.remote()
    [*_, mine] = files_of(tmp_path)[1]
    [*_, theirs] = sorted((tmp_path / "other").glob("*/*.checkpoint"))
    shutil.copy(theirs, mine.with_name("1-7.checkpoint"))
    shutil.copy(theirs, mine.with_name("9-1.checkpoint"))
    await kill(ray, tx)
    assert (await told(rx.recv))[1] == "mine"


async def test_one_that_died_for_good_goes_on_from_its_file_in_a_channel_made_anew(
    ray, kept, name, tmp_path
):
    from klaw_core.runtime.channels.ray import get_channel_supervisor

    supervisor = get_channel_supervisor()
    tx, _rx = await kept(name=name, actor_options={"max_restarts": 0} | saving_each(None))
    await tx.send_batch(["a", "b"])
    assert await supervisor.save_checkpoint.remote(name) == "ok"
    await kill(ray, tx)
    await asyncio.to_thread(delete_channel, name)
    assert await supervisor.create_channel.remote(name) == "ok"
    state = {"messages": files_of(tmp_path)[1][-1].read_bytes()}
    assert await supervisor.restore_from_checkpoint.remote(name, state) == "ok"
    rx = await get_receiver(name)
    assert [await rx.recv(), await rx.recv()] == ["a", "b"]
    with pytest.raises(ValueError, match="no checkpoint_dir"):
        await supervisor.save_checkpoint.remote(name)
    assert await supervisor.save_checkpoint.remote(f"{name}-missing") == "missing"
    ray.kill(supervisor)


# --- when, and where ---


async def test_it_is_written_by_itself_when_something_has_changed(kept, tmp_path, eventually):
    tx, rx = await kept(seconds=0.05)
    assert files_of(tmp_path)[0] == [(1, 1)]
    await tx.send("a")

    async def is_saved():
        ages, _ = files_of(tmp_path)
        return ages[-1] >= (1, 2) and (await age()) < 5

    async def age():
        return (await tx.stats()).backend_extras["checkpoint_age"]

    await eventually.true(is_saved)
    await asyncio.sleep(0.3)
    before, _ = files_of(tmp_path)
    await asyncio.sleep(0.3)
    assert files_of(tmp_path)[0] == before  # nothing has happened
    # A folder that is gone costs the safety, and not the channel.
    [folder] = (tmp_path / "kept").iterdir()
    folder.rename(tmp_path / "elsewhere")
    await tx.send("b")
    assert [await rx.recv(), await rx.recv()] == ["a", "b"]
    first = await age()
    await asyncio.sleep(0.2)
    assert await age() >= first + 0.1
    with pytest.raises(OSError, match="No such file"):
        await actor_of(tx).save_checkpoint.remote()
    (tmp_path / "elsewhere").rename(folder)

    async def is_saved_again():
        return await age() < first

    await eventually.true(is_saved_again)


async def test_the_files_go_with_the_channel(kept, name, tmp_path, eventually):
    tx, rx = await kept()
    await kept(name=name)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert await asyncio.to_thread(delete_channel, name)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    await tx.close()
    await rx.close()
    await eventually.true(lambda: list((tmp_path / "kept").iterdir()) == [])


async def test_it_is_a_setting_of_the_channel(kept, name, tmp_path):
    tx, _rx = await kept(name=name)
    metadata = await actor_of(tx).get_metadata.remote()
    assert metadata["checkpoint_dir"] == str(tmp_path / "kept")
    await kept(name=name)
    with pytest.raises(ValueError, match="other settings.*checkpoint_dir"):
        await channel(64, backend="ray", name=name)


async def test_a_folder_that_cannot_be_written_is_told_when_the_channel_is_made(kept, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ChannelBackendErrorException, match=r"checkpoint_dir.*can't be used.*file/kept"
    ):
        await kept(checkpoint_dir=tmp_path / "file" / "kept")


# --- under load ---

CAPACITY = 64
LIMIT_S = 90.0


class Client:
    """Of a load: what it was told."""

    def __init__(self, handle):
        self.handle = handle
        self.told = []

    def has_heard_of(self, restarts):
        """(Of one restart it may hear twice: of that, and of what it has lost.)"""
        heard = [
            message
            for message in self.told
            if message.startswith(RESTARTED) or LACKS.match(message)
        ]
        return len(heard) >= restarts


class Sender(Client):
    """Sends numbers, one after the other, until it is stopped."""

    def __init__(self, handle, first):
        super().__init__(handle)
        self._next = first
        self.is_stopped = False
        self.confirmed = []
        self.unknown = []
        self.said_to_be_lost = []  # for each time that it was told: which they may be

    async def run(self):
        while not self.is_stopped:
            number = self._next
            self._next += 1
            if await self._does(self.handle.send(number)):
                self.confirmed.append(number)
            else:
                self.unknown.append(number)
        await self._does(self.handle.flush())
        await self._does(self.handle.close())

    async def _does(self, operation):
        try:
            await operation
        except ChannelBackendErrorException as error:
            self.told.append(error.message)
            if lacks := LACKS.match(error.message):
                # The last ones before the restart; perhaps one was sent since.
                self.said_to_be_lost.append(set(self.confirmed[-int(lacks[1]) - 1 :]))
            return False
        return True


class Receiver(Client):
    """Receives until the end."""

    async def run(self, received):
        while True:
            try:
                delivery = await self.handle.recv_acked()
            except ChannelBackendErrorException as error:
                self.told.append(error.message)
                continue
            except ChannelClosedError:
                return
            async with delivery:
                received.append((delivery.value, delivery.redelivered))
                await asyncio.sleep(0.002)  # so that the channel is full


class Load:
    """Two senders and two receivers, who count."""

    def __init__(self, tx, rx):
        self.senders = [Sender(tx, 0), Sender(tx.clone(), 1_000_000)]
        self.receivers = [Receiver(rx), Receiver(rx.clone())]
        self.received = []  # (number, whether it was marked), in order
        self._tasks = [asyncio.ensure_future(sender.run()) for sender in self.senders]
        self._tasks += [asyncio.ensure_future(rx.run(self.received)) for rx in self.receivers]

    async def goes_on(self):
        """Until all of it has moved by some more."""
        counts = [len(sender.confirmed) + CAPACITY for sender in self.senders]
        received = len(self.received) + 4 * CAPACITY
        await self._until(
            lambda: (
                len(self.received) >= received
                and all(
                    len(sender.confirmed) >= n
                    for sender, n in zip(self.senders, counts, strict=True)
                )
            )
        )

    async def all_have_heard_of(self, restarts):
        await self._until(
            lambda: all(
                client.has_heard_of(restarts) for client in (*self.senders, *self.receivers)
            )
        )

    async def _until(self, condition):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            told = [client.told[-2:] for client in (*self.senders, *self.receivers)]
            assert time.monotonic() < deadline, f"{len(self.received)} received; {told}"
            assert not any(task.done() for task in self._tasks), told
            await asyncio.sleep(0.01)

    async def end(self):
        """Until all that is there is received. (The end itself would only come ten seconds after a restart.)"""
        for sender in self.senders:
            sender.is_stopped = True
        await asyncio.wait_for(asyncio.gather(*self._tasks[:2]), LIMIT_S)
        while (stats := await self.receivers[0].handle.stats()).queue_size + stats.in_flight > 0:
            await asyncio.sleep(0.05)
        for receiver in self.receivers:
            await receiver.handle.close()
        await asyncio.wait_for(asyncio.gather(*self._tasks), LIMIT_S)

    def check(self, restarts, *, is_kept):
        received = {number for number, _ in self.received}
        known = {n for sender in self.senders for n in [*sender.confirmed, *sender.unknown]}
        assert received <= known
        unmarked = Counter(number for number, is_marked in self.received if not is_marked)
        assert max(unmarked.values()) == 1, "received twice, and not marked"
        for client in (*self.senders, *self.receivers):
            assert client.has_heard_of(restarts), client.told
        lost = [set(sender.confirmed) - received for sender in self.senders]
        # All that was lost was in the channel, then.
        assert len(set.union(*lost)) <= restarts * CAPACITY
        if not is_kept:
            return
        assert any(is_marked for _, is_marked in self.received)
        for sender, its in zip(self.senders, lost, strict=True):
            assert its <= set().union(*sender.said_to_be_lost), "lost, and not said so"


async def test_what_a_killed_actor_loses_under_load_is_told_and_nothing_comes_twice_unmarked(
    ray, kept
):
    tx, rx = await kept(CAPACITY, seconds=0.05)
    load = Load(tx, rx)
    await load.goes_on()
    for _ in range(KILLS):
        await kill(ray, tx)
        await load.goes_on()
    await load.end()
    load.check(KILLS, is_kept=True)


@pytest.mark.parametrize("loss", range(LOSSES))
async def test_what_is_lost_with_a_node_under_load_is_told_and_what_is_in_a_checkpoint_is_not(
    ray_cluster, start_node, kept, loss
):
    from ray._private.state import actors
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ip = f"127.0.0.{5 + loss}"
    lost = await asyncio.to_thread(start_node, ip)
    there = {"scheduling_strategy": NodeAffinitySchedulingStrategy(lost, soft=True)}

    async def on_the_lost_node(**settings):
        for _ in range(10):  # that is a wish, as it has to be: it is to move
            handles = await kept(CAPACITY, actor_options=there, **settings)
            if actors(actor_of(handles[0])._actor_id.hex())["Address"]["NodeID"] == lost:
                return handles
        raise AssertionError("Ray places it elsewhere")

    both = [await on_the_lost_node(seconds=0.05), await on_the_lost_node(checkpoint_dir=None)]
    loads = with_folder, without = [Load(*handles) for handles in both]
    await asyncio.gather(*(load.goes_on() for load in loads))
    ray_cluster.kill_node(ip)
    # As soon as Ray has noticed: until then they only hear that the actor can't be reached.
    await asyncio.gather(*(load.all_have_heard_of(1) for load in loads))
    await asyncio.gather(*(load.goes_on() for load in loads))
    await asyncio.gather(*(load.end() for load in loads))
    with_folder.check(1, is_kept=True)
    without.check(1, is_kept=False)
