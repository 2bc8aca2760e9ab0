"""Reference channels: payloads in Ray's object store, which are freed when the channel is done with them.

KLAW_REFERENCES says how many payloads of 1 MiB go through a channel of 8 (600 here; 10000 to be sure).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from klaw_core.result import Err, Ok  # noqa: E402  where there is no numpy there is no Ray either
from klaw_core.runtime.channels import (  # noqa: E402
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFull,
    ChannelFullError,
    ChannelReceiver,
    ChannelSender,
    PayloadLostError,
    RecvTimeoutError,
    ReferenceReceiver,
    ReferenceSender,
    SendTimeoutError,
    blocking_select,
    channel,
    get_channel,
    get_receiver,
    get_sender,
    select,
    select_all,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

COUNT = int(os.environ.get("KLAW_REFERENCES", "600"))
MIB = 1024 * 1024


def array(n, size=MIB):
    return np.full(size // 8, n, dtype=np.int64)


class Odd:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ValueError("it can't be unpickled")


def spilled(cluster):
    """What Ray has moved from memory to disk."""
    return [*Path(cluster.folder).glob("session_*/ray_spilled_objects*")]


def by_hand(tx, rx, **options):
    from klaw_core.runtime.channels.ray import RayReferenceReceiver, RayReferenceSender

    return RayReferenceSender(tx, **options), RayReferenceReceiver(rx)


@pytest.fixture
def open_reference(ray_channel):
    async def opened(capacity=8, **settings):
        return await ray_channel(capacity, reference=True, **settings)

    return opened


@pytest.fixture
def held(eventually):
    """How many payloads the channel holds; and waits until it is so many."""

    async def wait(handle, count):
        async def is_so():
            return (await handle.stats()).backend_extras["payloads"] == count

        await eventually.true(is_so)

    return wait


@pytest.fixture
def owned(eventually):
    """How many objects that were put this process still refers to or owns, beside those that it did before."""
    from ray._private.worker import global_worker

    def is_put(object_id):  # and not the result of a call: those have low numbers
        return int.from_bytes(bytes.fromhex(object_id)[-4:], "little") > 100_000_000

    def count():
        counts = global_worker.core_worker.get_all_reference_counts()
        return sum(is_put(key if isinstance(key, str) else key.decode()) for key in counts)

    before = count()

    async def none():
        await eventually.true(lambda: count() <= before)

    none.count = lambda: count() - before
    return none


# ----------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize("where", ["here", "there"])
async def test_payloads_come_out_as_they_went_in_and_in_order(open_reference, where):
    tx, rx = await open_reference(32, where=where)
    values = [
        None,
        1,
        "ü",
        b"x" * MIB,
        [1, {"a": (2, 3)}],
        {1, 2},
        2**70,
        lambda x: 2 * x,
        RuntimeError("a value"),
    ]
    for value in values:
        await tx.send(value)
    received = [await rx.recv() for _ in values]
    assert received[:7] == values[:7]
    assert received[7](4) == 8
    assert repr(received[8]) == repr(values[8])


async def test_arrays_are_read_where_they_are(open_reference):
    tx, rx = await open_reference()
    sent = {
        "a": array(1, 2 * MIB),
        "b": [np.arange(10), np.asfortranarray(np.eye(300)), np.arange(40)[::3]],
    }
    await tx.send(sent)
    sent["a"][:] = 0  # what is put is a copy
    received = await rx.recv()
    assert (received["a"] == 1).all()
    assert not received["a"].flags.owndata
    assert not received["a"].flags.writeable
    for mine, theirs in zip(sent["b"], received["b"], strict=True):
        assert (mine == theirs).all()
    kept = received["a"][5:]
    del received
    await tx.send(array(2))
    await rx.recv()
    assert (kept == 1).all()  # its memory is held, though the channel has freed the payload


async def test_object_references_in_a_payload_stay_alive_with_it(open_reference, ray, owned, held):
    tx, rx = await open_reference()
    await tx.send({"ref": ray.put(array(3)), "x": [ray.put("small")]})
    received = await rx.recv()
    await held(rx, 0)
    assert (await received["ref"] == 3).all()
    assert await received["x"][0] == "small"
    del received
    await owned()


async def test_sends_of_several_tasks_are_in_the_order_in_which_they_began(open_reference, start):
    tx, rx = await open_reference(40)
    sends = [start(tx.send(array(n, 8 * 1024 * (1 + n % 7)))) for n in range(40)]
    sends[3].cancel()
    await asyncio.gather(*sends, return_exceptions=True)
    received = [int(value[0]) for value in await rx.recv_batch(40)]
    assert received == [n for n in range(40) if n != 3 or 3 in received]


async def test_ordinary_messages_may_be_among_them(ray_channel, held):
    plain_tx, plain_rx = await ray_channel()
    tx, rx = by_hand(plain_tx, plain_rx)
    await plain_tx.send("one")
    await tx.send("two")
    await plain_tx.send("three")
    await tx.send_batch(["four", "five"])
    assert await rx.recv() == "one"
    assert await rx.recv_batch(3) == ["two", "three", "four"]
    assert await rx.try_recv() == Ok("five")
    assert await rx.try_recv() == Err(ChannelEmpty())
    await held(rx, 0)
    await tx.close()  # and with it what is inside
    with pytest.raises(ChannelClosedError):
        await rx.recv()


async def test_both_handles_satisfy_the_protocols(open_reference):
    tx, rx = await open_reference()
    assert isinstance(tx, ChannelSender)
    assert isinstance(tx, ReferenceSender)
    assert isinstance(rx, ChannelReceiver)
    assert isinstance(rx, ReferenceReceiver)
    assert tx.capacity == 8
    assert tx.same_channel(rx)
    assert not tx.same_channel((await open_reference())[1])
    assert repr(tx) == repr(tx._inner).replace("RaySender", "RayReferenceSender")
    assert repr(rx) == repr(rx._inner).replace("RayReceiver", "RayReferenceReceiver")
    assert len(rx.reader_id) == 32
    for handle in (tx, rx):
        with pytest.raises(TypeError, match=r"use clone\(\)"):
            copy.copy(handle)
        with pytest.raises(TypeError, match=r"use clone\(\)"):
            copy.deepcopy(handle)


async def test_bad_input_is_an_error_at_the_call(open_reference, ray_channel):
    tx, rx = await open_reference()
    for call in (
        lambda t: tx.send(1, t),
        lambda t: tx.send_batch([1], t),
        rx.recv,
        rx.recv_acked,
        tx.reserve,
    ):
        with pytest.raises(ValueError, match="timeout must not be negative"):
            call(-1)
        with pytest.raises(TypeError, match="timeout must be a number of seconds"):
            call("1")
    with pytest.raises(ValueError, match="max_items must be at least 1"):
        rx.recv_batch(0)
    with pytest.raises(TypeError, match="max_items must be an int"):
        rx.recv_batch("1")
    plain_tx, plain_rx = await ray_channel()
    with pytest.raises(ValueError, match="owner must be 'sender' or 'channel', got 'me'"):
        by_hand(plain_tx, plain_rx, owner="me")
    with pytest.raises(TypeError, match="inner must be a RaySender, not RayReferenceSender"):
        by_hand(tx, rx)


async def test_by_default_it_holds_sixteen_and_on_local_it_is_a_plain_channel():
    tx, rx = await channel(backend="ray", reference=True)
    assert tx.capacity == 16
    await tx.close()
    await rx.close()
    tx, rx = await channel(reference=True)
    value = array(1)
    await tx.send(value)
    assert await rx.recv() is value


async def test_a_named_one_is_found_as_what_it_is(name):
    tx, rx = await channel(4, backend="ray", name=name, reference=True)
    with pytest.raises(ValueError, match="exists with other settings"):
        await channel(4, backend="ray", name=name)
    other_tx, other_rx = await get_channel(name)
    sender = await get_sender(name)
    receiver = await get_receiver(name)
    await other_tx.send(array(1))
    await sender.send(array(2))
    assert [int((await handle.recv())[0]) for handle in (other_rx, receiver)] == [1, 2]
    for handle in (tx, rx, other_tx, other_rx, sender, receiver):
        await handle.close()


# ------------------------------------------------------------------------------------ room and time


async def test_a_full_channel_refuses_and_keeps_no_payload(open_reference, held):
    tx, rx = await open_reference(2)
    assert await tx.try_send(1) == Ok(None)
    await tx.send(2)
    assert await tx.try_send(3) == Err(ChannelFull(2))
    assert await tx.try_send_batch([3, 4]) == Err(ChannelFull(2))
    assert await tx.try_send_batch([3, 4, 5]) == Err(ChannelFull(2))
    with pytest.raises(SendTimeoutError):
        await tx.send(3, timeout=0.01)
    with pytest.raises(ChannelFullError):
        await tx.send_batch([3, 4, 5])
    with pytest.raises(ChannelFullError):
        tx.send_nowait(3)
    await held(tx, 2)
    with pytest.raises(ChannelEmptyError):
        rx.recv_nowait()
    assert await rx.try_recv_batch(5) == Ok([1, 2])
    assert await rx.try_recv_batch(5) == Err(ChannelEmpty())
    with pytest.raises(RecvTimeoutError):
        await rx.recv(timeout=0.01)
    with pytest.raises(RecvTimeoutError):
        await rx.recv_batch(2, timeout=0.01)
    await held(tx, 0)


async def test_the_event_loop_goes_on_while_a_batch_is_put_and_fetched(open_reference):
    tx, rx = await open_reference(4)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    await tx.send_batch([array(n, 8 * MIB) for n in range(4)])
    sent = turns
    received = await rx.recv_batch(4)
    turning.cancel()
    assert sent > 4
    assert turns > sent + 4
    assert [int(each[0]) for each in received] == [0, 1, 2, 3]


async def test_a_thread_sends_and_receives(open_reference, in_thread):
    tx, rx = await open_reference(4)

    def run():
        tx.blocking_send(array(1))
        tx.blocking_send_batch([2, 3])
        assert int(rx.blocking_recv(timeout=60)[0]) == 1
        assert rx.blocking_recv_batch(5) == [2, 3]
        with pytest.raises(RecvTimeoutError):
            rx.blocking_recv(timeout=0.01)
        tx.blocking_send("settled")
        with rx.blocking_recv_acked() as m:
            assert m.value == "settled"
        tx.blocking_send("selected")
        assert blocking_select(rx) == (0, "selected")
        tx.blocking_send("last")
        tx.blocking_flush()
        tx.blocking_close()
        return [*rx]

    assert await in_thread(run).awaited() == ["last"]
    for call in (
        lambda: tx.blocking_send(1),
        lambda: tx.blocking_send_batch([1]),
        rx.blocking_recv,
    ):
        with pytest.raises(RuntimeError, match="this thread runs an event loop"):
            call()


async def test_it_is_iterated_until_its_end(open_reference):
    tx, rx = await open_reference()
    more = tx.clone()
    await tx.send_batch([1, 2])
    await tx.close()
    await more.send(3)
    await more.close()
    assert [value async for value in rx] == [1, 2, 3]
    with pytest.raises(ChannelClosedError):
        rx.recv_nowait()
    with pytest.raises(ChannelClosedError):
        await more.send(4)
    assert (await more.try_send(4)).is_err()


async def test_an_end_with_a_reason_is_raised(open_reference):
    tx, rx = await open_reference()
    with contextlib.suppress(KeyError):
        async with tx:
            await tx.send(1)
            raise KeyError("why")
    assert await rx.recv() == 1
    with pytest.raises(ChannelClosedError, match="why"):
        async for _ in rx:
            pass


# ---------------------------------------------------------------- acknowledged, selected, travelling


async def test_what_is_not_acknowledged_comes_back_with_its_payload(open_reference, held):
    tx, rx = await open_reference()
    await tx.send(array(1))
    first = await rx.recv_acked()
    assert int(first.value[0]) == 1
    assert not first.redelivered
    first.nack()
    async with await rx.recv_acked() as again:
        assert (int(again.value[0]), again.redelivered, again.attempt) == (1, True, 2)
    await held(rx, 0)
    await tx.send_batch([2, 3])
    await tx.close()
    seen = []
    async for m in rx.acked():
        async with m:
            seen.append(m.value)
    assert seen == [2, 3]


async def test_select_takes_from_reference_channels_among_others(open_reference, ray_channel, held):
    tx, rx = await open_reference()
    plain_tx, plain_rx = await ray_channel()
    local_tx, local_rx = await channel(4)
    receivers = (rx, plain_rx, local_rx)
    with pytest.raises(TimeoutError):
        await select(*receivers, timeout=0)
    await tx.send(array(1))
    at, value = await select(*receivers)
    assert (at, int(value[0])) == (0, 1)
    await plain_tx.send("plain")
    assert await select(*receivers) == (1, "plain")
    await local_tx.send("local")
    assert await select(*receivers) == (2, "local")
    assert (await plain_rx.stats()).in_flight == 0
    await held(rx, 0)
    await tx.send("a")
    await plain_tx.send("b")
    for each in (tx, plain_tx, local_tx):
        await each.close()
    assert sorted([pair async for pair in select_all(*receivers)]) == [(0, "a"), (1, "b")]


async def test_handles_travel(open_reference, ray, placed):
    @ray.remote(num_cpus=0)
    def double(rx, tx):
        with rx, tx:
            for value in rx:
                tx.blocking_send(2 * value)

    tx, there_rx = await open_reference()
    there_tx, rx = await open_reference()
    tasks = [
        double.options(**placed(where)).remote(there_rx, there_tx) for where in ("here", "there")
    ]
    async with there_rx, there_tx:
        pass
    async with tx:
        for n in range(6):
            await tx.send(array(n))
    assert sorted([int(value[0]) async for value in rx]) == [0, 2, 4, 6, 8, 10]
    ray.get(tasks)


async def test_a_weak_handle_upgrades_to_a_reference_handle(open_reference):
    tx, rx = await open_reference()
    weak_tx, weak_rx = tx.downgrade(), rx.downgrade()
    async with await weak_tx.upgrade() as more:
        await more.send(array(1))
    async with await weak_rx.upgrade() as other:
        assert int((await other.recv())[0]) == 1
    await tx.close()
    assert await weak_tx.upgrade() is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, beside threads
async def test_a_forked_child_is_told_that_it_cannot(open_reference):
    tx, _rx = await open_reference()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            try:
                tx._store.put([], [1])
            except ChannelClosedError as error:
                os._exit(0 if "was forked" in str(error) else 2)
        os._exit(1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# ------------------------------------------------------------------------------------------- cancel


@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.001, 0.002, 0.005, 0.02])
async def test_a_cancelled_receive_loses_nothing(open_reference, held, delay):
    tx, rx = await open_reference(20)
    await tx.send_batch([array(n, 64 * 1024) for n in range(20)])
    received = []
    while len(received) < 20:
        receiving = asyncio.ensure_future(rx.recv_batch(3) if len(received) % 2 else rx.recv())
        await asyncio.sleep(delay)
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            got = await receiving
            received += [int(v[0]) for v in got] if isinstance(got, list) else [int(got[0])]
        delay += 0.0002
    # Of a batch that is given back, the next receive may meet what has come back by then.
    assert sorted(received) == [*range(20)]
    await held(rx, 0)


async def test_a_select_cancelled_while_it_fetches_loses_nothing(open_reference, held):
    tx, rx = await open_reference(20)
    await tx.send_batch([array(n, 64 * 1024) for n in range(10)])
    received = []
    delay = 0.0
    while len(received) < 10:
        selecting = asyncio.ensure_future(select(rx))
        await asyncio.sleep(delay)
        selecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            received.append(int((await selecting)[1][0]))
        delay += 0.0002
    assert received == [*range(10)]
    await held(rx, 0)


async def test_a_cancelled_send_has_sent_or_has_not_and_leaves_no_payload(
    open_reference, held, owned
):
    tx, rx = await open_reference(4)
    sent = 0
    for n in range(60):
        sending = asyncio.ensure_future(tx.send(array(n, 64 * 1024)))
        await asyncio.sleep(n * 0.0001)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
            sent += 1
        if n % 4 == 3:
            while (await rx.try_recv()).is_ok():
                pass
    await tx.flush()
    left = (await rx.stats()).queue_size
    await held(rx, left)
    for _ in range(left):
        await rx.recv()
    assert (await rx.stats()).total_sent >= sent
    await held(rx, 0)
    await owned()


async def test_a_send_cancelled_while_it_waits_for_room_leaves_no_payload(
    open_reference, held, eventually
):
    tx, rx = await open_reference(1)
    await tx.send("stays")
    waiting = [asyncio.ensure_future(tx.send(array(n))) for n in range(3)]
    await eventually.stats(tx, waiting_senders=3)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    await held(tx, 1)
    assert await rx.recv() == "stays"
    assert await rx.try_recv() == Err(ChannelEmpty())


async def test_closing_a_handle_ends_its_sends_and_frees_their_payloads(
    open_reference, held, eventually
):
    tx, rx = await open_reference(1)
    other = tx.clone()
    await tx.send("stays")
    waiting = asyncio.ensure_future(other.send(array(1)))
    await eventually.stats(tx, waiting_senders=1)
    await other.close()
    with pytest.raises(ChannelClosedError):
        await waiting
    await held(tx, 1)
    assert await rx.recv() == "stays"


# ---------------------------------------------------------------------------------- freed, and lost


async def test_many_payloads_leave_the_object_store_as_it_was(
    open_reference, owned, ray, ray_cluster, eventually
):
    """The store holds 100 MB, of what goes through there is never more than a few MiB that anybody needs."""
    tx, rx = await open_reference(8)

    async def send():
        async with tx:
            for n in range(COUNT):
                await tx.send(array(n))

    sending = asyncio.ensure_future(send())
    n = most = 0
    async for value in rx:
        assert int(value[0]) == n
        n += 1
        if n % 20 == 0:
            most = max(most, owned.count())
            assert spilled(ray_cluster) == []
    await sending
    assert n == COUNT
    assert (
        most < 40
    )  # queued, on their way, and those of which Ray has not told yet that nobody needs them
    del value
    await owned()

    # Ray frees once in a second.
    def is_empty():
        return (
            ray.available_resources().get("object_store_memory")
            == ray.cluster_resources()["object_store_memory"]
        )

    await eventually.true(is_empty)


async def test_what_is_queued_when_the_last_receiver_closes_is_freed(open_reference, owned):
    tx, rx = await open_reference(8)
    await tx.send_batch([array(n) for n in range(6)])
    await rx.close()
    with pytest.raises(ChannelClosedError):
        await tx.send(array(7))
    await owned()


async def test_what_is_queued_when_the_channel_goes_is_freed(name, owned):
    from klaw_core.runtime.channels import delete_channel

    tx, _rx = await channel(8, backend="ray", name=name, reference=True)
    await tx.send_batch([array(n) for n in range(6)])
    delete_channel(name)
    await owned()


async def test_queued_payloads_outlive_the_handle_that_sent_them(open_reference):
    tx, rx = await open_reference(8)
    await tx.send_batch([array(n) for n in range(6)])
    await tx.close()
    del tx
    assert [int(value[0]) async for value in rx] == [*range(6)]


@pytest.fixture
def sender_process(ray, placed):
    """A process that sends arrays, and may be killed."""

    @ray.remote(num_cpus=0, max_restarts=0)
    class Sender:
        def __init__(self, tx, owner):
            from klaw_core.runtime.channels.ray import RayReferenceSender

            self.tx = RayReferenceSender(tx, owner=owner)

        def send(self, *numbers):
            for n in numbers:
                self.tx.blocking_send(array(n))
            return os.getpid()

    def start(where, tx, owner):
        return Sender.options(**placed(where)).remote(tx, owner)

    return start


async def test_a_dead_senders_payloads_are_lost_one_by_one_and_the_channel_goes_on(
    ray_channel, sender_process, ray, eventually, held
):
    plain_tx, plain_rx = await ray_channel(8)
    _tx, rx = by_hand(plain_tx, plain_rx)
    sender = sender_process(
        "there", plain_tx, "sender"
    )  # on this node they could be read for a moment still
    await sender.send.remote(1, 2, 3)
    ray.kill(sender)
    await eventually.stats(rx, sender_count=1)
    await plain_tx.send("mine")
    await _tx.send(array(4))
    with pytest.raises(
        PayloadLostError, match="the payload .* of a message is lost: .*owner"
    ) as caught:
        await rx.recv()
    assert caught.value.payload
    assert caught.value.__cause__ is not None
    assert (await rx.recv_batch(8))[
        0
    ] == "mine"  # the two others of the batch are told by what comes next
    for _ in range(2):
        with pytest.raises(PayloadLostError):
            await rx.recv()
    await held(rx, 0)
    await plain_tx.send("on")
    assert await select(rx) == (0, "on")


async def test_select_all_says_which_of_its_arguments_lost_a_payload(
    ray_channel, sender_process, ray, eventually
):
    plain_tx, plain_rx = await ray_channel(8)
    _tx, rx = by_hand(plain_tx, plain_rx)
    sender = sender_process("there", plain_tx, "sender")
    ended_tx, ended_rx = await channel(1)
    other_tx, other_rx = await channel(1)
    ended_tx.close()
    received = select_all(ended_rx, other_rx, rx)
    first = asyncio.ensure_future(anext(received))
    await asyncio.sleep(0)  # the one that has ended is dropped
    await other_tx.send("other")
    assert await first == (1, "other")
    await sender.send.remote(1)
    ray.kill(sender)
    await eventually.stats(rx, sender_count=1)
    with pytest.raises(PayloadLostError) as caught:
        await anext(received)
    assert caught.value.index == 2


@pytest.mark.parametrize("where", ["here", "there"])
async def test_payloads_of_the_channel_outlive_their_sender(
    ray_channel, sender_process, ray, where, held, eventually
):
    plain_tx, plain_rx = await ray_channel(8)
    _tx, rx = by_hand(plain_tx, plain_rx)
    sender = sender_process(where, plain_tx, "channel")
    await sender.send.remote(1, 2, 3)
    ray.kill(sender)
    await eventually.stats(rx, sender_count=1)
    assert [int((await rx.recv())[0]) for _ in range(3)] == [1, 2, 3]
    await held(rx, 0)


async def test_a_channel_that_owns_frees_what_was_received(ray_channel, held, owned):
    plain_tx, plain_rx = await ray_channel(4)
    tx, rx = by_hand(plain_tx, plain_rx, owner="channel")
    more = pickle.loads(pickle.dumps(tx))  # keeps its owner
    for n in range(12):
        await (tx if n % 2 else more).send_batch([array(n), array(n)])
        assert [int(value[0]) for value in await rx.recv_batch(2)] == [n, n]
    await more.close()
    await held(rx, 0)
    await owned()


async def test_a_payload_that_cannot_be_unpickled_raises_at_its_receiver_and_stops_nothing(
    open_reference, held
):
    tx, rx = await open_reference()
    await tx.send_batch([Odd(), 1, Odd(), 2])
    with pytest.raises(ValueError, match="it can't be unpickled"):
        await rx.recv()
    assert await rx.recv_batch(3) == [1, 2]
    with pytest.raises(ValueError, match="it can't be unpickled"):
        await rx.recv()
    with pytest.raises(TypeError):
        await tx.send(threading.Lock())
    await tx.send(3)
    assert await rx.recv() == 3
    await held(rx, 0)


async def test_a_receiver_that_is_killed_while_it_has_a_payload_loses_nothing(
    open_reference, ray, held
):
    @ray.remote(num_cpus=0, max_restarts=0)
    class Receiver:
        def __init__(self, rx):
            self.rx = rx

        def take(self):
            self.held = self.rx.blocking_recv_acked()
            return int(self.held.value[0])

    tx, rx = await open_reference()
    await tx.send_batch([array(1), array(2)])
    receiver = Receiver.remote(rx.clone())
    assert await receiver.take.remote() == 1
    ray.kill(receiver)
    seen = []
    deadline = time.monotonic() + 60
    while len(seen) < 2 and time.monotonic() < deadline:
        async with await rx.recv_acked(timeout=60) as m:
            seen.append((int(m.value[0]), m.redelivered))
    assert sorted(seen) == [(1, True), (2, False)]
    await held(rx, 0)


@pytest.mark.parametrize("owner", ["sender", "channel"])
async def test_a_permit_keeps_its_payload_only_if_it_sends(open_reference, held, owner):
    tx, rx = await open_reference(4)
    tx, rx = by_hand(tx._inner, rx._inner, owner=owner)
    permit = await tx.reserve()
    with pytest.raises(TypeError, match="pickle"):
        permit.send(threading.Lock())
    await held(tx, 0)
    permit.send("good still")
    await held(tx, 1)
    with pytest.raises(RuntimeError, match="used or released already"):
        permit.send("once more")
    assert await rx.recv() == "good still"
    await held(tx, 0)
