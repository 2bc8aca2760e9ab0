"""Pools of readers: each item is processed, whatever becomes of the readers.

Most of it runs readers and pools as plain objects in this process, which is the same code without Ray's workers.
KLAW_POOL_ITEMS says how many items go through the pool whose readers are killed, one each second (3000 here, 10000 in
.ci/run).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import threading
import time
from collections import defaultdict

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    RecvTimeoutError,
    broadcast,
    channel,
    delete_channel,
    get_receiver,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ITEMS = int(os.environ.get("KLAW_POOL_ITEMS", "3000"))
LIMIT_S = 60


@pytest.fixture
def pools(ray_cluster):
    from klaw_core.runtime.channels.ray import pools

    return pools


@pytest.fixture
def readers(pools):
    """Classes of readers. They are made here, so that Ray sends them to its workers as they are."""

    class Telling(pools.ChannelReader):
        """Sends (item, attempt, redelivered, pid) once it has processed an item."""

        def __init__(self, channel_name, namespace="klaw", *, results, seconds=0.0):
            super().__init__(channel_name, namespace)
            self.results = results
            self.seconds = seconds

        async def process(self, item):
            await asyncio.sleep(self.seconds)
            await self.results.send((item, self.attempt, self.redelivered, os.getpid()))

    class Blocking(Telling):
        """The same, in a thread of its own."""

        def process(self, item):
            time.sleep(self.seconds)
            self.results.blocking_send((item, self.attempt, self.redelivered, os.getpid()))

    class Hanging(Telling):
        """Hangs when it gets an item for the first time."""

        async def process(self, item):
            if self.attempt == 1:
                await asyncio.sleep(LIMIT_S)
            await super().process(item)

    class Deadly(Telling):
        """Is killed by 666."""

        async def process(self, item):
            if item == 666:
                os.kill(os.getpid(), signal.SIGKILL)
            await super().process(item)

    class Unfit(Telling):
        """Can't be made."""

        def __init__(self, channel_name, namespace="klaw", *, results):
            super().__init__(channel_name, namespace, results=results)
            raise ValueError("there is no model")

    class Readers:
        pass

    made = Readers()
    made.Telling, made.Blocking, made.Hanging = Telling, Blocking, Hanging
    made.Deadly, made.Unfit = Deadly, Unfit
    return made


@pytest.fixture
async def jobs(ray_cluster, name):
    """Sends to the channel that is read. A receiver of ours keeps it open as well."""
    tx, rx = await channel[int](10_000, backend="ray", name=name, orphan_grace=60.0)
    yield tx
    await rx.close()
    with contextlib.suppress(ChannelClosedError):
        await tx.close()
    delete_channel(f"{name}.dead_letters")


@pytest.fixture
async def results(ray_channel):
    """A channel for what readers tell."""
    return await ray_channel(10_000, orphan_grace=60.0)


@pytest.fixture
async def results_here():
    """The same for readers of this process."""
    tx, rx = await channel()
    yield tx, rx
    await tx.close()
    await rx.close()


@pytest.fixture
def pool_of(ray, placed, name, pools, results):
    """Makes pools of readers on the channel `name`, which end with the test."""
    made = []

    async def make(size, reader_class, *, kwargs=None, options=None, **settings):
        pool = pools.ReaderPoolController.options(**placed("here")).remote(
            name,
            size,
            reader_class=reader_class,
            reader_kwargs={"results": results[0], **(kwargs or {})},
            reader_options={"num_cpus": 0, **(options or {})},
            **settings,
        )
        made.append(pool)
        assert await within(pool.num_readers.remote()) == size  # and it has the channel
        return pool

    yield make
    for pool in made:
        ray.kill(pool)


@pytest.fixture
def run(start):
    """Runs a reader in this process: gives the task that is its `start`."""
    return lambda reader, **policy: start(reader.start(**policy))


async def within(awaitable):
    return await asyncio.wait_for(awaitable, LIMIT_S)


async def stats_say(pool, **wanted):
    deadline = time.monotonic() + LIMIT_S
    while True:
        stats = await within(pool.stats.remote() if hasattr(pool.stats, "remote") else pool.stats())
        found = {name: getattr(stats, name) for name in wanted}
        if found == wanted:
            return stats
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        await asyncio.sleep(0.02)


async def told(results, count):
    return [await within(results[1].recv()) for _ in range(count)]


