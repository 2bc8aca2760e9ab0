"""Reference channels: payloads go to Ray's object store, and references to them through the channel, in its order.

Made by ``channel(..., backend='ray', reference=True)``, or by hand around any Ray handle. For large payloads:
a message costs some milliseconds of Ray's, whatever its size, and its bytes are copied once, by the put.

- **Messages**: of any size that the object stores of the cluster hold, and any value that can be pickled. Arrays
  come out read-only, and read where they are: as long as one lives, its memory in the store is held. Object
  references in a payload stay alive with it.
- **Order, capacity, close, threads**: as of the channel around which it is (``core``). Sends that several tasks of
  an event loop have begun are in the order in which they began, and their payloads are put side by side. Ordinary
  messages, sent by a plain handle, may be among them; the receiver gives both.
- **Ownership**: with ``owner='sender'`` a payload is gone when the process that sent it ends, even if it has not
  been received; closing the handle does not harm it. With ``owner='channel'`` ``send`` also waits until the
  channel's actor has a copy of its own, which lives as long as the actor does.
- **Freeing**: the channel holds a payload from before its message is sent until the message is done with, in
  whichever way: received, acknowledged, withdrawn, dropped with the last receiver. Then Ray frees it.
- **Lost payloads**: ``PayloadLostError`` at the receiver. The message counts as taken, and the channel goes on.
- **Cancel**: nothing is lost. A cancelled ``recv`` gives its message back, also while it fetches the payload; it
  comes before those that are queued. Those of a batch come back one by one, and may be met out of order. A
  cancelled ``send`` has sent the message or has not; the payload goes with it.
- **Time limits** are for the room and for the message to come, as on every channel; putting and fetching a payload
  takes its time beside that.
- **A death** of a receiver that was fetching: the message is delivered again, to another one.
- **Plain calls**: ``recv_nowait`` finds nothing, since a payload is elsewhere, and ``send_nowait`` has no room:
  use ``try_recv`` and ``try_send``. A permit's ``send`` puts its payload there and then, in an event loop, too.
- **Fork**: not in a forked child, which cannot use Ray.
- **Cost**: an actor call, about a millisecond, for a send and for a receive each; one for a whole batch, whose
  payloads are put, and fetched, side by side. ``owner='channel'``: one more, and a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Generic, Literal, NoReturn, Self, TypeAlias, TypeVar, cast

import ray
from ray.exceptions import ObjectLostError, RayError

from klaw_core import _core
from klaw_core.result import Err, Ok, Result
from klaw_core.runtime.channels.checks import at_least, check_type
from klaw_core.runtime.channels.errors import (
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelFull,
    ChannelFullError,
    PayloadLostError,
    RecvTimeoutError,
)
from klaw_core.runtime.channels.protocols import (
    Deliveries,
    Delivery,
    Permit,
    WeakReceiver,
    WeakSender,
)
from klaw_core.runtime.channels.ray.connections import Connection
from klaw_core.runtime.channels.ray.core import RayReceiver, RaySender
from klaw_core.runtime.channels.ray.explain import backend_error, explain
from klaw_core.runtime.channels.ray.payload import Reference, Sealed, decode, seal, unseal
from klaw_core.runtime.channels.select import Indirect
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = ["Owner", "RayReferenceReceiver", "RayReferenceSender", "read_all"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
H = TypeVar("H", RaySender[Any], RayReceiver[Any])

Owner: TypeAlias = Literal["sender", "channel"]
"""Whose a payload is: gone with the process that sent it, or with the channel's actor."""

_ANSWER_LIMIT_S: Final = 10.0  # for the actor, in threads
_LARGE_PICKLE: Final = 64 * 1024  # bytes: it is not unpickled in an event loop's thread

# Where payloads are put, and what else would block an event loop is done; and where those of one batch are put, for
# which a thread of the first waits.
_workers: Final = ThreadPoolExecutor(8, thread_name_prefix="klaw-reference")
_putters: Final = ThreadPoolExecutor(4, thread_name_prefix="klaw-put")


