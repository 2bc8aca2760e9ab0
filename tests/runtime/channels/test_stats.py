"""ChannelStats and ChannelCheckpoint: what a channel tells about itself."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from klaw_core.runtime.channels import ChannelCheckpoint, ChannelStats, channel

# name and default, in the order of the contract.
NO_DEFAULT = dataclasses.MISSING
STATS_FIELDS = {
    "sender_count": NO_DEFAULT,
    "receiver_count": NO_DEFAULT,
    "queue_size": NO_DEFAULT,
    "capacity": NO_DEFAULT,
    "senders_closed": NO_DEFAULT,
    "receivers_closed": NO_DEFAULT,
    "created_at": NO_DEFAULT,
    "high_watermark": NO_DEFAULT,
    "total_sent": NO_DEFAULT,
    "total_received": NO_DEFAULT,
    "backend_extras": {},
    "waiting_senders": 0,
    "waiting_receivers": 0,
    "in_flight": 0,
    "redelivered": 0,
    "oldest_age": 0.0,
}
CHECKPOINT_FIELDS = [
    "created_at",
    "total_sent",
    "total_received",
    "senders_closed",
    "receivers_closed",
]
STATS = ChannelStats(1, 2, 3, None, False, True, 1000.5, 4, 5, 6)


def default_of(field: dataclasses.Field[object]) -> object:
    made = field.default_factory
    return field.default if made is NO_DEFAULT else made()


def test_stats_have_the_fields_of_the_contract_in_its_order():
    fields = dataclasses.fields(ChannelStats)
    assert [field.name for field in fields] == list(STATS_FIELDS)
    assert {field.name: default_of(field) for field in fields} == STATS_FIELDS


def test_a_checkpoint_has_the_fields_of_the_contract_in_its_order():
    assert [field.name for field in dataclasses.fields(ChannelCheckpoint)] == CHECKPOINT_FIELDS


def test_stats_can_be_made_by_position():
    assert (STATS.sender_count, STATS.receiver_count, STATS.queue_size) == (1, 2, 3)
    assert STATS.capacity is None
    assert (STATS.senders_closed, STATS.receivers_closed) == (False, True)
    assert (STATS.created_at, STATS.high_watermark) == (1000.5, 4)
    assert (STATS.total_sent, STATS.total_received) == (5, 6)
    assert STATS.backend_extras == {}


def test_two_stats_do_not_share_their_extras():
    other = dataclasses.replace(STATS, backend_extras={})
    assert other == STATS
    assert ChannelStats(*[0] * 10).backend_extras is not ChannelStats(*[0] * 10).backend_extras


@pytest.mark.parametrize(
    "snapshot", [STATS, ChannelCheckpoint(1000.5, 5, 6, False, True)], ids=repr
)
def test_snapshots_are_frozen_compared_pickled_and_turned_into_dicts(snapshot):
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.total_sent = 9
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert type(snapshot)(**dataclasses.asdict(snapshot)) == snapshot
    assert dataclasses.replace(snapshot, total_sent=9) != snapshot


async def test_a_new_channel_tells_of_one_sender_one_receiver_and_nothing_sent():
    tx, rx = await channel(8)
    async with tx, rx:
        stats = await tx.stats()
        assert isinstance(stats, ChannelStats)
        assert (stats.sender_count, stats.receiver_count) == (1, 1)
        assert (stats.queue_size, stats.capacity, stats.high_watermark) == (0, 8, 0)
        assert (stats.senders_closed, stats.receivers_closed) == (False, False)
        assert (stats.total_sent, stats.total_received) == (0, 0)
        assert stats.created_at > 0
        assert stats.backend_extras == {}


async def test_an_unbounded_channel_tells_of_no_capacity():
    tx, rx = await channel(unbounded=True)
    async with tx, rx:
        assert (await rx.stats()).capacity is None


async def test_stats_follow_what_is_sent_received_cloned_and_closed():
    tx, rx = await channel[int](8)
    other = tx.clone()
    for n in range(3):
        await tx.send(n)
    await rx.recv()
    stats = await rx.stats()
    assert (stats.sender_count, stats.receiver_count) == (2, 1)
    assert (stats.queue_size, stats.high_watermark) == (2, 3)
    assert (stats.total_sent, stats.total_received) == (3, 1)
    await tx.close()
    await other.close()
    stats = await rx.stats()
    assert (stats.sender_count, stats.senders_closed) == (0, True)
    await rx.close()