# ----------------------------------------------------------------------------------------- readers


@pytest.mark.parametrize("kind", ["Telling", "Blocking"])
async def test_a_reader_processes_what_comes_until_the_channel_ends(
    jobs, name, results_here, readers, run, kind
):
    reader = getattr(readers, kind)(name, results=results_here[0])
    reading = run(reader)
    await jobs.send_batch(range(5))
    assert [one[:3] for one in await told(results_here, 5)] == [(n, 1, False) for n in range(5)]
    await jobs.close()
    stats = await within(reading)
    assert (stats.processed, stats.failed, stats.redelivered, stats.dead_letters) == (5, 0, 0, 0)


async def test_a_plain_process_does_not_block_the_event_loop(jobs, name, pools, run):
    may_end = threading.Event()

    class Slow(pools.ChannelReader):
        def process(self, item):
            assert may_end.wait(LIMIT_S)

    reading = run(Slow(name))
    await jobs.send(1)
    while (await jobs.stats()).in_flight < 1:
        await asyncio.sleep(0.01)
    may_end.set()  # by this loop
    await jobs.close()
    assert (await within(reading)).processed == 1


async def test_what_fails_comes_again_marked_and_later_each_time(jobs, name, pools, run):
    seen = []

    class Failing(pools.ChannelReader):
        def process(self, item):
            seen.append((self.attempt, self.redelivered, time.monotonic()))
            if self.attempt < 4:
                raise ValueError(f"{item} is odd")

    reading = run(Failing(name), retry_delay=0.1)
    await jobs.send(1)
    await jobs.close()
    stats = await within(reading)
    assert (stats.processed, stats.failed, stats.redelivered) == (1, 3, 3)
    assert [one[:2] for one in seen] == [(1, False), (2, True), (3, True), (4, True)]
    pauses = [later[2] - sooner[2] for sooner, later in itertools.pairwise(seen)]
    assert all(pause > 0.09 * 2**n for n, pause in enumerate(pauses)), pauses


async def test_what_fails_too_often_is_a_dead_letter(jobs, name, pools, run):
    class Failing(pools.ChannelReader):
        async def process(self, item):
            raise ValueError(f"{item} is odd")

    reading = run(Failing(name), max_attempts=2, retry_delay=0.01)
    await jobs.send(1)
    dead = await get_receiver(f"{name}.dead_letters", wait=LIMIT_S)
    assert await within(dead.recv()) == pools.DeadLetter(1, 2, "ValueError: 1 is odd")
    await jobs.close()
    stats = await within(reading)
    assert (stats.processed, stats.failed, stats.dead_letters) == (0, 2, 1)


async def test_a_reader_without_process_says_so_and_loses_nothing(jobs, name, pools, run, caplog):
    reading = run(pools.ChannelReader(name), max_attempts=1)
    await jobs.send(1)
    dead = await get_receiver(f"{name}.dead_letters", wait=LIMIT_S)
    assert "has to override process" in (await within(dead.recv())).error
    await jobs.close()
    await within(reading)
    assert "attempt 1 failed" in caplog.text


@pytest.mark.parametrize("raised", [StopIteration, SystemExit])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_odd_ways_to_fail_are_failures(jobs, name, pools, run, raised, kind):
    class Plain(pools.ChannelReader):
        def process(self, item):
            if self.attempt == 1:
                raise raised

    class Coroutine(Plain):
        async def process(self, item):
            super().process(item)

    reading = run((Plain if kind == "plain" else Coroutine)(name), retry_delay=0.01)
    await jobs.send(1)
    await jobs.close()
    stats = await within(reading)
    assert (stats.failed, stats.processed) == (1, 1)


async def test_a_dead_letter_stays_in_the_channel_while_there_is_no_room_for_it(
    jobs, name, pools, run, monkeypatch, caplog
):
    class Failing(pools.ChannelReader):
        async def process(self, item):
            raise ValueError("no")

    monkeypatch.setattr(pools, "_RETRY_DELAY_MAX_S", 0.05)
    # One that is there is used as it is.
    dead_tx, dead_rx = await channel(1, backend="ray", name=f"{name}.dead_letters")
    await dead_tx.send("full")
    reading = run(Failing(name), max_attempts=1)
    await jobs.send(1)
    while "can't be sent" not in caplog.text:
        await asyncio.sleep(0.01)
    assert not reading.done()
    assert await dead_rx.recv() == "full"
    letter = await within(dead_rx.recv())
    assert letter.item == 1
    assert letter.attempts >= 1
    await jobs.close()
    assert (await within(reading)).failed == 1, "it was processed again"