class _Store:
    """The payloads of a channel, which its actor holds: asked by one handle."""

    __slots__ = ("_channel",)

    def __init__(self, channel: _core.RemoteChannel) -> None:
        self._channel = channel

    def put(self, names: list[Reference], values: list[Any]) -> None:
        """Put the values, and have the actor hold them. Blocks."""
        actor = self._actor()
        refs = [_put(values[0])] if len(values) == 1 else list(_putters.map(_put, values))
        kept = dict(zip(map(str, names), refs, strict=True))
        self._blocking_answer(actor.keep_payloads.remote(kept).future())

    async def adopt(self, names: list[Reference]) -> None:
        await self._answer(self._actor().adopt_payloads.remote([*map(str, names)]))

    def blocking_adopt(self, names: list[Reference]) -> None:
        self._blocking_answer(self._actor().adopt_payloads.remote([*map(str, names)]).future())

    def drop(self, names: list[Reference]) -> None:
        """No message refers to them. Waits for nothing."""
        with contextlib.suppress(ChannelClosedError, RayError):
            self._actor().drop_payloads.remote([*map(str, names)])

    def drop_unless_queued(self, names: list[Reference]) -> None:
        """A send of them was given up: they are in the channel or are not. Blocks until that has decided it."""
        with contextlib.suppress(ChannelClosedError, RayError):
            # The withdrawal is on its way, and what is said after it is answered after it: that a handle has opened,
            # or that it may not.
            after_it: RaySender[Any] = RaySender._on(self._channel)
            with contextlib.suppress(ChannelClosedError, TimeoutError), after_it:
                after_it._open()
                after_it._wait_until_opened(_ANSWER_LIMIT_S)
            self._actor().drop_payloads.remote([*map(str, names)], unless_queued=True)

    async def get(self, names: list[Reference]) -> list[Sealed | PayloadLostError]:
        """Their payloads, fetched side by side."""
        refs = await self._answer(self._refs(names))
        return await asyncio.gather(*map(self._get_one, names, refs))

    async def _get_one(self, name: Reference, ref: Any) -> Sealed | PayloadLostError:
        if ref is None:
            return _unknown(name)
        try:
            return cast("Sealed", await self._answer(ref))
        except ObjectLostError as error:
            # The actor may have made it its own after it told us where it was.
            (newer,) = await self._answer(self._refs([name]))
            return _lost(ref, error) if newer in (None, ref) else await self._get_one(name, newer)

    def blocking_get(self, names: list[Reference]) -> list[Sealed | PayloadLostError]:
        """``get``, for a thread."""
        refs = self._blocking_answer(self._refs(names).future())
        arriving = [None if ref is None else ref.future() for ref in refs]
        return [*map(self._blocking_get_one, names, refs, arriving)]

    def _blocking_get_one(
        self, name: Reference, ref: Any, arriving: Future[Any] | None
    ) -> Sealed | PayloadLostError:
        if arriving is None:
            return _unknown(name)
        try:
            return cast("Sealed", self._blocking_answer(arriving, None))
        except ObjectLostError as error:
            (newer,) = self._blocking_answer(self._refs([name]).future())
            if newer in (None, ref):
                return _lost(ref, error)
            return self._blocking_get_one(name, newer, newer.future())

    def _refs(self, names: list[Reference]) -> Any:
        return self._actor().get_payloads.remote([*map(str, names)])

    def _known(self) -> Connection:
        return cast("Connection", self._channel.owner)

    def _actor(self) -> Any:
        known = self._known()
        if known.ray_pid != os.getpid():
            raise self._error("this process was forked, and cannot use Ray's object store")
        return known.known_actor()

    async def _answer(self, ref: Any) -> Any:
        try:
            return await asyncio.wrap_future(ref.future())
        except ObjectLostError:
            raise
        except RayError as error:
            raise self._error("its payloads can't be reached", error) from error

    def _blocking_answer(self, future: Future[Any], limit: float | None = _ANSWER_LIMIT_S) -> Any:
        try:
            return future.result(limit)
        except ObjectLostError:
            raise
        except TimeoutError as error:
            raise self._error(f"its actor did not answer within {limit:g} s") from error
        except RayError as error:
            raise self._error("its payloads can't be reached", error) from error

    def _error(self, what: str, cause: BaseException | None = None) -> ChannelClosedError:
        known = self._known()
        return backend_error(what, name=known.name, namespace=known.namespace, cause=cause)


