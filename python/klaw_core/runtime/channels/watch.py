"""Watch channels within one process: the latest value, and who has not seen it yet.

A configuration, a state, progress. What they promise:

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
- **Memory**: the value is a reference to the object sent, never copied or pickled: do not change it
  afterwards.
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

from typing import Any, Self, cast

from klaw_core import _core
from klaw_core._core import WatchReceiver, WatchSender
from klaw_core.runtime.channels.making import (
    NAMESPACE_DEFAULT,
    Backend,
    Making,
    T,
    local_only,
)

__all__ = ["WatchReceiver", "WatchSender", "blocking_watch", "watch"]


class watch(Making[tuple[WatchSender[T], WatchReceiver[T]]]):  # noqa: N801
    """Make a watch channel: ``tx, rx = await watch[int](0)``.

    A plain call that gives a coroutine; the channel is made when that is awaited.

    Args:
        initial: the first value, which the receiver has seen.
        backend: ``'local'``, the default.
        name, namespace: mean nothing to ``local``.

    Raises, all at the call:
        TypeError: a name or namespace that is no string.
        ValueError: an unknown backend.
        NotImplementedError: ``backend='ray'``; this version does not have it yet.

    Warns:
        UserWarning: a ``name`` without a ``backend``: it would be ignored.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        initial: T,
        *,
        backend: Backend | None = None,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
    ) -> Self:
        local_only("watch", backend, name, namespace)
        return cast("Self", _make(initial))


class blocking_watch(tuple[WatchSender[T], WatchReceiver[T]]):  # noqa: N801, SLOT001
    """Make a watch channel: ``tx, rx = blocking_watch[int](0)``. The twin of ``watch``, for threads.

    It never waits, and may be called anywhere. The arguments, errors and warnings are those of ``watch``.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        initial: T,
        *,
        backend: Backend | None = None,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
    ) -> Self:
        local_only("blocking_watch", backend, name, namespace)
        return cast("Self", _core.watch_channel(initial))


async def _make(initial: Any) -> tuple[WatchSender[Any], WatchReceiver[Any]]:
    return _core.watch_channel(initial)


_make.__name__ = _make.__qualname__ = "watch"  # as in "'watch' was never awaited"