class Odd:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ValueError("odd")


async def test_a_message_that_cannot_be_decoded_stops_no_reader(
    jobs, name, results_here, readers, run, caplog
):
    reading = run(readers.Telling(name, results=results_here[0]))
    await jobs.send_batch([1, Odd(), 2])
    assert [one[0] for one in await told(results_here, 2)] == [1, 2]
    await jobs.close()
    stats = await within(reading)
    assert (stats.processed, stats.failed) == (2, 1)
    assert "can't be read: ValueError('odd')" in caplog.text


async def test_a_reader_that_is_stopped_finishes_what_it_has_and_hands_nothing_back_marked(
    jobs, name, results_here, readers, run
):
    first, second = (readers.Telling(name, results=results_here[0], seconds=s) for s in (0.3, 0.0))
    reading = run(first)
    await jobs.send_batch([1, 2])
    while (await jobs.stats()).in_flight < 1:
        await asyncio.sleep(0.01)
    await first.stop()
    assert (await within(reading)).processed == 1
    assert [one[0] for one in await told(results_here, 1)] == [1]
    idle = run(second)
    assert [one[:3] for one in await told(results_here, 1)] == [(2, 1, False)]
    while (await jobs.stats()).waiting_receivers < 1:
        await asyncio.sleep(0.01)
    await second.stop()
    assert (await within(idle)).processed == 1


async def test_a_cancelled_reader_gives_back_what_it_has(jobs, name, results_here, readers, run):
    reading = run(readers.Hanging(name, results=results_here[0]))
    await jobs.send(1)
    while (await jobs.stats()).in_flight < 1:
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    run(readers.Telling(name, results=results_here[0]))
    assert [one[:3] for one in await told(results_here, 1)] == [(1, 2, True)]


async def test_a_reader_goes_on_when_the_actor_of_its_channel_is_restarted(
    ray, jobs, name, results_here, readers, run, eventually
):
    reading = run(readers.Telling(name, results=results_here[0]))
    await eventually.stats(jobs, waiting_receivers=1)
    ray.kill(jobs._channel.owner.actor, no_restart=False)
    while True:  # it may live on for a moment, and what it takes then goes with it
        try:
            if (await within(jobs.stats())).backend_extras["epoch"] == 2:
                await within(jobs.send(2))
                break
        except ChannelBackendErrorException:  # it is told once, or while there is no actor
            pass
        await asyncio.sleep(0.1)
    assert (await told(results_here, 1))[0][0] == 2
    await jobs.close()
    assert (await within(reading)).processed == 1


async def test_dead_letters_of_reference_channels_outlive_their_reader(ray, placed, name, pools):
    class Failing(pools.ChannelReader):
        def process(self, item):
            raise ValueError("no")

    tx, rx = await channel(4, backend="ray", name=name, reference=True)
    reader = Failing.options(num_cpus=0, **placed("there")).remote(name)
    await tx.send(bytes(1_000_000))
    await tx.close()
    await within(reader.start.remote(max_attempts=1))
    ray.kill(reader)
    with pytest.raises(ray.exceptions.RayActorError):
        while True:
            await within(reader.stats.remote())
    dead = await get_receiver(f"{name}.dead_letters")
    assert type(dead).__name__ == "RayReferenceReceiver"
    assert (await within(dead.recv())).item == bytes(1_000_000)
    await dead.close()
    await rx.close()
    delete_channel(f"{name}.dead_letters")


async def test_a_reader_without_a_channel_says_so(name, pools, monkeypatch):
    monkeypatch.setattr(pools, "_FIND_LIMIT_S", 0.0)
    with pytest.raises(ChannelBackendErrorException, match="there is no such channel"):
        await pools.ChannelReader(name).start()


async def test_a_reader_of_what_cannot_be_acknowledged_says_so(pools, monkeypatch):
    tx, rx = await broadcast()
    monkeypatch.setattr(pools, "blocking_get_receiver", lambda *_, **__: rx)
    with pytest.raises(ChannelBackendErrorException, match="gives BroadcastReceiver"):
        await pools.ChannelReader("news").start()
    assert (await tx.try_send(1)).is_err(), "a receiver is left"


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ({"max_attempts": 0}, ValueError),
        ({"max_attempts": 1.5}, TypeError),
        ({"retry_delay": -1}, ValueError),
        ({"retry_delay": float("inf")}, ValueError),
    ],
)
async def test_readers_refuse_bad_policies(pools, policy, error):
    with pytest.raises(error, match=next(iter(policy))):
        await pools.ChannelReader("jobs").start(**policy)


