"""Tickets: handles for processes that Ray did not start.

``handle.ticket()`` gives a short text that stands for one more handle of its side. Whoever has the text makes the
handle, in any process that reaches the channel's broker. Ray need not be installed there. ::

    text = tx.ticket()  # where Ray is

    tx = await sender_from_ticket(text)  # in another process, of whatever origin
    await tx.send("by ticket")

- **Counting**: the handle counts from the time that ``ticket()`` returns. The first who uses the ticket has it. Each
  later one is told that it was used. Unused for ten minutes, it lapses like a handle that closes.
- **A secret**: a ticket gives one handle of its side, and that handle's clones, and nothing else of the channel: see
  ``docs/threat-model.md``.
- **The handle** does what that of any other process does, ``clone()`` and ``ticket()`` included. It has no ``stats()``,
  which Ray answers, and can't be pickled: give the other process a ticket of its own. A forked child can't use it.
- **Death of the channel's actor**: the handle raises ``ChannelBackendErrorException``, each time: without Ray it can't
  look up where the restarted actor is. The same holds for a process that stood still for so long that it was declared
  dead. Get a new ticket.
- **TLS**: where the channel uses it between nodes, this process needs ``RAY_USE_TLS=1`` and Ray's certificates.
- **Values** are pickled by ``pickle``, unless the process has loaded Ray's backend: see ``pickling``.
- **Cost**: ``ticket()`` is a round trip to the broker; each ticket that is used is a connection of its own.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, NoReturn, TypeVar, cast
from weakref import WeakSet

from klaw_core import _core
from klaw_core.runtime.channels.checks import at_least, check_string
from klaw_core.runtime.channels.errors import ChannelBackendErrorException
from klaw_core.runtime.channels.pickling import ensure_pickler
from klaw_core.runtime.channels.protocols import ChannelReceiver, ChannelSender
from klaw_core.runtime.channels.stats import ChannelStats
from klaw_core.runtime.channels.tls import tls_files

__all__ = [
    "blocking_receiver_from_ticket",
    "blocking_sender_from_ticket",
    "receiver_from_ticket",
    "sender_from_ticket",
]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)

_EXIT_LIMIT_S: Final = 5.0
_channels: Final[WeakSet[_core.RemoteChannel]] = WeakSet()


# ----------------------------------------------------------------------------------------- the handles


class _TicketHandle:
    """Of every handle that came by a ticket. A base before the class of the extension."""

    __slots__ = ()

    async def stats(self) -> ChannelStats:
        """Not known here.

        Raises:
            ChannelBackendErrorException: always: the channel's actor has them, and tells them by Ray.
        """
        raise ChannelBackendErrorException(
            "a handle that came by a ticket has no statistics: the channel's actor tells them by Ray, as in "
            "channel_stats(name)"
        )

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError(
            f"cannot pickle '{type(self).__name__}': it came by a ticket; give the other process a ticket of its own, "
            "which ticket() makes"
        )


class _TicketReader(_TicketHandle):
    __slots__ = ()

    @property
    def reader_id(self: Any) -> str:
        """Its name at the channel: 32 hexadecimal digits, another for each handle."""
        return str(self._name)


class TicketSender(_TicketHandle, _core.RemoteSender[T_contra], Generic[T_contra]):
    """The sending handle of a channel: a ``ChannelSender``."""

    __slots__ = ()


class TicketReceiver(_TicketReader, _core.RemoteReceiver[T_co], Generic[T_co]):
    """The receiving handle of a channel: a ``ChannelReceiver``."""

    __slots__ = ()


class TicketOneshotSender(_TicketHandle, _core.RemoteOneshotSender[T_contra], Generic[T_contra]):
    """The sending handle of a oneshot."""

    __slots__ = ()


class TicketOneshotReceiver(_TicketHandle, _core.RemoteOneshotReceiver[T_co], Generic[T_co]):
    """The receiving handle of a oneshot."""

    __slots__ = ()


class TicketBroadcastSender(_TicketHandle, _core.RemoteBroadcastSender[T], Generic[T]):
    """The sending handle of a broadcast."""

    __slots__ = ()

    def subscribe(self) -> NoReturn:
        """Not with a ticket for a sender: it is for one side.

        Raises:
            ChannelBackendErrorException: always.
        """
        _refuse_subscribe()


class TicketBroadcastReceiver(_TicketReader, _core.RemoteBroadcastReceiver[T_co], Generic[T_co]):
    """The receiving handle of a broadcast. It gets what is sent from the time on that its ticket was made."""

    __slots__ = ()


class TicketWatchSender(_TicketHandle, _core.RemoteWatchSender[T], Generic[T]):
    """The sending handle of a watch."""

    __slots__ = ()

    def subscribe(self) -> NoReturn:
        """Not with a ticket for a sender: it is for one side.

        Raises:
            ChannelBackendErrorException: always.
        """
        _refuse_subscribe()


class TicketWatchReceiver(_TicketHandle, _core.RemoteWatchReceiver[T_co], Generic[T_co]):
    """The receiving handle of a watch. It has seen no value yet."""

    __slots__ = ()


def _refuse_subscribe() -> NoReturn:
    raise ChannelBackendErrorException(
        "a ticket for a sender gives no receiver: get a ticket of a receiver, and make it by receiver_from_ticket()"
    )


_Side = Literal["sender", "receiver"]
_HANDLES: Final[Mapping[tuple[str, str], type[Any]]] = {
    ("sender", "mpmc"): TicketSender,
    ("receiver", "mpmc"): TicketReceiver,
    ("sender", "oneshot"): TicketOneshotSender,
    ("receiver", "oneshot"): TicketOneshotReceiver,
    ("sender", "broadcast"): TicketBroadcastSender,
    ("receiver", "broadcast"): TicketBroadcastReceiver,
    ("sender", "watch"): TicketWatchSender,
    ("receiver", "watch"): TicketWatchReceiver,
}
"""By side and kind."""


# ------------------------------------------------------------------------------------- using a ticket


async def sender_from_ticket(text: str) -> ChannelSender[Any]:
    """The sender that the ticket stands for; of a oneshot, a broadcast or a watch, one of that kind.

    Returns when the handle counts as one of this process. Cancelled, it closes the handle; the ticket is used then.

    Raises:
        ValueError: the text is no ticket, or was cut off or changed, or is of another version of klaw, or its ticket is
            for a receiver.
        ChannelBackendErrorException: the ticket was used before or has lapsed, or the broker can't be reached within
            10 s; then the text names each address that was tried, and why it failed.
        ChannelClosedError: the channel was deleted.
        RuntimeError: the channel uses TLS between nodes, and ``RAY_USE_TLS`` is not set here.
    """
    return cast("ChannelSender[Any]", await _opened(_claimed(text, "sender", None)))


async def receiver_from_ticket(text: str, *, prefetch: int | None = None) -> ChannelReceiver[Any]:
    """The receiver that the ticket stands for. As ``sender_from_ticket``.

    Args:
        text: what ``ticket()`` of a receiver gave.
        prefetch: how many messages the receiver may hold before they are asked for; see ``channel``.
    """
    return cast("ChannelReceiver[Any]", await _opened(_claimed(text, "receiver", prefetch)))


def blocking_sender_from_ticket(text: str) -> ChannelSender[Any]:
    """``sender_from_ticket`` for threads; refuses a thread that runs an event loop."""
    _core.refuse_event_loop("await sender_from_ticket(...)")
    return cast("ChannelSender[Any]", _blocking_opened(_claimed(text, "sender", None)))


def blocking_receiver_from_ticket(
    text: str, *, prefetch: int | None = None
) -> ChannelReceiver[Any]:
    """``receiver_from_ticket`` for threads; refuses a thread that runs an event loop."""
    _core.refuse_event_loop("await receiver_from_ticket(...)")
    return cast("ChannelReceiver[Any]", _blocking_opened(_claimed(text, "receiver", prefetch)))


def _claimed(text: str, side: _Side, prefetch: int | None) -> Any:
    """The handle, which is about to tell its broker that it is there."""
    check_string("text", text)
    if prefetch is not None:
        at_least("prefetch", prefetch, 0)
    for_side, kind, token, uses_tls, unix_path = _core.RemoteChannel.read_ticket(text)
    if for_side != side:
        raise ValueError(f"this ticket is for a {for_side}: use {for_side}_from_ticket()")
    files = _tls_for(unix_path) if uses_tls else None
    ensure_pickler()
    channel = _core.RemoteChannel.from_ticket(text, prefetch or 0, files)
    _channels.add(channel)
    return cast("Any", _HANDLES[side, kind])(channel, claim=token)


def _tls_for(unix_path: str) -> tuple[str, str, str] | None:
    files = tls_files()
    if files is None and not os.path.exists(unix_path):  # noqa: PTH110  an empty one is none
        raise RuntimeError(
            "this ticket's channel uses TLS between nodes: set RAY_USE_TLS=1, RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY "
            "and RAY_TLS_CA_CERT here as well"
        )
    return files


async def _opened(handle: Any) -> Any:
    try:
        await handle._when_opened()
    except BaseException:
        handle.close()
        raise
    return handle


def _blocking_opened(handle: Any) -> Any:
    try:
        handle._wait_until_opened(None)
    except BaseException:
        handle.close()
        raise
    return handle


def _at_exit() -> None:
    _core.retire(list(_channels), _EXIT_LIMIT_S)


atexit.register(_at_exit)
