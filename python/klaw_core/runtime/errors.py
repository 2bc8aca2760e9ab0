"""Every error, as a value and as an exception.

A value goes into an ``Err(...)`` and is compared, hashed and matched; an exception is raised. ``value.to_exception()``
and ``exception.to_struct()`` lead from one to the other and back.

=======================  ================================  ======================================================
value                    exception                         fields
=======================  ================================  ======================================================
``ChannelClosed``        ``ChannelClosedError``            ``reason`` (text or None), ``kind`` (not compared)
``ChannelFull``          ``ChannelFullError``              ``capacity`` (messages)
``ChannelEmpty``         ``ChannelEmptyError``
``Lagged``               ``LaggedError``                   ``skipped`` (messages)
``AlreadySent``          ``AlreadySentError``
``NoReceivers``          ``NoReceiversError``
``ChannelBackendError``  ``ChannelBackendErrorException``  ``message, backend, actor_name, namespace``, the cause
``PayloadLost``          ``PayloadLostError``              ``payload`` (its name), ``why`` (text), the cause
=======================  ================================  ======================================================

``str()`` of either is the same message. Values are frozen. Exceptions derive from ``ChannelError`` and can be pickled
with all their fields. Running out of time raises ``SendTimeoutError`` or ``RecvTimeoutError``, which are also the
built-in ``TimeoutError``; as a value they are the plain ``ChannelFull`` and ``ChannelEmpty``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "AlreadySent",
    "AlreadySentError",
    "ChannelBackendError",
    "ChannelBackendErrorException",
    "ChannelClosed",
    "ChannelClosedError",
    "ChannelEmpty",
    "ChannelEmptyError",
    "ChannelError",
    "ChannelErrorValue",
    "ChannelFull",
    "ChannelFullError",
    "ClosedKind",
    "Lagged",
    "LaggedError",
    "NoReceivers",
    "NoReceiversError",
    "PayloadLost",
    "PayloadLostError",
    "RecvTimeoutError",
    "SendTimeoutError",
]

ClosedKind: TypeAlias = Literal[
    "ended", "handle_closed", "peer_gone", "peer_died", "shutdown", "deleted", "backend"
]
"""Why a channel is closed:

- ``ended``: the last sender closed
- ``handle_closed``: this very handle was closed
- ``peer_gone``: no receiver is left
- ``peer_died``: the process on the other side died
- ``shutdown``: somebody shut the channel down
- ``deleted``: a named channel was deleted
- ``backend``: the backend failed; the error is a ``ChannelBackendError``
"""

_EMPTY_MESSAGE: Final = "Channel empty"
_ALREADY_SENT_MESSAGE: Final = "a value was already sent"
_NO_RECEIVERS_MESSAGE: Final = "select() without receivers"


# ------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The channel is closed: nothing can be sent any more, or nothing will come any more.

    ``kind`` is not compared: two closings with the same reason are the same error to a user who matches on it.
    """

    reason: str | None = None
    kind: ClosedKind = field(default="ended", compare=False, kw_only=True)

    def to_exception(self) -> ChannelClosedError:
        """The ``ChannelClosedError`` with the same reason and kind."""
        return ChannelClosedError(self.reason, kind=self.kind)

    def __str__(self) -> str:
        return _closed_message(self.reason)


@dataclass(frozen=True, slots=True)
class ChannelFull:
    """There is no room now.

    ``capacity`` is the channel's, in messages; 0 is a rendezvous without a receiver waiting.
    """

    capacity: int

    def to_exception(self) -> ChannelFullError:
        """The ``ChannelFullError`` with the same capacity."""
        return ChannelFullError(self.capacity)

    def __str__(self) -> str:
        return _full_message(self.capacity)


@dataclass(frozen=True, slots=True)
class ChannelEmpty:
    """There is no message now."""

    def to_exception(self) -> ChannelEmptyError:
        """A ``ChannelEmptyError``."""
        return ChannelEmptyError()

    def __str__(self) -> str:
        return _EMPTY_MESSAGE


@dataclass(frozen=True, slots=True)
class Lagged:
    """A broadcast receiver fell behind: ``skipped`` messages were overwritten before it read them."""

    skipped: int

    def to_exception(self) -> LaggedError:
        """The ``LaggedError`` with the same count."""
        return LaggedError(self.skipped)

    def __str__(self) -> str:
        return _lagged_message(self.skipped)


@dataclass(frozen=True, slots=True)
class AlreadySent:
    """A oneshot sender was used a second time."""

    def to_exception(self) -> AlreadySentError:
        """An ``AlreadySentError``."""
        return AlreadySentError()

    def __str__(self) -> str:
        return _ALREADY_SENT_MESSAGE


@dataclass(frozen=True, slots=True)
class NoReceivers:
    """``select()`` was called without receivers, so that it could only wait for ever."""

    def to_exception(self) -> NoReceiversError:
        """A ``NoReceiversError``."""
        return NoReceiversError()

    def __str__(self) -> str:
        return _NO_RECEIVERS_MESSAGE