async def test_a_reader_is_made_an_actor_by_its_class(jobs, name, results, readers, caplog):
    reader = readers.Telling.options(num_cpus=0).remote(name, results=results[0])
    with caplog.at_level(logging.WARNING):
        other = readers.Telling.remote(name, results=results[0])
    assert caplog.text == ""  # of Ray's, about "remote"
    reading = [asyncio.ensure_future(actor.start.remote()) for actor in (reader, other)]
    await jobs.send(1)
    assert (await told(results, 1))[0][0] == 1
    await jobs.close()
    stats = [await within(one) for one in reading]
    assert sum(one.processed for one in stats) == 1


# ------------------------------------------------------------------------------------------- pools


async def test_a_pool_processes_each_item_once_and_ends_with_the_channel(
    jobs, results, readers, pool_of
):
    pool = await pool_of(3, readers.Telling)
    await jobs.send_batch(range(300))
    items = await told(results, 300)
    assert sorted(one[:3] for one in items) == [(n, 1, False) for n in range(300)]
    assert not (await stats_say(pool, readers=3, processed=300)).is_closed
    await jobs.close()
    stats = await within(pool.wait_closed.remote())
    assert (stats.is_closed, stats.size, stats.readers, stats.draining) == (True, 0, 0, 0)
    assert (stats.processed, stats.failed, stats.redelivered, stats.replaced) == (300, 0, 0, 0)
    assert await pool.num_readers.remote() == 0
    with pytest.raises(ChannelClosedError, match="the pool has ended"):
        await pool.scale.remote(1)


async def test_what_readers_send_their_results_by_ends_with_the_pool(
    jobs, results, readers, pool_of
):
    await pool_of(2, readers.Telling)
    await results[0].close()
    await jobs.send_batch(range(10))
    await jobs.close()
    assert sorted(one[0] for one in await told(results, 10)) == list(range(10))
    with pytest.raises(ChannelClosedError) as caught:
        await told(results, 1)
    assert caught.value.kind == "ended"


async def test_readers_that_are_scaled_away_finish_what_they_have(jobs, results, readers, pool_of):
    pool = await pool_of(2, readers.Blocking, kwargs={"seconds": 0.5})
    await stats_say(pool, readers=2)
    await jobs.send_batch(range(6))
    while (await jobs.stats()).in_flight < 2:
        await asyncio.sleep(0.01)
    assert await pool.scale.remote(-5) == 0
    assert await pool.num_readers.remote() == 0
    assert (await pool.stats.remote()).draining == 2
    await stats_say(pool, draining=0, processed=2)
    assert await pool.scale.remote(2) == 2
    assert sorted(one[:3] for one in await told(results, 6)) == [(n, 1, False) for n in range(6)]


async def test_an_item_that_kills_its_readers_is_a_dead_letter_in_the_end(
    jobs, name, results, readers, pool_of
):
    pool = await pool_of(2, readers.Deadly, max_attempts=2)
    dead = await get_receiver(f"{name}.dead_letters")
    await jobs.send_batch([2, 666, 4])
    letter = await within(dead.recv())
    assert (letter.item, letter.attempts) == (666, 2)
    assert "died" in letter.error
    assert {one[0] for one in await told(results, 2)} == {2, 4}
    assert (await stats_say(pool, replaced=2, readers=2, dead_letters=1)).failed == 0


