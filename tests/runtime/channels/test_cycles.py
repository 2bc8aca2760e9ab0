"""Reference cycles through local channels: for each kind of object, one that can be reached from its own channel.

The message that closes the cycle waits in the channel; what it keeps refers to the channel again.
"""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from klaw_core.runtime.channels import (
    blocking_broadcast,
    blocking_channel,
    blocking_oneshot,
    blocking_watch,
    select,
    select_all,
)


def collect() -> None:
    for _ in range(3):  # what one collection finalises may only be freed by the next
        gc.collect()


class Message:
    """Keeps whatever it is given."""

    def __init__(self) -> None:
        self.kept: object = None


def delivery(tx, rx):
    tx.send_nowait("another message")
    return rx.blocking_recv_acked()


def nacked(tx, rx):
    message = Message()
    message.kept = (tx, rx)
    tx.send_nowait(message)
    rx.blocking_recv_acked().nack(3600.0)
    return tx


def completed(tx, rx):
    taken = delivery(tx, rx)
    return taken.__aenter__()


MAKE = {
    "mpmc": lambda: blocking_channel(8),
    "rendezvous": lambda: blocking_channel(0),
    "oneshot": blocking_oneshot,
    "broadcast": lambda: blocking_broadcast(4),
    "watch": lambda: blocking_watch(None),
}
HANDLES = {
    "sender": lambda tx, rx: tx,
    "receiver": lambda tx, rx: rx,
    "close": lambda tx, rx: rx.closed(),
    "stats": lambda tx, rx: tx.stats(),
    "send": lambda tx, rx: tx.send(1),
    "try_send": lambda tx, rx: tx.try_send(1),
    "anext": lambda tx, rx: anext(rx),
    "select": lambda tx, rx: select(rx),
    "select_all": lambda tx, rx: select_all(rx),
    "awaited": lambda tx, rx: anext(rx).__await__(),
}
RECEIVES = {
    "recv": lambda tx, rx: rx.recv(),
    "try_recv": lambda tx, rx: rx.try_recv(),
}
QUEUE = {
    "send_batch": lambda tx, rx: tx.send_batch([1, 2]),
    "reserve": lambda tx, rx: tx.reserve(),
    "flush": lambda tx, rx: tx.flush(),
    "shutdown": lambda tx, rx: tx.shutdown(),
    "permit": lambda tx, rx: tx.blocking_reserve(),
    "recv_batch": lambda tx, rx: rx.recv_batch(2),
    "recv_acked": lambda tx, rx: rx.recv_acked(),
    "deliveries": lambda tx, rx: rx.acked(),
    "delivery": delivery,
    "completed": completed,
    "nacked": nacked,
    "weak sender": lambda tx, rx: tx.downgrade(),
    "weak receiver": lambda tx, rx: rx.downgrade(),
    "upgrade": lambda tx, rx: tx.downgrade().upgrade(),
}
WATCHES = {
    "changed": lambda tx, rx: rx.changed(),
    "wait_for": lambda tx, rx: rx.wait_for(bool),
}
ALL = {
    "mpmc": HANDLES | RECEIVES | QUEUE,
    "oneshot": HANDLES | RECEIVES,
    "broadcast": HANDLES | RECEIVES,
    "watch": HANDLES | WATCHES,
}


@pytest.mark.parametrize(
    ("flavour", "what"), [(flavour, what) for flavour, kinds in ALL.items() for what in kinds]
)
def test_what_its_own_channel_holds_is_collected(flavour, what, no_leak, recorded_warnings):
    tx, rx = MAKE[flavour]()
    message = Message()
    with recorded_warnings():  # an operation that was never awaited
        message.kept = ALL[flavour][what](tx, rx)
        tx.send_nowait(message)
        gone = weakref.ref(message)
        del tx, rx, message
        collect()
        assert gone() is None