@dataclass(frozen=True, slots=True, init=False, kw_only=True)
class ChannelBackendError(ChannelClosed):
    """The backend failed, which closes the channel for this handle: a ``ChannelClosed`` of kind ``backend``.

    ``message`` says what happened and is the ``reason`` as well; ``backend`` which one it happened to (``'ray'``);
    ``actor_name`` and ``namespace`` where, if that is known. ``cause`` is the exception of the backend itself, if there
    was one: it is chained to the exception, not compared, and like Python's own ``__cause__`` it is not pickled, since
    the receiving process may have neither its class nor its contents.
    """

    __match_args__ = ("reason",)  # as ChannelClosed; here the reason is the message

    # Both follow from the rest, so they are neither shown nor compared.
    reason: str | None = field(compare=False, repr=False)
    kind: ClosedKind = field(compare=False, repr=False)

    message: str
    backend: str
    actor_name: str | None
    namespace: str | None
    cause: BaseException | None = field(compare=False, repr=False)

    def __init__(
        self,
        message: str,
        backend: str = "ray",
        actor_name: str | None = None,
        namespace: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        put = object.__setattr__  # the only way to fill a frozen object
        put(self, "reason", message)
        put(self, "kind", "backend")
        put(self, "message", message)
        put(self, "backend", backend)
        put(self, "actor_name", actor_name)
        put(self, "namespace", namespace)
        put(self, "cause", cause)

    def to_exception(self) -> ChannelBackendErrorException:
        """The ``ChannelBackendErrorException`` with the same fields, chained to the cause."""
        exception = ChannelBackendErrorException(
            self.message, self.backend, self.actor_name, self.namespace
        )
        if self.cause is not None:
            exception.__cause__ = self.cause
        return exception

    def __str__(self) -> str:
        return _backend_message(self.message, self.backend, self.actor_name, self.namespace)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.backend, self.actor_name, self.namespace)


@dataclass(frozen=True, slots=True)
class PayloadLost:
    """The payload of one message of a reference channel is gone; the channel goes on.

    ``payload`` names it, as Ray does or the channel; ``why`` says what happened to it.
    """

    payload: str
    why: str

    def to_exception(self) -> PayloadLostError:
        """The ``PayloadLostError`` with the same fields."""
        return PayloadLostError(self.payload, self.why)

    def __str__(self) -> str:
        return _lost_message(self.payload, self.why)


ChannelErrorValue: TypeAlias = (
    ChannelClosed | ChannelFull | ChannelEmpty | Lagged | AlreadySent | NoReceivers | PayloadLost
)
"""Any of the values; ``ChannelBackendError`` is a ``ChannelClosed``."""


# --------------------------------------------------------------------------------------- exceptions


class ChannelError(Exception):
    """The base of every exception of klaw's channels; not raised itself.

    Subclasses keep ``args`` such that ``type(e)(*e.args)`` makes the same exception again, and every other field in
    ``__dict__``: that is what ``BaseException`` pickles.
    """

    def to_struct(self) -> ChannelErrorValue:
        """The value of the pair, fit for ``Err(...)``."""
        raise NotImplementedError(f"{type(self).__name__} has no value of its own")


class ChannelClosedError(ChannelError):
    """The channel is closed: nothing can be sent any more, or nothing will come any more.

    Attributes:
        reason: the text given to ``close(reason)`` or by the backend; None for an ordinary end.
        kind: why the channel is closed, see ``ClosedKind``.
        index: set by ``select()``: which of its receivers this is about; else None.
    """

    reason: str | None
    kind: ClosedKind
    index: int | None

    def __init__(self, reason: str | None = None, *, kind: ClosedKind = "ended") -> None:
        if reason is None:
            super().__init__()
        else:
            super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.index = None

    def to_struct(self) -> ChannelClosed:
        """The ``ChannelClosed`` with the same reason and kind."""
        return ChannelClosed(self.reason, kind=self.kind)

    def __str__(self) -> str:
        return _closed_message(self.reason)


class ChannelFullError(ChannelError):
    """There is no room now, or a batch is larger than the channel will ever hold.

    Attributes:
        capacity: the channel's, in messages.
    """

    capacity: int

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.capacity = capacity

    def to_struct(self) -> ChannelFull:
        """The ``ChannelFull`` with the same capacity."""
        return ChannelFull(self.capacity)

    def __str__(self) -> str:
        return _full_message(self.capacity)


class ChannelEmptyError(ChannelError):
    """There is no message now."""

    def __init__(self) -> None:
        super().__init__()

    def to_struct(self) -> ChannelEmpty:
        """A ``ChannelEmpty``."""
        return ChannelEmpty()

    def __str__(self) -> str:
        return _EMPTY_MESSAGE


class LaggedError(ChannelError):
    """A broadcast receiver fell behind; its next receive goes on at the oldest message kept.

    Attributes:
        skipped: how many messages it missed.
        index: set by ``select()``: which of its receivers this is about; else None.
    """

    skipped: int
    index: int | None

    def __init__(self, skipped: int) -> None:
        super().__init__(skipped)
        self.skipped = skipped
        self.index = None

    def to_struct(self) -> Lagged:
        """The ``Lagged`` with the same count."""
        return Lagged(self.skipped)

    def __str__(self) -> str:
        return _lagged_message(self.skipped)