def _put(value: object) -> Any:
    return ray.put(seal(value))


def _names(count: int) -> list[Reference]:
    return [Reference(secrets.token_hex(16)) for _ in range(count)]


def _unknown(name: Reference) -> PayloadLostError:
    return PayloadLostError(name, "the channel does not have it any more")


def _lost(ref: Any, cause: ObjectLostError) -> PayloadLostError:
    error = PayloadLostError(ref.hex(), explain(cause))
    error.__cause__ = cause
    return error


def read_all(channel: _core.RemoteChannel, messages: list[bytes]) -> list[Any]:
    """The values of messages that nobody takes, with those of their payloads. Blocks.

    What can't be read here is its exception.
    """
    values = [_read(decode, message) for message in messages]
    names = [value for value in values if isinstance(value, Reference)]
    payloads = dict(zip(names, _Store(channel).blocking_get(names), strict=True)) if names else {}
    return [_read(_unsealed, payloads[v]) if isinstance(v, Reference) else v for v in values]


def _read(how: Callable[[Any], Any], what: Any) -> Any:
    try:
        return how(what)
    except Exception as error:  # noqa: BLE001  whatever a class raises when it is unpickled
        return error


def _unsealed(payload: Sealed | PayloadLostError) -> Any:
    return payload if isinstance(payload, PayloadLostError) else unseal(payload)


# --------------------------------------------------------------------------------------- the handles


class _Handle(Generic[H]):
    """What both sides have, of the handle that is inside."""

    __slots__ = ("__weakref__", "_inner", "_store")

    def __init__(self, inner: H) -> None:
        self._inner: H = inner
        self._store = _Store(inner._channel)

    def _around(self, inner: H) -> Self:
        """A handle like this one."""
        return type(self)(inner)

    @property
    def _channel(self) -> _core.RemoteChannel:
        return self._inner._channel

    def clone(self) -> Self:
        """One more handle, around a clone of the one inside."""
        return self._around(self._inner.clone())

    def ticket(self) -> NoReturn:
        """Not for a reference channel.

        Raises:
            TypeError: always: its payloads are in Ray's object store, which a process without Ray can't reach.
        """
        raise TypeError(
            f"no ticket for '{type(self).__name__}': the payloads are in Ray's object store; pass the handle itself "
            "to a process of the cluster"
        )

    def close(self, reason: str | None = None) -> Awaitable[None]:
        """Close it, and the handle inside. See ``ChannelSender.close``."""
        return self._inner.close(reason)

    def blocking_close(self, timeout: float | None = None) -> None:
        """``close`` for threads without an event loop."""
        self._inner.blocking_close(timeout)

    def closed(self) -> Coroutine[object, object, None]:
        """Wait until nobody is left on the other side."""
        return self._inner.closed()

    def shutdown(
        self, immediate: bool = False, reason: str | None = None
    ) -> Coroutine[object, object, None]:
        """End the channel for everybody. See ``ChannelSender.shutdown``."""
        return self._inner.shutdown(immediate, reason)

    def blocking_shutdown(self, immediate: bool = False, reason: str | None = None) -> None:
        """``shutdown`` for threads without an event loop."""
        self._inner.blocking_shutdown(immediate, reason)

    def stats(self) -> Coroutine[object, object, ChannelStats]:
        """A consistent snapshot. One actor call."""
        return self._inner.stats()

    @property
    def is_closed(self) -> bool:
        """See ``ChannelSender.is_closed`` and ``ChannelReceiver.is_closed``."""
        return self._inner.is_closed

    @property
    def capacity(self) -> int | None:
        """Messages the channel holds at most; 0 for a rendezvous, None for unbounded."""
        return self._inner.capacity

    def same_channel(self, other: Any, /) -> bool:
        """Whether both handles, of whatever kind, belong to one channel."""
        return self._inner.same_channel(other._inner if isinstance(other, _Handle) else other)

    async def __aenter__(self) -> Self:
        return self

    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]:
        return self._inner.__aexit__(exc_type, exc, traceback)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._inner.__exit__(exc_type, exc, traceback)

    def __bool__(self) -> Literal[True]:
        return True

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied: use clone()")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {repr(self._inner).partition(' ')[2]}"


