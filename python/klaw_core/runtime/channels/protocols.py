"""What a sender and a receiver are, whatever carries the messages.

``Sender``, ``Receiver`` and their ``Reference`` forms are the least that every flavour and backend
offers; write functions against these. ``ChannelSender`` and ``ChannelReceiver`` are what
``channel()`` gives: the whole matrix {try, wait, wait with a timeout, blocking} x {one, many},
closing, observing.

- **Order**: first in, first out per sender; each message goes to exactly one receiver.
- **Close**: counted. A clone counts from the moment ``clone()`` returns; dropping a handle closes
  it. When the last sender is gone, receivers drain what is stored and then get ``ChannelClosed``;
  when the last receiver is gone, what is stored is dropped and senders get ``ChannelClosed``.
- **Cancel**: every awaited operation starts when it is awaited, not when it is called. Cancelled or
  out of time, it has either happened or not; each method says what is left behind.
- **Threads**: one handle may be used by several threads and event loops at once.
- **Timeouts**: seconds, as int or float; None for no limit; 0 means try. A negative one or NaN is a
  ``ValueError``, another type a ``TypeError``, both at the call.
- **Errors**: operations that wait raise, ``try_`` operations return a ``Result``. Operations on a
  handle that was itself closed are ``ChannelClosed`` of kind ``handle_closed``.
- **Blocking calls** release the GIL, answer Ctrl-C, and refuse a thread that runs an event loop
  with a ``RuntimeError``, since they would stop that loop.

All are runtime-checkable: ``isinstance`` looks for the methods, not for their types.

What is awaited is typed ``Coroutine[object, object, T]``, so that it may be a task of its own; any
``async def`` method fits it. Not ``Coroutine[Any, Any, T]``: an explicit Any makes mypy take
``asyncio.gather`` of two different ones for Any.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from klaw_core.result import Result
from klaw_core.runtime.channels.errors import ChannelClosed, ChannelEmpty, ChannelFull
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = [
    "ChannelReceiver",
    "ChannelSender",
    "Deliveries",
    "Delivery",
    "Permit",
    "Receiver",
    "ReferenceReceiver",
    "ReferenceSender",
    "Sender",
    "WeakReceiver",
    "WeakSender",
]

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Sender(Protocol[T_contra]):
    """The sending side, of any flavour and backend.

    Contravariant: a ``Sender[object]`` takes whatever a ``Sender[int]`` is asked to take, so it may
    be passed where a ``Sender[int]`` is wanted.
    """

    def send(self, value: T_contra, /) -> Coroutine[object, object, object]:
        """Send one value, waiting for room where the flavour waits.

        Gives None, or for broadcast and watch the number of receivers.

        Cancel safety: the message has been sent or has not, never half.

        Raises:
            ChannelClosedError: nobody can receive it any more.
        """
        ...

    def try_send(self, value: T_contra, /) -> Coroutine[object, object, Result[Any, Any]]:
        """Send one value if there is room now: ``Result[None, ChannelFull | ChannelClosed]``.

        Awaited on every backend, since a remote one has to ask. Some flavours give more in ``Ok``
        (the number of receivers) or have one more error (``AlreadySent``).
        """
        ...

    def clone(self) -> Self:
        """One more handle on the same side, which keeps it open until it is closed as well.

        Raises:
            ChannelClosedError: this handle was closed.
            NotImplementedError: the flavour has one sender only (oneshot).
        """
        ...

    def close(self) -> Awaitable[None]:
        """Close this handle, at the call. Idempotent.

        Awaiting what it returns waits until all that was accepted is stored. Cancel safety:
        cancelled or never awaited, the handle is closed all the same.
        """
        ...


@runtime_checkable
class Receiver(Protocol[T_co]):
    """The receiving side, of any flavour and backend.

    Covariant: a ``Receiver[bool]`` gives only what a ``Receiver[int]`` may give, so it may be
    passed where a ``Receiver[int]`` is wanted.
    """

    def recv(self) -> Coroutine[object, object, T_co]:
        """The next message, waiting for it.

        Cancel safety: a cancelled ``recv`` has taken nothing; the message goes to the next one.

        Raises:
            ChannelClosedError: nothing will come any more.
        """
        ...

    def try_recv(self) -> Coroutine[object, object, Result[T_co, ChannelEmpty | ChannelClosed]]:
        """The next message if there is one now. Awaited on every backend, as ``try_send`` is."""
        ...

    def clone(self) -> Self:
        """One more handle on the same side, which keeps it open until it is closed as well.

        Raises:
            ChannelClosedError: this handle was closed.
            NotImplementedError: the flavour's receivers cannot be cloned (oneshot).
        """
        ...

    def close(self) -> Awaitable[None]:
        """Close this handle, at the call. Idempotent; see ``Sender.close``."""
        ...

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Receive until the channel ends in an orderly way.

        An end that is not (a sender died, or closed with a reason) raises ``ChannelClosedError``
        after what was stored is drained; a backend error is raised at once.
        """
        ...

    def __anext__(self) -> Coroutine[object, object, T_co]:
        """``recv()``, but an orderly end is ``StopAsyncIteration``."""
        ...


