"""What a handle tells of itself, and what it refuses."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import time
import uuid

import pytest

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelReceiver,
    ChannelSender,
    ChannelStats,
    receiver_from_ticket,
    sender_from_ticket,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities


@needs("waiting", "trying")
async def test_handles_are_what_the_protocols_say(open_channel):
    tx, rx = await open_channel()
    assert isinstance(tx, ChannelSender)
    assert isinstance(rx, ChannelReceiver)


@needs("truth", "stats")
async def test_handles_are_always_true(open_channel, soon):
    tx, rx = await open_channel()
    await soon.stored(rx, 0)
    assert tx
    assert rx
    await tx.close()
    await rx.close()
    assert bool(tx) is True
    assert bool(rx) is True


@needs("length", "waiting")
@capacities(1, 3, 100, None)
async def test_the_length_of_a_receiver_is_what_is_stored(open_channel, capacity, fill):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    assert len(rx) == count
    await rx.recv()
    assert len(rx) == count - 1
    await tx.close()
    assert len(rx) == count - 1
    with pytest.raises(TypeError):
        len(tx)


@needs("identity", "clone")
async def test_handles_know_their_channel(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    other_tx, other_rx = await open_channel(capacity)
    assert tx.capacity == rx.capacity == tx.clone().capacity == capacity
    assert tx.same_channel(rx)
    assert rx.same_channel(tx)
    assert tx.same_channel(tx)
    assert rx.same_channel(rx.clone())
    for other in (other_tx, other_rx, None, 5, "tx"):
        assert tx.same_channel(other) is False
        assert rx.same_channel(other) is False
    await tx.close()
    assert tx.same_channel(rx)
    assert tx.capacity == capacity


@needs("identity")
async def test_handles_are_themselves_only(open_channel):
    tx, rx = await open_channel()
    assert tx == tx  # noqa: PLR0124  that is the question
    assert tx not in (rx, tx.clone())
    assert len({tx, rx, tx.clone(), tx}) == 3
    with pytest.raises(AttributeError):
        tx.capacity = 5
    with pytest.raises(AttributeError):
        tx.anything = 5


@needs("stats", "clone", "waiting")
async def test_stats_tell_the_channel_at_this_moment(
    open_channel, capacity, fill, start, until, soon, flavour
):
    before = time.time()
    tx, rx = await open_channel(capacity)
    stats = await tx.stats()
    assert isinstance(stats, ChannelStats)
    assert before - 1 <= stats.created_at <= time.time() + 1  # two clocks of one machine
    assert stats == ChannelStats(
        sender_count=1,
        receiver_count=1,
        queue_size=0,
        capacity=capacity,
        senders_closed=False,
        receivers_closed=False,
        created_at=stats.created_at,
        high_watermark=0,
        total_sent=0,
        total_received=0,
        backend_extras=stats.backend_extras,
    )
    assert stats.backend_extras == {} or "broker" in flavour.offers
    assert await rx.stats() == stats
    filled = await fill(tx)
    tx2, rx2 = tx.clone(), rx.clone()
    if capacity is not None:
        start(tx.send("waits"))
        await until.senders_wait(tx, 1)
    await soon.stats(
        tx2,
        sender_count=2,
        receiver_count=2,
        queue_size=filled,
        high_watermark=filled,
        total_sent=filled,
        waiting_senders=0 if capacity is None else 1,
    )
    for _ in range(filled):
        await rx2.recv()
    if capacity is not None:
        assert await rx.recv() == "waits"
    total = filled + (0 if capacity is None else 1)
    # On a rendezvous a broker stores nothing, not even for a moment.
    high_watermark = filled if "broker" in flavour.offers else max(filled, 1)
    await soon.stats(
        rx2,
        total_sent=total,
        total_received=total,
        waiting_senders=0,
        queue_size=0,
        high_watermark=high_watermark,
    )
    start(rx.recv())
    await until.receivers_wait(rx, 1)
    await tx.close()
    await tx2.close()
    await rx2.close()
    await soon.stats(  # also of a closed handle
        tx,
        sender_count=0,
        senders_closed=True,
        receiver_count=1,
        receivers_closed=False,
        waiting_receivers=0,
    )


@needs("stats")
async def test_stats_tell_that_the_other_side_is_closed(open_channel, soon):
    tx, rx = await open_channel()
    await rx.close()
    await soon.stats(tx, receivers_closed=True, receiver_count=0, senders_closed=False)


@needs("stats", "outlives_its_handles")
async def test_stats_tell_that_both_sides_are_closed(open_channel, soon):
    tx, rx = await open_channel()
    await tx.close()
    await rx.close()
    await soon.stats(tx, senders_closed=True, receivers_closed=True)


@needs("identity", "clone", "stats", "at_once")
async def test_repr_tells_how_full_it_is_and_who_is_there(open_channel, flavour, start, until):
    tx_name, rx_name = flavour.handle_names
    tx, rx = await open_channel(64)
    tx2 = tx.clone()
    await tx.send_batch(range(7))
    assert repr(tx) == f"<{tx_name} 7/64, 2 senders, 1 receiver>"
    assert repr(rx) == f"<{rx_name} 7/64, 1 receiver, 2 senders>"
    await rx.recv_batch(7)
    start(rx.recv())
    await until.receivers_wait(rx, 1)
    assert repr(tx) == f"<{tx_name} 0/64, 2 senders, 1 receiver waiting>"
    await tx.close()
    assert repr(tx) == f"<{tx_name} closed 0/64, 1 sender, 1 receiver waiting>"
    await tx2.close()
    await rx.close()
    assert repr(rx) == f"<{rx_name} closed 0/64, 0 receivers, 0 senders>"


@needs("identity", "broker")
@capacities(3, None)
async def test_repr_asks_no_broker(open_channel, capacity, flavour):
    for handle, name in zip(await open_channel(capacity), flavour.handle_names, strict=True):
        room = "unbounded" if capacity is None else f"capacity {capacity}"
        assert re.fullmatch(rf"<{name} (\(unnamed\)|'\w+'), {room}>", repr(handle))
        await handle.close()
        assert re.fullmatch(rf"<{name} closed (\(unnamed\)|'\w+'), {room}>", repr(handle))


@needs("unbounded", "identity", "at_once")
async def test_repr_of_an_unbounded_channel(open_channel, flavour):
    tx, _rx = await open_channel(None)
    assert repr(tx) == f"<{flavour.handle_names[0]} 0/unbounded, 1 sender, 1 receiver>"


@needs("identified", "clone")
async def test_receivers_have_names_and_know_their_node(open_channel):
    _tx, rx = await open_channel()
    clone = rx.clone()
    for receiver in (rx, clone):
        assert uuid.UUID(receiver.reader_id).version == 4
        assert receiver.reader_id == uuid.UUID(receiver.reader_id).hex
        assert int(receiver.node_id, 16) > 0
    assert clone.reader_id != rx.reader_id
    assert clone.node_id == rx.node_id


@needs("no_copy")
async def test_handles_refuse_to_be_copied(open_channel):
    for handle in await open_channel():
        for copier in (copy.copy, copy.deepcopy, lambda handle: copy.deepcopy([handle])):
            with pytest.raises(TypeError, match=r"use clone\(\)"):
                copier(handle)


@needs("no_pickle")
async def test_handles_refuse_to_be_pickled(open_channel):
    for handle in await open_channel():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match=r"cannot pickle .*one process.*backend='ray'"):
                pickle.dumps(handle, protocol)


@needs("close")
@pytest.mark.parametrize("reason", [5, b"x", True, ValueError("x")], ids=repr)
async def test_a_reason_that_is_no_text_is_a_type_error_and_closes_nothing(open_channel, reason):
    for handle in await open_channel():
        with pytest.raises(TypeError, match="^reason must be a str or None, not "):
            handle.close(reason)
        assert not handle.is_closed


@needs("waiting", "batches", "close", "nowait")
async def test_wrong_arguments_are_told_at_the_call(open_channel, soon):
    tx, rx = await open_channel()
    calls = [
        (lambda: tx.send(), "value"),
        (lambda: tx.send(1, timout=1), "timout"),
        (lambda: tx.send(1, 1, 1), "arguments"),
        (lambda: tx.send(1, 1, timeout=1), "timeout"),
        (lambda: tx.send_batch(), "values"),
        (lambda: tx.try_send(), "try_send"),
        (lambda: tx.send_nowait(), "send_nowait"),
        (lambda: rx.recv(1, 2), "arguments"),
        (lambda: rx.recv(timout=1), "timout"),
        (lambda: rx.recv_batch(), "max_items"),
        (lambda: rx.recv_batch(1, 2, 3), "arguments"),
        (lambda: rx.try_recv(1), "try_recv"),
        (lambda: rx.close(1, 2), "arguments"),
        (lambda: rx.close(because="x"), "because"),
    ]
    for call, word in calls:
        with pytest.raises(TypeError, match=word):
            call()
    await soon.stored(rx, 0)
    assert not rx.is_closed


@needs("tickets")
async def test_a_ticket_gives_one_more_handle_of_its_side_or_there_is_none(flavour, open_channel):
    tx, rx = await open_channel()
    if flavour.name in ("local", "reference"):
        for handle in tx, rx:
            with pytest.raises(TypeError, match="no ticket"):
                handle.ticket()
        return
    sender = await sender_from_ticket(tx.ticket())
    receiver = await receiver_from_ticket(rx.ticket())
    await rx.close()
    await tx.close()
    receiving = asyncio.ensure_future(receiver.recv())
    await sender.send("by ticket")
    assert await receiving == "by ticket"
    await sender.close()
    with pytest.raises(ChannelClosedError):
        await receiver.recv()
    await receiver.close()