class _Weak:
    """A weak handle of either side: around the weak one inside."""

    __slots__ = ("_inner", "_make")

    def __init__(self, inner: Any, make: Callable[[Any], Any]) -> None:
        self._inner = inner
        self._make = make

    async def upgrade(self) -> Any:
        """A handle while the side is open, else None. Cancelled, it leaves nothing open."""
        inner = await self._inner.upgrade()
        return None if inner is None else self._make(inner)

    def blocking_upgrade(self) -> Any:
        """``upgrade`` for threads without an event loop."""
        inner = self._inner.blocking_upgrade()
        return None if inner is None else self._make(inner)


class RayReferenceSender(_Handle[RaySender[Any]], Generic[T_contra]):
    """A sender of large payloads: a ``ChannelSender`` and a ``ReferenceSender``. See the module.

    Around a Ray sender, which it closes; that one may be used, too, for messages that travel in the channel itself.

    Args:
        inner: the handle.
        owner: ``'sender'``, or ``'channel'`` for payloads that outlive this process.
    """

    __slots__ = ("_last_turn", "_lock", "_owner")

    def __init__(self, inner: RaySender[Any], *, owner: Owner = "sender") -> None:
        check_type("inner", "a RaySender", inner, RaySender)
        if owner not in ("sender", "channel"):
            raise ValueError(f"owner must be 'sender' or 'channel', got {owner!r}")
        super().__init__(inner)
        self._owner: Owner = owner
        self._lock = threading.Lock()
        self._last_turn: Future[None] | None = None  # done once that send is in the line for room

    def _around(self, inner: RaySender[Any]) -> Self:
        return type(self)(inner, owner=self._owner)

    def send(
        self, value: T_contra, /, timeout: float | None = None
    ) -> Coroutine[object, object, None]:
        """Put the payload, then send a reference to it, waiting for room for at most ``timeout`` seconds.

        Cancel safety: the message has been sent or has not; if not, its payload is freed.

        Raises:
            ChannelClosedError: no receiver is left, or this handle was closed.
            ChannelBackendErrorException: the payload could not be put, or the channel not be reached.
            SendTimeoutError: no room in time.
        """
        _core.check_timeout(timeout)
        return self._send([value], lambda names: self._inner.send(names[0], timeout))

    def try_send(
        self, value: T_contra, /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]:
        """Send if there is room now. The payload is put before anybody is asked. As cancel-safe as ``send``."""
        return self._send([value], lambda names: self._inner.try_send(names[0]))

    def send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> Coroutine[object, object, None]:
        """Put the payloads side by side, then send all their references, in order, or none.

        Cancel safety: the whole batch has been sent or nothing of it.

        Raises:
            ChannelFullError: at once, for more values than ``max(capacity, 1)``.
            and what ``send`` raises.
        """
        _core.check_timeout(timeout)
        batch = list(values)
        if self._is_too_large(batch):
            return self._inner.send_batch(batch, timeout)
        return self._send(batch, lambda names: self._inner.send_batch(names, timeout))

    def try_send_batch(
        self, values: Iterable[T_contra], /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]:
        """Send all values if there is room for all of them now, else none."""
        batch = list(values)
        if self._is_too_large(batch):
            return self._inner.try_send_batch(batch)
        return self._send(batch, self._inner.try_send_batch)

    def send_nowait(self, value: T_contra, /) -> None:
        """Raises ``ChannelFullError``, as on every Ray channel, or ``ChannelClosedError``: use ``try_send``."""
        self._inner.send_nowait(value)

    def blocking_send(self, value: T_contra, /, timeout: float | None = None) -> None:
        """``send`` for threads without an event loop; refuses one that runs it."""
        _core.check_timeout(timeout)
        _core.refuse_event_loop("await tx.send(value)")
        self._blocking_send([value], lambda names: self._inner.blocking_send(names[0], timeout))

    def blocking_send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> None:
        """``send_batch`` for threads without an event loop; refuses one that runs it."""
        _core.check_timeout(timeout)
        _core.refuse_event_loop("await tx.send_batch(values)")
        batch = list(values)
        if self._is_too_large(batch):
            return self._inner.blocking_send_batch(batch, timeout)
        return self._blocking_send(
            batch, lambda names: self._inner.blocking_send_batch(names, timeout)
        )

    def reserve(self, timeout: float | None = None) -> Coroutine[object, object, Permit[T_contra]]:
        """A slot for a message to come, waiting for room for at most ``timeout`` seconds. See ``Permit``.

        Cancel safety: cancelled, it holds nothing.
        """
        return self._reserve(self._inner.reserve(timeout))

    async def _reserve(self, reserving: Awaitable[Permit[Any]]) -> Permit[T_contra]:
        return _Permit(await reserving, self)

    def try_reserve(
        self,
    ) -> Coroutine[object, object, Result[Permit[T_contra], ChannelFull | ChannelClosed]]:
        """A slot, if there is one now."""
        return self._try_reserve(self._inner.try_reserve())

    async def _try_reserve(
        self, trying: Awaitable[Result[Permit[Any], Any]]
    ) -> Result[Permit[T_contra], Any]:
        return (await trying).map(lambda permit: _Permit(permit, self))

    def blocking_reserve(self, timeout: float | None = None) -> Permit[T_contra]:
        """``reserve`` for threads without an event loop; refuses one that runs it."""
        return _Permit(self._inner.blocking_reserve(timeout), self)

    def flush(self) -> Coroutine[object, object, None]:
        """Wait until all that was sent by this handle is stored. Cancelled, it leaves nothing behind."""
        return self._inner.flush()

    def blocking_flush(self, timeout: float | None = None) -> None:
        """``flush`` for threads without an event loop."""
        self._inner.blocking_flush(timeout)

    def downgrade(self) -> WeakSender[T_contra]:
        """A weak handle: it does not count, and can be upgraded while the side is open."""
        return _Weak(self._inner.downgrade(), self._around)

    def _is_too_large(self, batch: list[Any]) -> bool:
        """It never fits, so that nothing has to be put."""
        return self.capacity is not None and len(batch) > max(self.capacity, 1)

    async def _send(self, values: list[Any], send: Callable[[list[Reference]], Awaitable[T]]) -> T:
        if self._inner.is_closed:
            return await send(_names(len(values)))  # which raises, or says so
        names = _names(len(values))
        turn: Future[None] = Future()
        with self._lock:
            before, self._last_turn = self._last_turn, turn
        putting = _workers.submit(self._store.put, names, values)
        try:
            await asyncio.wrap_future(putting)
            if before is not None:
                await asyncio.shield(asyncio.wrap_future(before))
        except BaseException:
            putting.add_done_callback(lambda _: self._store.drop(names))
            _pass_on(before, turn)
            raise
        turn.set_result(
            None
        )  # whom it wakes runs after what follows, which gets into the line at once
        with self._dropped_unless_sent(names):
            result = await send(names)
        if isinstance(result, Err):
            self._store.drop(names)
        elif self._owner == "channel":
            await self._store.adopt(names)
        return result

    def _blocking_send(self, values: list[Any], send: Callable[[list[Reference]], None]) -> None:
        names = _names(len(values))
        if self._inner.is_closed:
            return send(names)
        with self._dropped_unless_sent(names):
            self._store.put(names, values)
            send(names)
        if self._owner == "channel":
            self._store.blocking_adopt(names)
        return None

    def _send_by(self, permit: Permit[Any], value: object) -> None:
        names = _names(1)
        try:
            self._store.put(names, [value])
            permit.send(names[0])
        except BaseException:
            self._store.drop(names)
            raise
        if self._owner == "channel":
            self._store.blocking_adopt(names)

    @contextlib.contextmanager
    def _dropped_unless_sent(self, names: list[Reference]) -> Generator[None]:
        try:
            yield
        except ChannelFullError:
            self._store.drop(names)
            raise
        except BaseException:
            _workers.submit(self._store.drop_unless_queued, names)
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return _around_sender, (type(self), self._inner, self._owner)


