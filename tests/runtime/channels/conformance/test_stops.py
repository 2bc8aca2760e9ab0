"""User code that raises StopIteration or StopAsyncIteration within a wait: a RuntimeError, as in a coroutine.

Left as they are, they would end an iteration as if the channel had ended, and a task that they end would never be done.
"""

from __future__ import annotations

import signal
import threading

import pytest

from klaw_core.runtime.channels import blocking_channel, blocking_select, select, select_all

needs = pytest.mark.needs
capacities = pytest.mark.capacities
STOPS = [StopIteration, StopAsyncIteration]
stops = pytest.mark.parametrize("stop", STOPS)

AWAITED = {
    "recv": lambda rx: rx.recv(),
    "try_recv": lambda rx: rx.try_recv(),
    "recv_batch": lambda rx: rx.recv_batch(2),
    "try_recv_batch": lambda rx: rx.try_recv_batch(2),
    "recv_acked": lambda rx: rx.recv_acked(),
    "acked": lambda rx: anext(rx.acked()),
    "async for": lambda rx: anext(rx),
    "select": select,
    "select_all": lambda rx: anext(select_all(rx)),
}
BLOCKING = {
    "recv": lambda rx: rx.blocking_recv(),
    "recv_batch": lambda rx: rx.blocking_recv_batch(2),
    "recv_acked": lambda rx: rx.blocking_recv_acked(),
    "acked": lambda rx: list(rx.acked()),
    "for": list,
    "select": blocking_select,
    "select_all": lambda rx: list(select_all(rx)),
}
SENDS = {
    "send": lambda tx, value: tx.send(value),
    "try_send": lambda tx, value: tx.try_send(value),
    "send_batch": lambda tx, value: tx.send_batch([value]),
    "try_send_batch": lambda tx, value: tx.try_send_batch([value]),
}
BLOCKING_SENDS = {
    "send": lambda tx, value: tx.blocking_send(value),
    "send_batch": lambda tx, value: tx.blocking_send_batch([value]),
}


class Unreceivable:
    """Its unpickling raises."""

    def __init__(self, stop: type[Exception]) -> None:
        self.stop = stop

    def __reduce__(self):
        return exec, (f"raise {self.stop.__name__}('of a message')",)


class Unsendable:
    def __init__(self, stop: type[Exception]) -> None:
        self.stop = stop

    def __reduce__(self):
        raise self.stop("of a message")


async def assert_told(task, stop) -> None:
    """A task of its own, which would not end with either of them."""
    with pytest.raises(RuntimeError, match=f"raised {stop.__name__}$") as caught:
        await task
    assert type(caught.value.__cause__) is stop
    assert caught.value.__cause__.args == ("of a message",)


async def call(function, *arguments):
    return await function(*arguments)


@stops
@needs("broker")
@capacities(3)
async def test_of_a_message_that_is_unpickled_in_an_awaited_receive(
    open_channel, start, until, stop
):
    tx, rx = await open_channel(3)
    for way, receive in AWAITED.items():
        await tx.send(Unreceivable(stop))
        await assert_told(start(call(receive, rx)), stop)
        if not way.startswith("try"):
            waiting = start(call(receive, rx))
            await until.receivers_wait(rx, 1)
            await tx.send(Unreceivable(stop))
            await assert_told(waiting, stop)
    await tx.send("fine")
    assert await rx.recv() == "fine"


@stops
@needs("broker", "blocking", "threads")
@capacities(3)
async def test_of_a_message_that_is_unpickled_in_a_thread(open_channel, in_thread, stop):
    tx, rx = await open_channel(3)
    for receive in BLOCKING.values():
        await tx.send(Unreceivable(stop))
        await assert_told(in_thread(receive, rx).awaited(), stop)
    await tx.send("fine")
    assert await rx.recv() == "fine"


@stops
@needs("broker", "blocking", "threads")
@capacities(3)
async def test_of_a_message_that_is_pickled(open_channel, start, in_thread, stop):
    tx, rx = await open_channel(3)
    for send in SENDS.values():
        await assert_told(start(call(send, tx, Unsendable(stop))), stop)
    for send in BLOCKING_SENDS.values():
        await assert_told(in_thread(send, tx, Unsendable(stop)).awaited(), stop)
    permit = await tx.reserve()
    await assert_told(in_thread(permit.send, Unsendable(stop)).awaited(), stop)
    await in_thread(permit.send, "fine").awaited()
    assert await rx.recv() == "fine"


@stops
async def test_of_a_message_of_another_flavour(open_elsewhere, start, in_thread, stop):
    tx, rx = await open_elsewhere()
    await assert_told(start(call(tx.send, Unsendable(stop))), stop)
    await assert_told(in_thread(tx.blocking_send, Unsendable(stop)).awaited(), stop)
    await tx.send(Unreceivable(stop))
    await assert_told(start(call(anext, rx)), stop)


@stops
async def test_of_a_predicate(open_watch, start, in_thread, until, stop):
    tx, rx = await open_watch()

    def is_it(value):
        if value != "initial":
            raise stop("of a message")

    for timeout in (None, 60.0):
        await tx.send("now")
        await assert_told(start(rx.wait_for(is_it, timeout=timeout)), stop)
        await assert_told(in_thread(rx.blocking_wait_for, is_it, timeout=timeout).awaited(), stop)
        await tx.send("initial")
        await rx.wait_for(lambda value: value == "initial")
        waiting = start(rx.wait_for(is_it, timeout=timeout))
        await until.receivers_wait(rx, 1)
        await tx.send("then")
        await assert_told(waiting, stop)


@stops
def test_of_a_signal_handler_in_a_thread_that_waits(stop, in_thread, until):
    tx, rx = blocking_channel(3)
    main = threading.get_ident()

    def handle(*_: object) -> None:
        raise stop

    def interrupt() -> None:
        until.true_in_thread(lambda: until.stats(tx).waiting_receivers == 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with tx, rx:
            in_thread(interrupt)
            with pytest.raises(RuntimeError, match=f"raised {stop.__name__}$"):
                list(rx)
    finally:
        signal.signal(signal.SIGUSR1, before)
