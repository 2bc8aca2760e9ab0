"""Weak handles: they keep nothing open, and become strong ones while their side is."""

from __future__ import annotations

import pytest
from channel_tests import closed_kind

from klaw_core.runtime.channels import WeakReceiver, WeakSender

needs = pytest.mark.needs
pytestmark = [needs("weak", "close")]


@needs("stats")
async def test_weak_handles_do_not_count(open_channel, soon):
    tx, rx = await open_channel(1)
    weak_tx, weak_rx = tx.downgrade(), rx.downgrade()
    assert isinstance(weak_tx, WeakSender)
    assert isinstance(weak_rx, WeakReceiver)
    await soon.stats(tx, sender_count=1, receiver_count=1)
    await tx.close()
    assert await closed_kind(rx.recv()) == "ended"


@needs("stats", "identity")
async def test_they_become_handles_like_any_other(open_channel, soon):
    tx, rx = await open_channel(1)
    weak_tx, weak_rx = tx.downgrade(), rx.downgrade()
    tx2, rx2 = await weak_tx.upgrade(), await weak_rx.upgrade()
    assert type(tx2) is type(tx)
    assert type(rx2) is type(rx)
    assert tx2.same_channel(tx)
    assert rx2.same_channel(tx)
    await soon.stats(tx, sender_count=2, receiver_count=2)
    await tx.close()
    await rx.close()
    await tx2.send("through both")
    assert await rx2.recv() == "through both"
    assert await weak_tx.upgrade() is not None
    await tx2.close()
    assert await closed_kind(rx2.recv()) == "ended"


async def test_they_are_nothing_once_the_last_handle_of_their_side_has_closed(open_channel):
    tx, rx = await open_channel(1)
    weak_tx, weak_rx = tx.downgrade(), rx.downgrade()
    await tx.send(1)
    await tx.close()
    assert await rx.recv() == 1
    assert await closed_kind(rx.recv()) == "ended"  # so a broker has heard of it
    assert await weak_tx.upgrade() is None
    assert await weak_tx.upgrade() is None
    again = await weak_rx.upgrade()
    assert again is not None
    await again.close()


async def test_a_handle_that_was_closed_can_still_be_downgraded(open_channel):
    tx, _rx = await open_channel(1)
    other = tx.clone()
    await other.close()
    again = await other.downgrade().upgrade()
    assert again is not None
    await again.close()


@needs("threads")
async def test_threads_upgrade_too(open_channel, in_thread):
    tx, rx = await open_channel(1)
    weak = tx.downgrade()

    def send():
        with weak.blocking_upgrade() as strong:
            strong.blocking_send(1)

    await in_thread(send).awaited()
    assert await rx.recv() == 1
    await tx.close()
    assert await closed_kind(rx.recv()) == "ended"
    assert await in_thread(weak.blocking_upgrade).awaited() is None