def _around_sender(cls: type[Any], inner: RaySender[Any], owner: Owner) -> Any:
    return cls(inner, owner=owner)


def _pass_on(before: Future[None] | None, turn: Future[None]) -> None:
    """Of one that does not send: who comes behind it waits for those before it."""
    if before is None:
        turn.set_result(None)
    else:
        before.add_done_callback(lambda _: turn.set_result(None))


class _Permit(Generic[T_contra]):
    """A slot of the channel: see ``Permit``."""

    __slots__ = ("__weakref__", "_inner", "_sender")

    def __init__(self, inner: Permit[Any], sender: RayReferenceSender[T_contra]) -> None:
        self._inner = inner
        self._sender = sender

    def send(self, value: T_contra, /) -> None:
        """Put the payload and send its reference. A plain call, of about a millisecond and a copy.

        Raises:
            RuntimeError: it was used or released already.
            ChannelBackendErrorException: the payload could not be put; the permit stays good.
        """
        self._sender._send_by(self._inner, value)

    def release(self) -> None:
        """Give the slot back. Idempotent."""
        self._inner.release()


class RayReferenceReceiver(_Handle[RayReceiver[Any]], Indirect, Generic[T_co]):
    """A receiver of large payloads: a ``ChannelReceiver`` and a ``ReferenceReceiver``. See the module.

    Around a Ray receiver, which it closes. Messages that travelled in the channel itself it gives as they are.
    """

    __slots__ = ("_untold",)

    def __init__(self, inner: RayReceiver[Any]) -> None:
        check_type("inner", "a RayReceiver", inner, RayReceiver)
        super().__init__(inner)
        self._untold: deque[Exception] = deque()  # of batches: each is raised by a later receive

    @property
    def reader_id(self) -> str:
        """Its name at the channel: 32 hexadecimal digits, another for each handle."""
        return self._inner.reader_id

    @property
    def node_id(self) -> str:
        """The Ray node of this process."""
        return self._inner.node_id

    # -- awaited

    def recv(self, timeout: float | None = None) -> Coroutine[object, object, T_co]:
        """The next message, waiting for it for at most ``timeout`` seconds, and for its payload.

        Cancel safety: a cancelled ``recv`` has taken nothing; the message goes to the next one.

        Raises:
            ChannelClosedError: nothing will come any more, or this handle was closed.
            PayloadLostError: the message's payload is gone. Receive the next one.
            RecvTimeoutError: no message in time.
        """
        _core.check_timeout(timeout)
        return self._recv(timeout)

    async def _recv(self, timeout: float | None) -> T_co:
        return _taken(await self._recv_acked(timeout))

    def try_recv(self) -> Coroutine[object, object, Result[T_co, ChannelEmpty | ChannelClosed]]:
        """The next message if there is one now; its payload is waited for. As cancel-safe as ``recv``."""
        return _result_of(self._recv(0))

    def recv_batch(
        self, max_items: int, timeout: float | None = None
    ) -> Coroutine[object, object, list[T_co]]:
        """Wait for the first message, take what is there, and fetch the payloads side by side.

        A payload that is lost does not take the others with it: a later receive raises its error.

        Cancel safety: a cancelled ``recv_batch`` has taken nothing.

        Raises: what ``recv`` raises.
        """
        _core.check_timeout(timeout)
        return self._recv_batch(at_least("max_items", max_items, 1), timeout)

    async def _recv_batch(self, max_items: int, timeout: float | None) -> list[T_co]:
        self._raise_untold()
        batch = [await self._inner.recv_acked(timeout)]
        with _given_back_unless_read(batch):
            with self._as_many_as_there_are():
                while len(batch) < max_items:
                    batch.append(await self._inner.recv_acked(0))
            payloads = await self._store.get(_references(batch))
        return self._taken_batch(batch, payloads)

    def try_recv_batch(
        self, max_items: int
    ) -> Coroutine[object, object, Result[list[T_co], ChannelEmpty | ChannelClosed]]:
        """Take what is there now, at least one message and at most ``max_items`` (>= 1)."""
        return _result_of(self._recv_batch(at_least("max_items", max_items, 1), 0))

    def recv_acked(self, timeout: float | None = None) -> Coroutine[object, object, Delivery[T_co]]:
        """The next message, which comes back unless it is acknowledged: ``async with`` it.

        Cancel safety: a cancelled ``recv_acked`` has taken nothing. Raises what ``recv`` raises.
        """
        _core.check_timeout(timeout)
        return self._recv_acked(timeout)

    async def _recv_acked(self, timeout: float | None) -> Delivery[T_co]:
        self._raise_untold()
        return await self._read(await self._inner.recv_acked(timeout))

    def acked(self) -> Deliveries[T_co]:
        """Iterate over deliveries: ``async for m in rx.acked(): async with m: ...``, or in a thread ``for``."""
        return _Deliveries(self)

    def __aiter__(self) -> Self:
        """Receive until the channel ends in an orderly way."""
        return self

    async def __anext__(self) -> T_co:
        """``recv()``, but an orderly end is ``StopAsyncIteration``."""
        return _taken(await anext(self.acked()))

    # -- plain calls

    def recv_nowait(self) -> T_co:
        """Raises ``ChannelEmptyError``, since a payload is elsewhere, or ``ChannelClosedError``: use ``try_recv``."""
        if self._inner.is_closed:
            return cast("T_co", self._inner.recv_nowait())  # which raises
        raise ChannelEmptyError

    def blocking_recv(self, timeout: float | None = None) -> T_co:
        """``recv`` for threads without an event loop; refuses one that runs it."""
        _core.refuse_event_loop("await rx.recv()")
        return _taken(self.blocking_recv_acked(timeout))

    def blocking_recv_batch(self, max_items: int, timeout: float | None = None) -> list[T_co]:
        """``recv_batch`` for threads without an event loop; refuses one that runs it."""
        _core.check_timeout(timeout)
        count = at_least("max_items", max_items, 1)
        _core.refuse_event_loop("await rx.recv_batch(max_items)")
        self._raise_untold()
        batch = [self._inner.blocking_recv_acked(timeout)]
        with _given_back_unless_read(batch):
            with self._as_many_as_there_are():
                while len(batch) < count:
                    batch.append(self._inner.blocking_recv_acked(0))
            payloads = self._store.blocking_get(_references(batch))
        return self._taken_batch(batch, payloads)

    def blocking_recv_acked(self, timeout: float | None = None) -> Delivery[T_co]:
        """``recv_acked`` for threads without an event loop; refuses one that runs it."""
        _core.refuse_event_loop("await rx.recv_acked()")
        self._raise_untold()
        return self._blocking_read(self._inner.blocking_recv_acked(timeout))

    def __iter__(self) -> Self:
        """Receive, blocking, until the channel ends in an orderly way."""
        return self

    def __next__(self) -> T_co:
        """``blocking_recv()``, but an orderly end is ``StopIteration``."""
        _core.refuse_event_loop("async for value in rx")
        return _taken(next(self.acked()))

    def downgrade(self) -> WeakReceiver[T_co]:
        """A weak handle: it does not count, and can be upgraded while the side is open."""
        return _Weak(self._inner.downgrade(), self._around)

    # -- from deliveries to their values

    async def _read(self, delivery: Delivery[Any]) -> Delivery[T_co]:
        """The delivery, with the payload in the place of its reference; not settled, but if it can't be had."""
        if type(delivery.value) is Reference:
            with _given_back_unless_read([delivery]):
                (payload,) = await self._store.get([delivery.value])
                if isinstance(payload, Sealed) and len(payload.pickled) > _LARGE_PICKLE:
                    return await asyncio.to_thread(_opened, delivery, payload)
            _opened(delivery, payload)
        return delivery

    def _blocking_read(self, delivery: Delivery[Any]) -> Delivery[T_co]:
        if type(delivery.value) is Reference:
            with _given_back_unless_read([delivery]):
                (payload,) = self._store.blocking_get([delivery.value])
            _opened(delivery, payload)
        return delivery

    def _in_select(self) -> _core.RemoteReceiver[Any]:
        """What ``select`` waits for."""
        return self._inner

    async def _finish_select(self, delivery: Any) -> T_co:
        """The message that ``select`` took. Cancelled, it is given back."""
        return _taken(await self._read(delivery))

    def _blocking_finish_select(self, delivery: Any) -> T_co:
        """``_finish_select`` for threads."""
        return _taken(self._blocking_read(delivery))

    def _taken_batch(
        self, batch: Sequence[Delivery[Any]], payloads: list[Sealed | PayloadLostError]
    ) -> list[T_co]:
        arrived = iter(payloads)
        values: list[T_co] = []
        for delivery in batch:
            try:
                if type(delivery.value) is Reference:
                    _opened(delivery, next(arrived))
                values.append(_taken(delivery))
            except Exception as error:  # noqa: BLE001  whatever unpickling raises
                self._untold.append(error)
        if not values:
            self._raise_untold()
        return values

    @contextlib.contextmanager
    def _as_many_as_there_are(self) -> Generator[None]:
        """The end of the channel is told again by the next receive; what is told once is kept for it."""
        try:
            yield
        except RecvTimeoutError:
            pass
        except ChannelClosedError as error:
            if error.kind == "backend":
                self._untold.append(error)

    def _raise_untold(self) -> None:
        with contextlib.suppress(IndexError):
            raise self._untold.popleft()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._inner,)


