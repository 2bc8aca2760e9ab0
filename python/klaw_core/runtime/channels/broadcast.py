"""Broadcast channels: every receiver gets every message sent after it subscribed.

Events, news, one stream for several readers; within one process or, with ``backend='ray'``, between those of a
cluster. What they promise:

- **Capacity**: messages that are kept for the slowest receiver, rounded up to a power of two. When
  that is not enough, it is the channel's choice: with ``overflow='lag'`` (the default) a send never
  waits and takes the place of the oldest message; with ``overflow='wait'`` a send waits for the
  slowest receiver.
- **Lag**: a receiver that missed messages gets ``Lagged(skipped)`` once, and goes on at the oldest
  message kept. Iteration skips lags.
- **Order**: all receivers see the messages in one order, that of each sender in it.
- **Subscribing**: ``tx.subscribe()`` and ``rx.resubscribe()`` make receivers of what is sent from
  then on. ``rx.clone()`` raises ``NotImplementedError``. Two receives on one handle share its messages.
- **Close**: by reference count. When the last sender is gone, each receiver gets what is kept for
  it, then ``ChannelClosed``. Without receivers a send is ``ChannelClosed`` ("no receivers"), until
  somebody subscribes.
- **Cancel**: a cancelled receive, or one out of time, has taken nothing; a cancelled send has sent
  its message or has not.
- **Threads**: any thread and any event loop may use any handle, and several may use one at once.
- **Memory**: within one process receivers share the very object that was sent, never copied or pickled: do not change
  it afterwards. It is let go of when the last receiver has it, or has missed it.
- **Errors**: operations that wait raise ``ChannelClosedError``, ``LaggedError``,
  ``SendTimeoutError`` or ``RecvTimeoutError``; ``try_`` ones return a ``Result``; ``_nowait`` ones
  raise ``ChannelFullError`` or ``ChannelEmptyError``.

Example::

    tx, rx = await broadcast[str](64)
    group.create_task(follow(tx.subscribe()))  # async for line in rx: ...
    heard_by = await tx.send("hello")

The state and the waiting are C++ (``include/klaw/channels/broadcast.hpp``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal, Self, TypeAlias, cast

from klaw_core import _core
from klaw_core._core import BroadcastReceiver, BroadcastSender
from klaw_core.runtime.channels.checks import integer
from klaw_core.runtime.channels.making import (
    Backend,
    Making,
    T,
    makes_on_ray,
)
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT

__all__ = ["BroadcastReceiver", "BroadcastSender", "Overflow", "blocking_broadcast", "broadcast"]

Overflow: TypeAlias = Literal["lag", "wait"]
"""What becomes of a message for which there is no room."""

_CAPACITY_DEFAULT: Final = 16
_CAPACITY_MAX: Final = 2**62  # rounded up to a power of two it is still one of the machine's


class broadcast(Making[tuple[BroadcastSender[T], BroadcastReceiver[T]]]):  # noqa: N801
    """Make a broadcast channel: ``tx, rx = await broadcast[int](16)``.

    A plain call that gives a coroutine; the channel is made when that is awaited.

    On Ray the handles are ``RayBroadcastSender`` and ``RayBroadcastReceiver``, with the same methods; what they promise
    beyond the local ones stands in ``klaw_core.runtime.channels.ray.broadcast``.

    Args:
        capacity: messages that are kept for the slowest receiver, at least 1; rounded up to a power of two.
        overflow: when it is full, ``'lag'``: the oldest message goes; ``'wait'``: the send waits.
        backend: ``'local'`` (the default) or ``'ray'``.
        name, namespace: on Ray, the name under which others find it. Nothing to ``local``.

    Raises, at the call:
        TypeError: an argument of the wrong type, such as a capacity that is no integer.
        ValueError: a capacity below 1, an unknown overflow, an unknown backend.
        RuntimeError: Ray is asked for and not installed.

    Raises when it is awaited, on Ray:
        ChannelBackendErrorException: Ray can't be reached, or the channel's actor can't.
        ChannelClosedError: there is one of that name, and its senders have closed, its receivers not yet.
        ValueError: there is a channel of that name of another kind, or with other settings.

    Warns:
        UserWarning: a ``name`` without a ``backend``: it would be ignored.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        capacity: int = _CAPACITY_DEFAULT,
        *,
        overflow: Overflow = "lag",
        backend: Backend | None = None,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
    ) -> Self:
        settings = _checked(capacity, overflow)
        make = makes_on_ray("broadcast", backend, name, namespace)
        made = _make(*settings) if make is None else _make_ray(make, *settings, name, namespace)
        return cast("Self", made)


class blocking_broadcast(tuple[BroadcastSender[T], BroadcastReceiver[T]]):  # noqa: N801, SLOT001
    """Make a broadcast channel: ``tx, rx = blocking_broadcast[int](16)``. The twin of ``broadcast``, for threads.

    On ``local`` it never waits, and may be called anywhere. Arguments, errors and warnings are those of ``broadcast``.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        capacity: int = _CAPACITY_DEFAULT,
        *,
        overflow: Overflow = "lag",
        backend: Backend | None = None,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
    ) -> Self:
        settings = _checked(capacity, overflow)
        make = makes_on_ray("broadcast", backend, name, namespace)
        if make is None:
            return cast("Self", _core.broadcast_channel(*settings))
        return cast("Self", make(*_for_ray(*settings), name=name, namespace=namespace))


def _checked(capacity: object, overflow: object) -> tuple[int, bool]:
    count = integer("capacity", capacity)
    if not 1 <= count <= _CAPACITY_MAX:
        raise ValueError(f"capacity must be between 1 and {_CAPACITY_MAX}, got {count}")
    if overflow not in ("lag", "wait"):
        raise ValueError(f"Unknown overflow: {overflow!r}")
    return count, overflow == "wait"


async def _make(capacity: int, waits: bool) -> tuple[BroadcastSender[Any], BroadcastReceiver[Any]]:
    return _core.broadcast_channel(capacity, waits)


async def _make_ray(
    make: Callable[..., Any], capacity: int, waits: bool, name: str | None, namespace: str
) -> tuple[BroadcastSender[Any], BroadcastReceiver[Any]]:
    made: tuple[BroadcastSender[Any], BroadcastReceiver[Any]] = await asyncio.to_thread(
        make, *_for_ray(capacity, waits), name=name, namespace=namespace
    )
    return made


def _for_ray(capacity: int, waits: bool) -> tuple[int, Overflow]:
    return 1 << (capacity - 1).bit_length(), "wait" if waits else "lag"


for _made in (_make, _make_ray):
    _made.__name__ = _made.__qualname__ = "broadcast"  # as in "'broadcast' was never awaited"