@runtime_checkable
class ReferenceSender(Sender[T_contra], Protocol[T_contra]):
    """A ``Sender`` for large payloads, which travel beside the channel. Contravariant."""

    def send_batch(self, values: Iterable[T_contra], /) -> Coroutine[object, object, None]:
        """Send all values, in order, waiting for room for all of them.

        Cancel safety: the whole batch has been sent or nothing of it.

        Raises:
            ChannelFullError: at once, for more values than ``max(capacity, 1)``.
            ChannelClosedError: nobody can receive them any more.
        """
        ...


@runtime_checkable
class ReferenceReceiver(Receiver[T_co], Protocol[T_co]):  # type: ignore[misc]  # see below
    """A ``Receiver`` for large payloads, which travel beside the channel. Covariant."""

    # A checker would have list[T_co] make this invariant, since a list can be written to. But the
    # list is a fresh one that nobody else holds, so covariance is sound.

    def recv_batch(self, max_items: int) -> Coroutine[object, object, list[T_co]]:
        """Wait for the first message, then take what is there, at most ``max_items`` (>= 1).

        Cancel safety: a cancelled ``recv_batch`` has taken nothing.

        Raises:
            ChannelClosedError: nothing will come any more.
            ValueError: ``max_items`` is below 1.
        """
        ...


@runtime_checkable
class Permit(Protocol[T_contra]):
    """One slot of a channel's capacity, held for a message that is to come: ``await tx.reserve()``.

    What must not be made in vain is made once there is room for it. Stored messages and held slots
    together never exceed the capacity. A permit keeps its sender counted, so receivers wait for what
    it may send, also when the handle that reserved it was closed. Contravariant, see ``Sender``.

    Example::

        permit = await tx.reserve()
        permit.send(compute())
    """

    def send(self, value: T_contra, /) -> None:
        """Send one value into the slot, at once, from any thread or callback. It cannot fail.

        If no receiver is left the value is dropped.

        Raises:
            RuntimeError: the permit was used or released already.
        """
        ...

    def release(self) -> None:
        """Give the slot to the next in line. Idempotent; a permit that is dropped does so, too."""
        ...


@runtime_checkable
class Delivery(Protocol[T_co]):
    """A message that is done with when its receiver says so: ``await rx.recv_acked()``.

    It is acknowledged when its ``async with`` or ``with`` block ends well. Left by an exception,
    cancelled, given back by ``nack``, or dropped, it is handed out again, marked: at least once. So
    it is if its process dies. The end of the channel waits for what others have not settled. Any
    thread may settle it. Covariant, see ``Receiver``.

    Example::

        async for m in rx.acked():
            async with m:
                await work(m.value)
    """

    @property
    def value(self) -> T_co:
        """The message."""
        ...

    @property
    def redelivered(self) -> bool:
        """Whether it may have been handed out before: its work may have been done already."""
        ...

    @property
    def attempt(self) -> int:
        """How often it was handed out, this time included: from 1."""
        ...

    def ack(self) -> None:
        """The message is done with. Idempotent: what was settled once stays as it was."""
        ...

    def nack(self, delay: float = 0.0) -> None:
        """Have it handed out again, to any receiver, after ``delay`` seconds. Idempotent.

        Raises:
            ValueError: ``delay`` is negative or not finite.
        """
        ...

    def __aenter__(self) -> Coroutine[object, object, Self]: ...

    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