class _Deliveries(Generic[T_co]):
    """What ``acked()`` gives: iterates over deliveries, and reads them."""

    __slots__ = ("_inner", "_receiver")

    def __init__(self, receiver: RayReferenceReceiver[T_co]) -> None:
        self._receiver = receiver
        self._inner = receiver._inner.acked()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery[T_co]:
        self._receiver._raise_untold()
        return await self._receiver._read(await anext(self._inner))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delivery[T_co]:
        _core.refuse_event_loop("async for m in rx.acked()")
        self._receiver._raise_untold()
        return self._receiver._blocking_read(next(self._inner))


def _opened(delivery: Delivery[Any], payload: Sealed | PayloadLostError) -> Delivery[Any]:
    """The delivery of that payload. What can't be had is done with: it would come back for ever."""
    if isinstance(payload, PayloadLostError):
        delivery.ack()
        raise payload
    try:
        value = unseal(payload)
    except BaseException:
        delivery.ack()
        raise
    cast("_core.Delivery[Any]", delivery)._replace(value)
    return delivery


def _taken(delivery: Delivery[T]) -> T:
    delivery.ack()
    return delivery.value


def _references(batch: Sequence[Delivery[Any]]) -> list[Reference]:
    return [delivery.value for delivery in batch if type(delivery.value) is Reference]


async def _result_of(
    trying: Coroutine[object, object, T],
) -> Result[T, ChannelEmpty | ChannelClosed]:
    try:
        return Ok(await trying)
    except RecvTimeoutError:
        return Err(ChannelEmpty())
    except ChannelClosedError as error:
        return Err(error.to_struct())


@contextlib.contextmanager
def _given_back_unless_read(batch: Sequence[Delivery[Any]]) -> Generator[None]:
    """A receive that is cancelled, or can't reach the payloads, has taken nothing."""
    try:
        yield
    except BaseException:
        for delivery in batch:
            delivery.nack()
        raise
