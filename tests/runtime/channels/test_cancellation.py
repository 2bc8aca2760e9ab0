"""Random schedules of sends, receives, cancellations and closings, against what a channel promises (rules 1 to 5).

One event loop, no clock: a schedule is a list of steps, and one of the steps is a turn of the loop. So a task can be
cancelled before it has begun, while it waits, and after it was woken but has not run yet. When the schedule is over:

- liveness: once the loop is idle, nobody waits for what is there;
- nothing is lost: what was sent is received, or still there, or was dropped by the last receiver's close;
- nothing is received twice, or though its send failed; a batch goes in whole or not at all;
- in order: per sender, messages are received in the order in which their sends began;
- an operation ends as closed only when what it says is so.

Hypothesis finds the schedules, shrinks those that fail, and prints them with the line that runs them again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelClosedError,
    ChannelEmptyError,
    ChannelError,
    ChannelFull,
    ChannelFullError,
    RecvTimeoutError,
    blocking_channel,
    select,
)

# Thousands of schedules: a minute each on a loaded machine.
pytestmark = pytest.mark.timeout(300)

EXAMPLES = {"any": 5_000, "one small channel": 2_000, "select": 1_500, "batches": 1_500}
STEPS_MAX = 30
CAPACITY_MAX = 3


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@dataclass(eq=False)
class Handle:
    """A handle, and what the model knows of it."""

    channel: Channel
    it: Any
    closed: bool = False


@dataclass(eq=False)
class Channel:
    capacity: int | None
    senders: list[Handle] = field(default_factory=list)
    receivers: list[Handle] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)  # in the order in which they began
    taken: list[Message] = field(default_factory=list)  # in the order in which they were taken
    dropped: int = 0  # stored when the last receiver went

    def stats(self) -> Any:
        return ready(self.receivers[0].it.stats())

    def open(self, handles: list[Handle]) -> int:
        return sum(not handle.closed for handle in handles)


@dataclass(eq=False)
class Send:
    """One send, of one message or a batch."""

    handle: Handle
    messages: list[Message]
    outcome: str = (
        "pending"  # pending, sent, refused (must not arrive), cancelled (may have arrived)
    )


@dataclass(eq=False)
class Message:
    send: Send
    number: int = -1  # within its channel, in the order in which the sends began


def ready(operation: Any) -> Any:
    while True:
        try:
            assert operation.send(None) is None
        except StopIteration as stop:
            return stop.value


class World:
    """Runs a schedule, and keeps the books."""

    def __init__(
        self, capacities: list[int | None], steps: list[tuple[str, int, int]], bare: bool
    ) -> None:
        self.steps = steps
        self.bare = bare  # the operations themselves are the tasks, without a coroutine around them
        self.tasks: list[asyncio.Task[Any]] = []
        self.broken: list[Exception] = []  # what a callback has found wrong
        self.fresh = 0  # tasks made since the last turn of the loop: they have not begun
        self.channels = []
        for capacity in capacities:
            tx, rx = (
                blocking_channel(unbounded=True) if capacity is None else blocking_channel(capacity)
            )
            channel = Channel(capacity)
            channel.senders.append(Handle(channel, tx))
            channel.receivers.append(Handle(channel, rx))
            self.channels.append(channel)

    async def run(self) -> None:
        try:
            await self.run_steps()
        finally:
            await self.cancel_all()
        self.check_liveness()
        self.drain()
        for error in self.broken:
            raise error
        self.check_books()

    async def run_steps(self) -> None:
        await self.reset_fairness()
        for name, a, b in self.steps:
            await getattr(self, name)(a, b)
        await self.idle()
        self.check_liveness()

    async def cancel_all(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.idle()
        assert all(task.done() for task in self.tasks)

    @staticmethod
    async def reset_fairness() -> None:
        """An operation that waits begins a new slice: none in a schedule has to give way before it begins."""
        tx, rx = blocking_channel(1)
        task = asyncio.ensure_future(rx.recv())
        await asyncio.sleep(0)
        tx.send_nowait(None)
        await task

    @staticmethod
    async def idle() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        while loop._ready:
            await asyncio.sleep(0)

    # --- choosing

    def channel(self, a: int) -> Channel:
        return self.channels[a % len(self.channels)]

    def sender(self, a: int, b: int) -> Handle:
        senders = self.channel(a).senders
        return senders[b % len(senders)]

    def receiver(self, a: int, b: int) -> Handle:
        receivers = self.channel(a).receivers
        return receivers[b % len(receivers)]

    # --- books

    def new_send(self, handle: Handle, count: int) -> Send:
        send = Send(handle, [])
        send.messages += [Message(send) for _ in range(count)]
        return send

    def begins(self, send: Send) -> None:
        sends = send.handle.channel.sends
        first = sum(len(other.messages) for other in sends)
        for n, message in enumerate(send.messages):
            message.number = first + n
        sends.append(send)

    def sent(self, send: Send) -> None:
        assert send.outcome == "pending"
        send.outcome = "sent"

    def refused(self, send: Send, error: ChannelError | None = None) -> None:
        send.outcome = "refused"
        if isinstance(error, ChannelClosedError):
            self.check_closed(send.handle, error)

    def took(self, messages: list[Message]) -> None:
        for message in messages:
            message.send.handle.channel.taken.append(message)

    def check_closed(self, handle: Handle, error: ChannelClosedError | ChannelClosed) -> None:
        channel = handle.channel
        match error.kind:
            case "handle_closed":
                assert handle.closed
            case "peer_gone":
                assert handle in channel.senders
                assert channel.open(channel.receivers) == 0
            case "ended":
                assert handle in channel.receivers
                assert channel.open(channel.senders) == 0
            case _:
                pytest.fail(f"closed for no reason: {error!r}")

    # --- tasks

    def spawn(self, operation: Any, begins: Any, keep_books: Any) -> None:
        """keep_books(outcome) is told how it ended: it calls outcome() for the result or the exception."""
        kept = False

        def keep(outcome: Any) -> None:
            nonlocal kept
            kept = True
            try:
                keep_books(outcome)
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  run() raises it
                self.broken.append(error)

        async def wrapped() -> Any:
            begins()
            try:
                result = await operation
            except BaseException as error:
                keep(raises(error))
                raise
            keep(lambda: result)  # at once, so that the order is known

        def done(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                task.exception()  # seen
            if not kept:
                operation.close()  # if it was cancelled before it began
                keep(task.result)

        if self.bare:
            begins()  # they begin in the order in which they are made
        self.fresh += 1
        task = asyncio.ensure_future(operation if self.bare else wrapped())
        task.add_done_callback(done)
        self.tasks.append(task)

    def sending(self, handle: Handle, operation: Any, send: Send) -> None:
        def keep_books(outcome: Any) -> None:
            try:
                outcome()
            except asyncio.CancelledError:
                send.outcome = "cancelled"
            except (ChannelClosedError, ChannelFullError) as error:
                self.refused(send, error)
            else:
                self.sent(send)

        self.spawn(operation, lambda: self.begins(send), keep_books)

    def receiving(self, handles: list[Handle], operation: Any, messages_of: Any) -> None:
        def keep_books(outcome: Any) -> None:
            try:
                result = outcome()
            except asyncio.CancelledError:
                pass
            except ChannelClosedError as error:
                self.check_closed(handles[error.index or 0], error)
            except RecvTimeoutError:
                pass
            else:
                self.took(messages_of(result))

        self.spawn(operation, lambda: None, keep_books)

    # --- the steps

    async def turn(self, a: int, b: int) -> None:
        self.fresh = 0
        await asyncio.sleep(0)

    async def send(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        send = self.new_send(handle, 1)
        self.sending(handle, handle.it.send(send.messages[0]), send)

    async def send_timeout_0(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        send = self.new_send(handle, 1)
        self.sending(handle, handle.it.send(send.messages[0], timeout=0), send)

    async def send_batch(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        send = self.new_send(handle, b % 4)
        self.sending(handle, handle.it.send_batch(send.messages), send)

    async def send_nowait(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        send = self.new_send(handle, 1)
        if self.bare and self.fresh:
            return  # it would overtake those that have not begun
        self.begins(send)
        try:
            handle.it.send_nowait(send.messages[0])
        except ChannelFullError:
            self.refused(send)
        except ChannelClosedError as error:
            self.refused(send, error)
        else:
            self.sent(send)

    async def try_send_batch(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        send = self.new_send(handle, 1 + b % 3)
        if self.bare and self.fresh:
            return  # it would overtake those that have not begun
        self.begins(send)
        result = ready(handle.it.try_send_batch(send.messages))
        if result.is_ok():
            self.sent(send)
        else:
            assert isinstance(result.error, ChannelFull | ChannelClosed)
            self.refused(send, result.error.to_exception())

    async def recv(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        self.receiving([handle], handle.it.recv(), lambda message: [message])

    async def recv_timeout_0(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        self.receiving([handle], handle.it.recv(timeout=0), lambda message: [message])

    async def recv_batch(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        self.receiving([handle], handle.it.recv_batch(1 + b % 3), list)

    async def recv_nowait(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        try:
            self.took([handle.it.recv_nowait()])
        except ChannelEmptyError:
            pass
        except ChannelClosedError as error:
            self.check_closed(handle, error)

    async def try_recv_batch(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        result = ready(handle.it.try_recv_batch(1 + b % 3))
        if result.is_ok():
            self.took(result.value)
        elif isinstance(result.error, ChannelClosed):
            self.check_closed(handle, result.error)

    async def select(self, a: int, b: int) -> None:
        """Over one receiver of each channel, or of some; twice over the same one, too."""
        handles = [self.receiver(a + n, b) for n in range(1 + b % 3)]
        operation = select(*(handle.it for handle in handles), biased=b % 2 == 0)
        self.receiving(handles, operation, lambda result: [result[1]])

    async def cancel(self, a: int, b: int) -> None:
        if self.tasks:
            self.tasks[(a * 8 + b) % len(self.tasks)].cancel()

    async def cancel_last(self, a: int, b: int) -> None:
        if self.tasks:
            self.tasks[-1 - (b % min(2, len(self.tasks)))].cancel()

    async def clone_sender(self, a: int, b: int) -> None:
        self.clone(self.channel(a).senders, self.sender(a, b))

    async def clone_receiver(self, a: int, b: int) -> None:
        self.clone(self.channel(a).receivers, self.receiver(a, b))

    def clone(self, side: list[Handle], handle: Handle) -> None:
        if handle.closed:
            with pytest.raises(ChannelClosedError):
                handle.it.clone()
        else:
            side.append(Handle(handle.channel, handle.it.clone()))

    async def close_sender(self, a: int, b: int) -> None:
        handle = self.sender(a, b)
        handle.closed = True
        handle.it.close()

    async def close_receiver(self, a: int, b: int) -> None:
        handle = self.receiver(a, b)
        channel = handle.channel
        stored = channel.stats().queue_size
        was_open = channel.open(channel.receivers)
        handle.closed = True
        handle.it.close()
        if was_open and channel.open(channel.receivers) == 0:
            channel.dropped += stored
            assert channel.stats().queue_size == 0

    # --- the checks

    def check_liveness(self) -> None:
        for channel in self.channels:
            stats = channel.stats()
            assert stats.in_flight == 0, "promised to somebody who does not come"
            assert stats.sender_count == channel.open(channel.senders)
            assert stats.receiver_count == channel.open(channel.receivers)
            if stats.waiting_receivers:
                assert stats.queue_size == 0
                assert stats.sender_count > 0
                assert stats.receiver_count > 0
            if stats.waiting_senders:
                assert stats.sender_count > 0
                assert stats.receiver_count > 0
                if channel.capacity == 0:
                    assert stats.waiting_receivers == 0
                else:
                    waiting = [s for s in channel.sends if s.outcome == "pending"]
                    assert len(waiting[0].messages) > channel.capacity - stats.queue_size

    def drain(self) -> None:
        for channel in self.channels:
            for handle in channel.receivers:
                try:
                    while not handle.closed:
                        self.took([handle.it.recv_nowait()])
                except (ChannelEmptyError, ChannelClosedError):
                    pass

    def check_books(self) -> None:
        for channel in self.channels:
            stats = channel.stats()
            assert stats.queue_size == stats.waiting_senders == stats.waiting_receivers == 0
            taken = channel.taken
            assert len(set(taken)) == len(taken), "received twice"
            assert all(message.send.outcome in ("sent", "cancelled") for message in taken)
            assert stats.total_received == len(taken)
            assert stats.total_sent == len(taken) + channel.dropped
            arrived = set(taken)
            for send in channel.sends:
                assert send.outcome != "pending"
                here = sum(message in arrived for message in send.messages)
                if not channel.dropped:
                    assert here == len(send.messages) or (here == 0 and send.outcome != "sent")
            if not self.bare:  # else nobody knows in which order
                for handle in channel.senders:
                    own = [message.number for message in taken if message.send.handle is handle]
                    assert own == sorted(own), "out of order"


def raises(error: BaseException) -> Any:
    def outcome() -> None:
        raise error

    return outcome


RECEIVE = ["recv", "recv", "recv_batch", "recv_nowait", "recv_timeout_0", "try_recv_batch"]
SEND = ["send", "send", "send_batch", "send_nowait", "send_timeout_0", "try_send_batch"]
CANCEL = ["cancel", "cancel_last", "cancel_last"]
TURN = ["turn"] * 4
LIFE = ["clone_sender", "clone_receiver", "close_sender", "close_receiver"]


def schedules(names: list[str]) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    small = st.integers(0, 7)
    return st.lists(st.tuples(st.sampled_from(names), small, small), min_size=3, max_size=STEPS_MAX)


capacities = st.one_of(st.integers(0, CAPACITY_MAX), st.none())


def examples(name: str) -> Any:
    return settings(
        max_examples=EXAMPLES[name],
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(300)
@examples("any")
@given(
    st.lists(capacities, min_size=1, max_size=3),
    schedules([*SEND, *RECEIVE, *CANCEL, *TURN, *LIFE, "select", "select"]),
    st.booleans(),
)
def test_random_schedules_lose_and_double_nothing(loop, capacities, steps, bare):
    loop.run_until_complete(World(capacities, steps, bare).run())


@pytest.mark.timeout(300)
@examples("one small channel")
@given(
    st.integers(0, 1),
    schedules(["send", "recv", "send_nowait", "recv_nowait", *CANCEL, "turn", "turn"]),
    st.booleans(),
)
def test_cancelling_around_the_wake_up_loses_and_doubles_nothing(loop, capacity, steps, bare):
    loop.run_until_complete(World([capacity], steps, bare).run())


@pytest.mark.timeout(300)
@examples("select")
@given(
    st.lists(capacities, min_size=2, max_size=3),
    schedules(
        [
            "select",
            "select",
            "select",
            "send",
            "send_nowait",
            "recv",
            *CANCEL,
            "turn",
            "turn",
            *LIFE,
        ]
    ),
    st.booleans(),
)
def test_cancelling_selects_loses_and_doubles_nothing(loop, capacities, steps, bare):
    loop.run_until_complete(World(capacities, steps, bare).run())


@pytest.mark.timeout(300)
@examples("batches")
@given(
    st.integers(2, 3),
    schedules(["send_batch", "send", "recv_nowait", "cancel", "cancel_last", "turn", "turn"]),
    st.booleans(),
)
def test_cancelling_batches_loses_and_doubles_nothing(loop, capacity, steps, bare):
    full = [("send_nowait", 0, 0)] * capacity
    loop.run_until_complete(World([capacity], full + steps, bare).run())


def test_there_are_ten_thousand_schedules():
    assert sum(EXAMPLES.values()) >= 10_000
