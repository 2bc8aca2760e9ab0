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

from functools import partial
from typing import Final, Self, Unpack, cast

from klaw_core import _core
from klaw_core._core import BroadcastReceiver, BroadcastSender
from klaw_core.runtime.channels.checks import integer
from klaw_core.runtime.channels.making import (
    Backend,
    Making,
    MakingOptions,
    Plan,
    T,
    check_keywords,
    planned,
    shows,
)
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT, ChannelSettings, Overflow

__all__ = ["BroadcastReceiver", "BroadcastSender", "Overflow", "blocking_broadcast", "broadcast"]

_CAPACITY_DEFAULT: Final = 16


class BroadcastOptions(MakingOptions, total=False):
    """What ``broadcast`` and ``blocking_broadcast`` take beside the capacity."""

    overflow: Overflow
    """When it is full, ``'lag'`` (the default): the oldest message goes; ``'wait'``: the send waits."""


def _plan(
    capacity: int = _CAPACITY_DEFAULT,
    *,
    overflow: Overflow = "lag",
    backend: Backend | None = None,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
) -> Plan:
    count = integer("capacity", capacity)  # None is no capacity here
    settings = ChannelSettings(kind="broadcast", capacity=count, overflow=overflow)
    make_local = partial(_core.broadcast_channel, count, overflow == "wait")
    return planned(settings, make_local, backend, name, namespace)


@shows(_plan)
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
        cls, capacity: int = _CAPACITY_DEFAULT, **options: Unpack[BroadcastOptions]
    ) -> Self:
        check_keywords("broadcast", options, BroadcastOptions)
        return cast("Self", _plan(capacity, **options).awaited("broadcast"))


@shows(_plan)
class blocking_broadcast(tuple[BroadcastSender[T], BroadcastReceiver[T]]):  # noqa: N801, SLOT001
    """Make a broadcast channel: ``tx, rx = blocking_broadcast[int](16)``. The twin of ``broadcast``, for threads.

    On ``local`` it never waits, and may be called anywhere; on Ray it refuses a thread that runs an event loop with a
    ``RuntimeError``. Arguments, other errors and warnings are those of ``broadcast``.
    """

    def __new__(  # noqa: D102  the class says it
        cls, capacity: int = _CAPACITY_DEFAULT, **options: Unpack[BroadcastOptions]
    ) -> Self:
        check_keywords("blocking_broadcast", options, BroadcastOptions)
        return cast("Self", _plan(capacity, **options).blocking("broadcast(...)"))