SENDS = {
    "send": lambda tx, message: tx.send(message),
    "send_batch": lambda tx, message: tx.send_batch([message]),
}


@pytest.mark.parametrize("flavour", MAKE)
@pytest.mark.parametrize("send", SENDS)
def test_a_message_that_refers_to_its_own_send_is_collected(
    flavour, send, no_leak, recorded_warnings
):
    tx, rx = MAKE[flavour]()
    if not hasattr(tx, send):
        return
    message = Message()
    with recorded_warnings():
        message.kept = (SENDS[send](tx, message), tx, rx)
        gone = weakref.ref(message)
        del tx, rx, message
        collect()
        assert gone() is None


def test_a_predicate_that_refers_to_its_own_wait_is_collected(no_leak, recorded_warnings):
    tx, rx = blocking_watch(None)

    class Predicate:
        def __call__(self, value: object) -> bool:
            return value is self

    predicate = Predicate()
    with recorded_warnings():
        predicate.kept = (rx.wait_for(predicate), tx, rx)
        gone = weakref.ref(predicate)
        del tx, rx, predicate
        collect()
        assert gone() is None


WAITS = {
    "mpmc": {
        "recv": lambda tx, rx: rx.recv(),
        "recv with a limit": lambda tx, rx: rx.recv(timeout=3600.0),
        "recv_batch": lambda tx, rx: rx.recv_batch(2),
        "recv_acked": lambda tx, rx: rx.recv_acked(),
        "closed": lambda tx, rx: rx.closed(),
        "select": lambda tx, rx: select(rx, rx.clone()),
    },
    "rendezvous": {
        "send": lambda tx, rx: tx.send(Message()),
        "reserve": lambda tx, rx: tx.reserve(),
    },
    "oneshot": {"recv": lambda tx, rx: rx.recv()},
    "broadcast": {"recv": lambda tx, rx: rx.recv()},
    "watch": {"wait_for": lambda tx, rx: rx.wait_for(bool), "changed": lambda tx, rx: rx.changed()},
}


@pytest.mark.parametrize(
    ("flavour", "what"), [(flavour, what) for flavour, kinds in WAITS.items() for what in kinds]
)
async def test_a_task_that_waits_for_nobody_else_is_collected(flavour, what, no_leak):
    loop = asyncio.get_running_loop()
    destroyed = []
    loop.set_exception_handler(lambda _loop, context: destroyed.append(context["message"]))
    message = Message()

    async def wait(message: Message) -> None:
        tx, rx = message.kept
        await WAITS[flavour][what](tx, rx)

    message.kept = MAKE[flavour]()
    gone = weakref.ref(message)
    task = asyncio.ensure_future(wait(message))
    await asyncio.sleep(0)
    message.task = task
    del task, message
    await asyncio.sleep(0)
    collect()
    is_limited = what == "recv with a limit"  # then the loop has it, for its time
    assert (gone() is None) is not is_limited
    if is_limited:
        gone().task.cancel()
        await asyncio.sleep(0)
        collect()
        assert gone() is None
    else:
        assert destroyed == ["Task was destroyed but it is pending!"]


@pytest.mark.parametrize("keeps", ["its delivery", "its delivery and the handle"])
def test_a_message_that_keeps_its_own_delivery_comes_back_and_then_goes(keeps, no_leak):
    tx, rx = blocking_channel(8)
    message = Message()
    message.name = "this one"
    tx.send_nowait(message)
    taking = rx.clone()
    delivery = taking.blocking_recv_acked()
    message.kept = delivery if keeps == "its delivery" else (delivery, taking)
    del delivery, message, taking
    collect()
    again = rx.blocking_recv_acked(timeout=0)  # it is there at once
    assert (again.value.name, again.redelivered, again.attempt) == ("this one", True, 2)
    again.ack()
    gone = weakref.ref(again.value)
    del again
    collect()
    assert gone() is None
    rx.close()
    tx.close()