@pytest.mark.timeout(600)
async def test_readers_are_killed_and_each_item_is_processed(jobs, results, readers, pool_of):
    pool = await pool_of(3, readers.Telling, kwargs={"seconds": 0.003})
    sending = asyncio.ensure_future(send_all(jobs, ITEMS))
    seen = defaultdict(list)  # per item, whether it was marked
    pids = []  # of readers that have not been killed, the one that came first at the front
    kills = 0
    next_kill = time.monotonic() + 1
    while len(seen) < ITEMS:
        [(item, _, redelivered, pid)] = await told(results, 1)
        seen[item].append(redelivered)
        if pid not in pids:
            pids.append(pid)
        if time.monotonic() >= next_kill:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids.pop(0), signal.SIGKILL)
                kills += 1
            next_kill = time.monotonic() + 1
    await sending
    await jobs.close()
    stats = await within(pool.wait_closed.remote())
    assert sorted(seen) == list(range(ITEMS))
    assert (stats.failed, stats.dead_letters) == (0, 0)
    # All but the last one had time to be replaced.
    assert 1 <= kills - 1 <= stats.replaced <= kills
    # A reader that was killed had one item at most; what came twice was marked the second time.
    assert 1 <= sum(any(marks) for marks in seen.values()) <= kills
    assert all(all(marks[1:]) for marks in seen.values())


async def send_all(tx, count):
    for first in range(0, count, 100):
        await tx.send_batch(range(first, min(first + 100, count)))


async def test_a_reader_is_replaced_when_its_node_is_lost(
    ray_cluster, start_node, jobs, results, readers, pool_of
):
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    lost = await asyncio.to_thread(start_node, "127.0.0.4")
    there = NodeAffinitySchedulingStrategy(lost, soft=True)
    pool = await pool_of(1, readers.Hanging, options={"scheduling_strategy": there})
    while lost not in await nodes_of_receivers(jobs, pool):  # Ray may not reckon with it yet
        await pool.scale.remote(-1)
        await stats_say(pool, readers=0, draining=0)
        await pool.scale.remote(1)
    await jobs.send(1)
    while (await jobs.stats()).in_flight < 1:
        await asyncio.sleep(0.01)
    ray_cluster.kill_node("127.0.0.4")
    assert [one[:3] for one in await told(results, 1)] == [(1, 2, True)]
    assert (await stats_say(pool, readers=1)).replaced >= 1  # Ray may first try the lost node again


async def nodes_of_receivers(jobs, pool):
    await stats_say(pool, readers=1)
    stats = await jobs.stats()
    while stats.waiting_receivers == 0:  # it has no receiver yet
        await asyncio.sleep(0.01)
        stats = await jobs.stats()
    return stats.backend_extras["per_node_receivers"]


async def test_when_the_pool_itself_is_killed_it_starts_anew(
    ray, jobs, results, readers, pool_of, eventually
):
    pool = await pool_of(1, readers.Telling, kwargs={"seconds": 3.0})  # longer than a death takes
    await stats_say(pool, readers=1)
    await jobs.send_batch([1, 2])
    first = (await told(results, 1))[0]
    waiting = asyncio.ensure_future(pool.wait_closed.remote())
    ray.kill(pool, no_restart=False)
    second = (await told(results, 1))[0]
    assert (first[0], second[0]) == (1, 2)
    assert first[3] != second[3], "the reader has outlived its pool"
    await jobs.close()
    assert (await within(waiting)).processed == 1  # it counts anew


async def test_an_ordinary_channel_of_dead_letters_ends_with_the_pool(
    jobs, name, readers, plain_pool_of
):
    dead_tx, dead_rx = await channel(8, backend="ray", name=f"{name}.dead_letters")
    pool = plain_pool_of(0, readers.Telling, max_attempts=1)
    await within(pool.num_readers())
    await dead_tx.close()
    with pytest.raises(RecvTimeoutError):
        await dead_rx.recv(timeout=0.2)
    await within(pool.close())
    assert [letter async for letter in dead_rx] == []


async def test_a_pool_of_no_readers_hears_of_the_end(jobs, results, readers, pool_of):
    pool = await pool_of(0, readers.Telling)
    await jobs.send(1)
    await jobs.close()
    waiting = asyncio.ensure_future(pool.wait_closed.remote())
    await asyncio.sleep(2.5)  # it looks every second
    assert not waiting.done(), "one item is left"
    assert await pool.scale.remote(1) == 1
    assert (await within(waiting)).processed == 1


async def test_a_channel_that_is_deleted_ends_the_pool_with_an_error(jobs, name, readers, pool_of):
    pools = [await pool_of(size, readers.Telling) for size in (0, 1)]
    await stats_say(pools[1], readers=1)
    delete_channel(name)
    for pool in pools:
        with pytest.raises(ChannelClosedError) as caught:
            await within(pool.wait_closed.remote())
        assert caught.value.cause.kind == "deleted"