@runtime_checkable
class Deliveries(Protocol[T_co]):
    """What ``rx.acked()`` gives: receives deliveries until the channel ends in an orderly way. Covariant."""

    def __aiter__(self) -> Self:
        """Itself."""
        ...

    def __anext__(self) -> Coroutine[object, object, Delivery[T_co]]:
        """``recv_acked()``, but an orderly end is ``StopAsyncIteration``."""
        ...

    def __iter__(self) -> Self:
        """Itself, for threads without an event loop."""
        ...

    def __next__(self) -> Delivery[T_co]:
        """``blocking_recv_acked()``, but an orderly end is ``StopIteration``."""
        ...


@runtime_checkable
class WeakSender(Protocol[T_contra]):
    """A sender that does not count: ``tx.downgrade()``. It keeps no channel open. Contravariant, see ``Sender``."""

    def upgrade(self) -> Coroutine[object, object, ChannelSender[T_contra] | None]:
        """A sender as if cloned from an open one, or None once the last one has closed.

        Cancel safety: a cancelled ``upgrade`` leaves nothing open.
        """
        ...

    def blocking_upgrade(self) -> ChannelSender[T_contra] | None:
        """``upgrade`` for threads without an event loop."""
        ...


@runtime_checkable
class WeakReceiver(Protocol[T_co]):
    """A receiver that does not count: ``rx.downgrade()``. It keeps no channel open. Covariant, see ``Receiver``."""

    def upgrade(self) -> Coroutine[object, object, ChannelReceiver[T_co] | None]:
        """A receiver as if cloned from an open one, or None once the last one has closed.

        Cancel safety: a cancelled ``upgrade`` leaves nothing open.
        """
        ...

    def blocking_upgrade(self) -> ChannelReceiver[T_co] | None:
        """``upgrade`` for threads without an event loop."""
        ...


@runtime_checkable
class ChannelSender(Protocol[T_contra]):
    """The sending handle of an MPMC channel, on any backend.

    A ``Sender`` and ``ReferenceSender``. Contravariant, see ``Sender``. Always true in a boolean
    context. ``async with`` and ``with`` close it; left by an exception, they close it with that
    exception as the reason.
    """

    # -- awaited

    def send(
        self, value: T_contra, /, timeout: float | None = None
    ) -> Coroutine[object, object, None]:
        """Send one value, waiting for room for at most ``timeout`` seconds.

        Cancel safety: the message has been sent or has not, never half.

        Raises:
            ChannelClosedError: no receiver is left, or this handle was closed.
            SendTimeoutError: no room in time.
        """
        ...

    def try_send(
        self, value: T_contra, /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]:
        """Send one value if there is room now."""
        ...

    def send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> Coroutine[object, object, None]:
        """Send all values, in order, waiting for room for all of them.

        Cancel safety: the whole batch has been sent or nothing of it.

        Raises:
            ChannelFullError: at once, for more values than ``max(capacity, 1)``.
            ChannelClosedError: no receiver is left, or this handle was closed.
            SendTimeoutError: not enough room in time.
        """
        ...

    def try_send_batch(
        self, values: Iterable[T_contra], /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]:
        """Send all values if there is room for all of them now, else none."""
        ...

    def reserve(self, timeout: float | None = None) -> Coroutine[object, object, Permit[T_contra]]:
        """Hold a slot for a message that is to come, waiting in the line of those who send.

        On a rendezvous a slot is a receiver that waits.

        Cancel safety: a cancelled ``reserve`` holds nothing.

        Raises:
            ChannelClosedError: no receiver is left, or this handle was closed.
            SendTimeoutError: no room in time.
        """
        ...

    def try_reserve(
        self,
    ) -> Coroutine[object, object, Result[Permit[T_contra], ChannelFull | ChannelClosed]]:
        """Hold a slot if there is one now."""
        ...

    def flush(self) -> Coroutine[object, object, None]:
        """Wait until all that was sent by this handle is stored.

        Cancel safety: it holds nothing.

        Raises:
            ChannelClosedError: something was not stored, or this handle was closed.
        """
        ...

    def closed(self) -> Coroutine[object, object, None]:
        """Wait until nobody can receive any more, or the channel was shut down. Leaves nothing behind."""
        ...

    def shutdown(
        self, immediate: bool = False, reason: str | None = None
    ) -> Coroutine[object, object, None]:
        """End the channel for everybody: no more sends, from anywhere.

        Who waits to send, and who tries, gets ``ChannelClosedError`` of kind ``shutdown``. Receivers
        drain what is stored, then end in an orderly way; if ``immediate``, what is stored is dropped.
        Idempotent: the first reason is kept.

        Raises:
            ChannelClosedError: this handle was closed.
        """
        ...

    def stats(self) -> Coroutine[object, object, ChannelStats]:
        """The channel at this moment."""
        ...

    # -- plain calls

    def send_nowait(self, value: T_contra, /) -> None:
        """Send one value if there is room now.

        Raises:
            ChannelFullError: no room now.
            ChannelClosedError: no receiver is left, or this handle was closed.
        """
        ...

    def blocking_send(self, value: T_contra, /, timeout: float | None = None) -> None:
        """``send`` for threads without an event loop; refuses (RuntimeError) one that runs it."""
        ...

    def blocking_send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> None:
        """``send_batch`` for threads without an event loop; refuses one that runs it."""
        ...

    def blocking_reserve(self, timeout: float | None = None) -> Permit[T_contra]:
        """``reserve`` for threads without an event loop; refuses one that runs it."""
        ...

    def blocking_flush(self, timeout: float | None = None) -> None:
        """``flush`` for threads without an event loop."""
        ...

    # -- life

    def clone(self) -> Self:
        """One more sender. It counts from the moment this returns, and closes on its own.

        Raises:
            ChannelClosedError: this handle was closed.
        """
        ...

    def close(self, reason: str | None = None) -> Awaitable[None]:
        """Close this handle, at the call, from any thread or callback. Idempotent.

        With a ``reason`` the end is not orderly: receivers drain, then raise it.

        Awaiting what it returns waits until all that was accepted is stored. Cancel safety:
        cancelled or never awaited, the handle is closed all the same. Never raises ``ChannelClosed``.
        """
        ...

    def blocking_close(self, timeout: float | None = None) -> None:
        """``close()`` for threads without an event loop."""
        ...

    def blocking_shutdown(self, immediate: bool = False, reason: str | None = None) -> None:
        """``shutdown`` for threads without an event loop."""
        ...

    def downgrade(self) -> WeakSender[T_contra]:
        """A weak handle: it does not count, and can be upgraded while the side is open."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether a send would be ``ChannelClosed``: this handle closed, or no receiver is left."""
        ...

    @property
    def capacity(self) -> int | None:
        """Messages the channel holds at most; 0 for a rendezvous, None for unbounded."""
        ...

    def ticket(self) -> str:
        """A short text that stands for one more sender, counted from now on, for a process without Ray.

        ``sender_from_ticket`` makes the handle of it, once, within ten minutes. It is a secret. On Ray it blocks for a
        round trip; not on ``local``, nor for handles of reference channels: ``TypeError``.
        """
        ...

    def same_channel(self, other: ChannelSender[Any] | ChannelReceiver[Any], /) -> bool:
        """Whether both handles belong to one channel."""
        ...

    def __aenter__(self) -> Coroutine[object, object, Self]: ...

    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