class AlreadySentError(ChannelError):
    """A oneshot sender was used a second time."""

    def __init__(self) -> None:
        super().__init__()

    def to_struct(self) -> AlreadySent:
        """An ``AlreadySent``."""
        return AlreadySent()

    def __str__(self) -> str:
        return _ALREADY_SENT_MESSAGE


class NoReceiversError(ChannelError):
    """``select()`` was called without receivers, so that it could only wait for ever."""

    def __init__(self) -> None:
        super().__init__()

    def to_struct(self) -> NoReceivers:
        """A ``NoReceivers``."""
        return NoReceivers()

    def __str__(self) -> str:
        return _NO_RECEIVERS_MESSAGE


class PayloadLostError(ChannelError):
    """The payload of one message of a reference channel is gone, with the process that had put it, mostly.

    The message counts as taken, and the channel goes on: receive the next one.

    Attributes:
        payload: its name, as Ray knows it or the channel.
        why: what happened to it.
        index: set by ``select()``: which of its receivers this is about; else None.
    """

    payload: str
    why: str
    index: int | None

    def __init__(self, payload: str, why: str) -> None:
        super().__init__(payload, why)
        self.payload = payload
        self.why = why
        self.index = None

    def to_struct(self) -> PayloadLost:
        """The ``PayloadLost`` with the same fields."""
        return PayloadLost(self.payload, self.why)

    def __str__(self) -> str:
        return _lost_message(self.payload, self.why)


class ChannelBackendErrorException(ChannelClosedError):
    """The backend failed, which closes the channel for this handle: a ``ChannelClosedError`` of kind ``backend``.

    The exception of the backend itself, if there was one, is chained as ``__cause__``.

    Attributes:
        message: what happened; the ``reason`` as well.
        backend: which backend it happened to: ``'ray'``.
        actor_name, namespace: where, if that is known.
    """

    args: tuple[Any, ...]
    message: str
    backend: str
    actor_name: str | None
    namespace: str | None

    def __init__(
        self,
        message: str,
        backend: str = "ray",
        actor_name: str | None = None,
        namespace: str | None = None,
    ) -> None:
        super().__init__(message, kind="backend")
        self.args = (message, backend, actor_name, namespace)
        self.message = message
        self.backend = backend
        self.actor_name = actor_name
        self.namespace = namespace

    def to_struct(self) -> ChannelBackendError:
        """The ``ChannelBackendError`` with the same fields, the chained cause among them."""
        return ChannelBackendError(
            self.message, self.backend, self.actor_name, self.namespace, cause=self.__cause__
        )

    def __str__(self) -> str:
        return _backend_message(self.message, self.backend, self.actor_name, self.namespace)


class SendTimeoutError(ChannelFullError, TimeoutError):
    """There was no room in time. The message has not been sent, and may be sent again.

    A ``ChannelFullError`` and a built-in ``TimeoutError``; never raised for a channel that is closed.

    Attributes:
        capacity: the channel's, in messages.
        timeout: the limit that was exceeded, in seconds.
    """

    args: tuple[Any, ...]
    timeout: float

    def __init__(self, capacity: int, timeout: float) -> None:
        super().__init__(capacity)
        # After the fact: an OSError that is initialised with two arguments takes the first for an errno.
        self.args = (capacity, timeout)
        self.timeout = timeout

    def __str__(self) -> str:
        return f"send timed out after {self.timeout:g} s: {_full_message(self.capacity)}"


class RecvTimeoutError(ChannelEmptyError, TimeoutError):
    """No message came in time. None has been taken.

    A ``ChannelEmptyError`` and a built-in ``TimeoutError``; never raised for a channel that is closed.

    Attributes:
        timeout: the limit that was exceeded, in seconds.
    """

    args: tuple[Any, ...]
    timeout: float

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.args = (timeout,)
        self.timeout = timeout

    def __str__(self) -> str:
        return f"receive timed out after {self.timeout:g} s: {_EMPTY_MESSAGE}"


# ----------------------------------------------------------------- messages, one for both of a pair


def _closed_message(reason: str | None) -> str:
    return "Channel closed" if reason is None else reason


def _full_message(capacity: int) -> str:
    return f"Channel full (capacity={capacity})"


def _lagged_message(skipped: int) -> str:
    messages = "message" if skipped == 1 else "messages"
    return f"receiver fell behind: {skipped} {messages} skipped"


def _lost_message(payload: str, why: str) -> str:
    return f"the payload {payload} of a message is lost: {why}"


def _backend_message(
    message: str, backend: str, actor_name: str | None, namespace: str | None
) -> str:
    where = [f"[{backend}]"]
    if actor_name is not None:
        where.append(f"actor={actor_name!r}")
    if namespace is not None:
        where.append(f"ns={namespace!r}")
    return " ".join([*where, message])
