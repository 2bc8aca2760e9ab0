"""Watch channels: the latest value, and who has not seen it yet.

A configuration, a state, progress; within one process or, with ``backend='ray'``, between those of a cluster. What they
promise:

- **Send**: never waits; replaces the value and gives the number of receivers.
- **Receive**: each receiver waits for changes on its own account. Values between two looks collapse
  into the latest. A receiver has seen the value that is current when it is made; ``await
  rx.changed()`` waits for a later one.
- **Borrow**: the latest value at any time, from both sides.
- **Iteration**: the value after each change, until the last sender is gone and its last value was
  seen.
- **Close**: by reference count. When the last sender is gone, a receiver still gets a value that it
  has not seen, then ``ChannelClosed``. Without a receiver a send is ``ChannelClosed``, until
  ``tx.subscribe()`` makes one; ``await tx.closed()`` waits until there is none.
- **Cancel**: a cancelled wait, or one out of time, has seen nothing; the next one finds the change.
- **Threads**: any thread and any event loop may use any handle, and several may use one at once. A
  change ends all waits on a handle.
- **Memory**: within one process the value is a reference to the object sent, never copied or pickled: do
  not change it afterwards.
- **Errors**: operations that wait raise ``ChannelClosedError`` or ``RecvTimeoutError``; ``try_``
  ones return a ``Result``. On a closed handle ``borrow()`` raises as well, and ``has_changed()`` is
  False.

Example::

    tx, rx = await watch[Config](load_config())

    async def follow(rx: WatchReceiver[Config]) -> None:
        async for config in rx:
            apply(config)

    ready = await rx.wait_for(lambda config: config.is_complete)

The state and the waiting are C++ (``include/klaw/channels/watch.hpp``).
"""

from __future__ import annotations

from functools import partial
from typing import Final, Self, Unpack, cast

from klaw_core import _core
from klaw_core._core import WatchReceiver, WatchSender
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
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT, ChannelSettings

__all__ = ["WatchReceiver", "WatchSender", "blocking_watch", "watch"]


_SETTINGS: Final = ChannelSettings(kind="watch", capacity=1)


def _plan(
    initial: T,
    *,
    backend: Backend | None = None,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
) -> Plan:
    make_local = partial(_core.watch_channel, initial)
    return planned(_SETTINGS, make_local, backend, name, namespace, initial=initial)


@shows(_plan)
class watch(Making[tuple[WatchSender[T], WatchReceiver[T]]]):  # noqa: N801
    """Make a watch channel: ``tx, rx = await watch[int](0)``.

    A plain call that gives a coroutine; the channel is made when that is awaited.

    On Ray the handles are ``RayWatchSender`` and ``RayWatchReceiver``, with the same methods; what they promise beyond
    the local ones stands in ``klaw_core.runtime.channels.ray.watch``.

    Args:
        initial: the first value, which the receiver has seen. A watch of that name that is there keeps its own.
        backend: ``'local'`` (the default) or ``'ray'``.
        name, namespace: on Ray, the name under which others find it. Nothing to ``local``.

    Raises, all at the call:
        TypeError: a name or namespace that is no string.
        ValueError: an unknown backend.
        RuntimeError: Ray is asked for and not installed.

    Raises when it is awaited, on Ray:
        ChannelBackendErrorException: Ray can't be reached, or the channel's actor can't.
        ChannelClosedError: there is one of that name, and its senders have closed, its receivers not yet.
        ValueError: there is a channel of that name of another kind.
        Exception: what pickling ``initial`` raises.

    Warns:
        UserWarning: a ``name`` without a ``backend``: it would be ignored.
    """

    def __new__(cls, initial: T, **options: Unpack[MakingOptions]) -> Self:  # noqa: D102  the class says it
        check_keywords("watch", options, MakingOptions)
        return cast("Self", _plan(initial, **options).awaited("watch"))


@shows(_plan)
class blocking_watch(tuple[WatchSender[T], WatchReceiver[T]]):  # noqa: N801, SLOT001
    """Make a watch channel: ``tx, rx = blocking_watch[int](0)``. The twin of ``watch``, for threads.

    On ``local`` it never waits, and may be called anywhere; on Ray it refuses a thread that runs an event loop with a
    ``RuntimeError``. Arguments, other errors and warnings are those of ``watch``.
    """

    def __new__(cls, initial: T, **options: Unpack[MakingOptions]) -> Self:  # noqa: D102  the class says it
        check_keywords("blocking_watch", options, MakingOptions)
        return cast("Self", _plan(initial, **options).blocking("watch(...)"))