async def test_a_pool_that_is_closed_finishes_what_it_has(jobs, results, readers, pool_of):
    pool = await pool_of(1, readers.Telling, kwargs={"seconds": 0.5})
    await jobs.send_batch(range(3))
    await told(results, 1)
    stats = await within(pool.close.remote())
    assert stats.is_closed
    assert stats.processed in {1, 2}  # it may have taken the second one
    assert (await jobs.stats()).queue_size == 3 - stats.processed


# As a plain object, its log is here.


@pytest.fixture
async def plain_pool_of(jobs, name, results, pools):
    made = []

    def make(size, reader_class, **settings):
        made.append(
            pools.PoolController(
                name,
                size,
                reader_class=reader_class,
                reader_kwargs={"results": results[0]},
                **{"reader_options": {"num_cpus": 0}, **settings},
            )
        )
        return made[-1]

    yield make
    for pool in made:
        with contextlib.suppress(ChannelClosedError):
            await within(pool.close())


async def test_readers_that_die_at_once_are_replaced_ever_more_slowly(
    readers, plain_pool_of, caplog
):
    pool = plain_pool_of(1, readers.Unfit)
    await stats_say(pool, replaced=3)
    pauses = [line for line in caplog.messages if "a reader is replaced" in line]
    for pause, line in zip(("0.2 s", "0.4 s", "0.8 s"), pauses, strict=True):
        assert f"in {pause}: " in line
        assert "ValueError: there is no model" in line
    assert (await pool.stats()).readers == 0
    await within(pool.close())


async def test_a_reader_that_finds_no_place_is_told_of_and_can_be_scaled_away(
    readers, plain_pool_of, pools, monkeypatch, caplog
):
    monkeypatch.setattr(pools, "_PLACEMENT_LIMIT_S", 0.2)
    pool = plain_pool_of(1, readers.Telling, reader_options={"resources": {"unobtainium": 1}})
    while "has found no place" not in caplog.text:
        await asyncio.sleep(0.02)
    assert await pool.scale(-1) == 0
    assert (await within(pool.close())).replaced == 0


async def test_a_pool_goes_over_to_a_channel_that_is_made_anew(
    ray, ray_cluster, jobs, name, results, readers, plain_pool_of
):
    pool = plain_pool_of(1, readers.Telling)
    await stats_say(pool, readers=1)
    ray.kill(jobs._channel.owner.actor, no_restart=True)
    tx, rx = await channel(8, backend="ray", name=name)
    await tx.send(3)
    assert (await told(results, 1))[0][0] == 3
    await rx.close()
    await pool.scale(-1)
    await stats_say(pool, readers=0, draining=0)
    await tx.send(4)  # the pool keeps it open
    await pool.scale(1)
    assert (await told(results, 1))[0][0] == 4
    await tx.close()
    await within(pool.wait_closed())


async def test_a_channel_that_stays_away_ends_the_pool_with_an_error(
    ray, jobs, readers, plain_pool_of, pools, monkeypatch
):
    monkeypatch.setattr(pools, "_GONE_LIMIT_S", 1.0)
    pool = plain_pool_of(0, readers.Telling)
    await stats_say(pool, size=0)
    ray.kill(jobs._channel.owner.actor, no_restart=True)
    with pytest.raises(ChannelBackendErrorException, match="for good"):
        await within(pool.wait_closed())


async def test_without_a_channel_a_pool_says_so(name, pools, monkeypatch, ray_cluster):
    monkeypatch.setattr(pools, "_FIND_LIMIT_S", 0.0)
    pool = pools.PoolController(name, 1)
    for operation in (pool.wait_closed(), pool.scale(1)):
        with pytest.raises(ChannelBackendErrorException, match="there is no such channel"):
            await within(operation)
    assert (await pool.stats()).is_closed


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"initial_size": -1}, ValueError, "initial_size"),
        ({"initial_size": "3"}, TypeError, "initial_size"),
        ({"max_attempts": 0}, ValueError, "max_attempts"),
        ({"reader_class": int}, TypeError, "ChannelReader"),
        ({"reader_options": {"name": "one"}}, ValueError, "name"),
        ({"reader_options": {"num_cpus": -1}}, ValueError, "num_cpus"),
    ],
)
async def test_pools_refuse_bad_arguments(pools, arguments, error, said):
    with pytest.raises(error, match=said):
        pools.PoolController("jobs", **{"initial_size": 1, **arguments})
