"""Reference cycles through what a channel gives: the garbage collector finds them, and what they held is settled.

Cycles through local channels, whose messages are the very objects that were sent, are in ../test_cycles.py.
"""

from __future__ import annotations

import gc
import weakref

import pytest

from klaw_core import _core
from klaw_core.runtime.channels import ChannelClosedError, select

needs = pytest.mark.needs
capacities = pytest.mark.capacities


def collect() -> None:
    for _ in range(3):  # what one collection finalises may only be freed by the next
        gc.collect()


@needs("acknowledgements", "stats")
@capacities(3)
async def test_a_message_that_keeps_its_own_delivery_comes_back(open_channel):
    tx, rx = await open_channel(3)
    await tx.send({"job": 1})
    delivery = await rx.recv_acked()
    delivery.value["delivery"] = delivery
    del delivery
    collect()
    again = await rx.recv_acked()
    assert (again.value["job"], again.redelivered, again.attempt) == (1, True, 2)
    again.value.clear()  # a local message is the same object, with its delivery of the first time
    again.ack()


@needs("acknowledgements", "clone", "stats", "collected")
@capacities(3)
async def test_a_message_that_keeps_its_delivery_and_its_handles_comes_back(open_channel, soon):
    tx, rx = await open_channel(3)
    await tx.send({"job": 1})
    of_its_own = rx.clone()
    delivery = await of_its_own.recv_acked()
    delivery.value["all"] = (delivery, of_its_own)
    del delivery, of_its_own
    collect()
    async with await rx.recv_acked() as again:
        assert (again.value.pop("job"), again.attempt) == (1, 2)
        again.value.clear()
    del again
    collect()
    await soon.stats(tx, receiver_count=1)


@needs("acknowledgements", "clone")
@capacities(3)
async def test_a_delivery_in_a_cycle_does_not_hold_back_the_end(open_channel):
    tx, rx = await open_channel(3)
    await tx.send({"job": 1})
    await tx.close()
    other = rx.clone()
    delivery = await other.recv_acked()
    delivery.value["delivery"] = delivery
    del delivery
    collect()
    (await rx.recv_acked()).ack()
    with pytest.raises(ChannelClosedError) as caught:
        await rx.recv()
    assert caught.value.kind == "ended"
    await other.close()


def collected(gone: weakref.ref[object]) -> bool:
    """The thread that opened the channel may still be about to let go of its handles."""
    collect()
    return gone() is None


class Owner:
    """In the place of what the other half knows of a channel: from it the collector gets back to the channel."""

    def __init__(self, known: object) -> None:
        self.known = known
        self.kept: object = None


REMOTE = {
    "sender": lambda tx, rx: tx,
    "receiver": lambda tx, rx: rx,
    "weak sender": lambda tx, rx: tx.downgrade(),
    "weak receiver": lambda tx, rx: rx.downgrade(),
    "deliveries": lambda tx, rx: rx.acked(),
    "send": lambda tx, rx: tx.send(1),
    "send_batch": lambda tx, rx: tx.send_batch([1]),
    "reserve": lambda tx, rx: tx.reserve(),
    "flush": lambda tx, rx: tx.flush(),
    "recv": lambda tx, rx: rx.recv(),
    "recv_batch": lambda tx, rx: rx.recv_batch(2),
    "recv_acked": lambda tx, rx: rx.recv_acked(),
    "anext": lambda tx, rx: anext(rx),
    "closed": lambda tx, rx: rx.closed(),
    "shutdown": lambda tx, rx: rx.shutdown(),
    "awaited": lambda tx, rx: rx.recv().__await__(),
    "upgrade": lambda tx, rx: rx.downgrade().upgrade(),
    "select": lambda tx, rx: select(rx, rx),
}


@needs("broker", "collected")
@capacities(3)
@pytest.mark.parametrize("what", REMOTE)
async def test_what_refers_to_a_channel_is_collected_with_it(
    flavour, what, until, no_leak, recorded_warnings
):
    tx, rx = await flavour.make(capacity=3)
    channel = rx._channel
    if not isinstance(channel.owner, _core.BrokerServer):
        pytest.skip("on Ray the owner is needed; the rest is the same")
    channel.owner = owner = Owner(channel.owner)
    with recorded_warnings():  # an operation that was never awaited
        owner.kept = REMOTE[what](tx, rx)
        gone = weakref.ref(owner)
        del tx, rx, channel, owner
        await until.true(lambda: collected(gone))


async def test_a_value_of_a_watch_that_refers_to_its_handle_is_collected(
    open_watch, until, no_leak
):
    tx, rx = await open_watch()
    await tx.send({"is": "here"})
    await rx.wait_for(lambda value: value != "initial")
    rx.borrow()["handles"] = [tx, rx]
    gone = weakref.ref(tx)
    del tx, rx
    await until.true(lambda: collected(gone))