@runtime_checkable
class ChannelReceiver(Protocol[T_co]):  # type: ignore[misc]  # see ReferenceReceiver
    """The receiving handle of an MPMC channel, on any backend.

    A ``Receiver`` and ``ReferenceReceiver``. Covariant, see ``Receiver``. Always true in a boolean
    context. ``async with`` and ``with`` close it. ``async for`` and ``for`` (blocking) receive until
    the channel ends in an orderly way.
    """

    # -- awaited

    def recv(self, timeout: float | None = None) -> Coroutine[object, object, T_co]:
        """The next message, waiting for it for at most ``timeout`` seconds.

        Cancel safety: a cancelled ``recv`` has taken nothing; the message goes to the next one.

        Raises:
            ChannelClosedError: nothing will come any more, or this handle was closed.
            RecvTimeoutError: no message in time.
        """
        ...

    def try_recv(self) -> Coroutine[object, object, Result[T_co, ChannelEmpty | ChannelClosed]]:
        """The next message if there is one now."""
        ...

    def recv_batch(
        self, max_items: int, timeout: float | None = None
    ) -> Coroutine[object, object, list[T_co]]:
        """Wait for the first message, then take what is there, at most ``max_items`` (>= 1).

        Cancel safety: a cancelled ``recv_batch`` has taken nothing.

        Raises:
            ChannelClosedError: nothing will come any more, or this handle was closed.
            RecvTimeoutError: no message in time.
            ValueError: ``max_items`` is below 1.
        """
        ...

    def try_recv_batch(
        self, max_items: int
    ) -> Coroutine[object, object, Result[list[T_co], ChannelEmpty | ChannelClosed]]:
        """Take what is there now, at least one message and at most ``max_items`` (>= 1)."""
        ...

    def recv_acked(self, timeout: float | None = None) -> Coroutine[object, object, Delivery[T_co]]:
        """The next message, which comes back unless it is acknowledged: ``async with`` it.

        Cancel safety: a cancelled ``recv_acked`` has taken nothing.

        Raises:
            ChannelClosedError: nothing will come any more, or this handle was closed.
            RecvTimeoutError: no message in time.
        """
        ...

    def acked(self) -> Deliveries[T_co]:
        """Iterate over deliveries: ``async for m in rx.acked(): async with m: ...``, or in a thread ``for``."""
        ...

    def __aiter__(self) -> Self:
        """Receive until the channel ends in an orderly way; see ``Receiver.__aiter__``."""
        ...

    def __anext__(self) -> Coroutine[object, object, T_co]:
        """``recv()``, but an orderly end is ``StopAsyncIteration``."""
        ...

    def closed(self) -> Coroutine[object, object, None]:
        """Wait until nobody can send any more. Messages may still be stored then."""
        ...

    def shutdown(
        self, immediate: bool = False, reason: str | None = None
    ) -> Coroutine[object, object, None]:
        """End the channel for everybody: no more sends, from anywhere.

        Who waits to send, and who tries, gets ``ChannelClosedError`` of kind ``shutdown``. Receivers
        drain what is stored, then end in an orderly way; if ``immediate``, what is stored is dropped.
        Idempotent: the first reason is kept.

        Raises:
            ChannelClosedError: this handle was closed.
        """
        ...

    def stats(self) -> Coroutine[object, object, ChannelStats]:
        """The channel at this moment."""
        ...

    # -- plain calls

    def recv_nowait(self) -> T_co:
        """The next message if there is one now.

        Raises:
            ChannelEmptyError: there is none now.
            ChannelClosedError: nothing will come any more, or this handle was closed.
        """
        ...

    def blocking_recv(self, timeout: float | None = None) -> T_co:
        """``recv`` for threads without an event loop; refuses (RuntimeError) one that runs it."""
        ...

    def blocking_recv_batch(self, max_items: int, timeout: float | None = None) -> list[T_co]:
        """``recv_batch`` for threads without an event loop; refuses one that runs it."""
        ...

    def blocking_recv_acked(self, timeout: float | None = None) -> Delivery[T_co]:
        """``recv_acked`` for threads without an event loop; refuses one that runs it."""
        ...

    def __iter__(self) -> Self:
        """Receive, blocking, until the channel ends in an orderly way."""
        ...

    def __next__(self) -> T_co:
        """``blocking_recv()``, but an orderly end is ``StopIteration``."""
        ...

    # -- life

    def clone(self) -> Self:
        """One more receiver. It counts from the moment this returns, and closes on its own.

        Raises:
            ChannelClosedError: this handle was closed.
        """
        ...

    def close(self, reason: str | None = None) -> Awaitable[None]:
        """Close this handle, at the call, from any thread or callback. Idempotent.

        When it was the last receiver, what is stored is dropped, and senders get ``ChannelClosed``
        with the ``reason``. Awaiting what it returns, cancelled or not, changes nothing about that.
        """
        ...

    def blocking_close(self, timeout: float | None = None) -> None:
        """``close()`` for threads without an event loop."""
        ...

    def blocking_shutdown(self, immediate: bool = False, reason: str | None = None) -> None:
        """``shutdown`` for threads without an event loop."""
        ...

    def downgrade(self) -> WeakReceiver[T_co]:
        """A weak handle: it does not count, and can be upgraded while the side is open."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether a receive would be ``ChannelClosed``: this handle closed, or ended and drained."""
        ...

    @property
    def capacity(self) -> int | None:
        """Messages the channel holds at most; 0 for a rendezvous, None for unbounded."""
        ...

    def ticket(self) -> str:
        """A short text that stands for one more receiver, counted from now on, for a process without Ray.

        ``receiver_from_ticket`` makes the handle of it, once, within ten minutes. It is a secret. On Ray it blocks for
        a round trip; not on ``local``, nor for handles of reference channels: ``TypeError``.
        """
        ...

    def same_channel(self, other: ChannelSender[Any] | ChannelReceiver[Any], /) -> bool:
        """Whether both handles belong to one channel."""
        ...

    def __aenter__(self) -> Coroutine[object, object, Self]: ...

    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
