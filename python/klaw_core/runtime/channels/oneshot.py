"""Oneshot channels: one value, sent once, received once.

An answer to a question, the result of a job, a start signal; within one process or, with ``backend='ray'``, between
those of a cluster. What they promise:

- **Send**: never waits. The second one is ``AlreadySent``.
- **Receive**: waits for the value. The second one is ``ChannelClosed`` with the reason ``already
  consumed``.
- **Close**: a sender that closes unsent ends the receiver's wait with ``ChannelClosed``. When the
  receiver closes, a value that was not received is dropped, and a send is ``ChannelClosed``;
  ``await tx.closed()`` waits for that, so that nobody computes what nobody wants. A handle that has
  done its part need not be closed.
- **Cancel**: a cancelled receive, or one out of time, has taken nothing; the next one finds the
  value.
- **Threads**: any thread and any event loop may use either handle, and several may use one at once.
- **Memory**: within one process the value is a reference to the object sent, never copied or pickled.
- **Errors**: operations that wait raise, ``try_`` ones return a ``Result``, ``_nowait`` ones raise
  ``ChannelEmptyError``. ``clone()`` raises ``NotImplementedError``: there is one value, for one
  receiver.

Example::

    tx, rx = await oneshot[int]()
    group.create_task(compute(tx))  # await tx.send(42)
    answer = await rx.recv(timeout=1.0)

The state and the waiting are C++ (``include/klaw/channels/oneshot.hpp``).
"""

from __future__ import annotations

from typing import Final, Self, Unpack, cast

from klaw_core import _core
from klaw_core._core import OneshotReceiver, OneshotSender
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

__all__ = ["OneshotReceiver", "OneshotSender", "blocking_oneshot", "oneshot"]


_SETTINGS: Final = ChannelSettings(kind="oneshot", capacity=1)


def _plan(
    *,
    backend: Backend | None = None,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
) -> Plan:
    return planned(_SETTINGS, _core.oneshot_channel, backend, name, namespace)


@shows(_plan)
class oneshot(Making[tuple[OneshotSender[T], OneshotReceiver[T]]]):  # noqa: N801
    """Make a oneshot channel: ``tx, rx = await oneshot[int]()``.

    A plain call that gives a coroutine; the channel is made when that is awaited.

    On Ray the handles are ``RayOneshotSender`` and ``RayOneshotReceiver``, with the same methods; what they promise
    beyond the local ones stands in ``klaw_core.runtime.channels.ray.oneshot``.

    Args:
        backend: ``'local'`` (the default) or ``'ray'``.
        name, namespace: on Ray, the name under which others find it. Nothing to ``local``.

    Raises, all at the call:
        TypeError: a name or namespace that is no string.
        ValueError: an unknown backend.
        RuntimeError: Ray is asked for and not installed.

    Raises when it is awaited, on Ray:
        ChannelBackendErrorException: Ray can't be reached, or the channel's actor can't.
        ChannelClosedError: there is one of that name, and one of its sides has closed, the other not yet.
        ValueError: there is a channel of that name of another kind.

    Warns:
        UserWarning: a ``name`` without a ``backend``: it would be ignored.
    """

    def __new__(cls, **options: Unpack[MakingOptions]) -> Self:  # noqa: D102  the class says it
        check_keywords("oneshot", options, MakingOptions)
        return cast("Self", _plan(**options).awaited("oneshot"))


@shows(_plan)
class blocking_oneshot(tuple[OneshotSender[T], OneshotReceiver[T]]):  # noqa: N801, SLOT001
    """Make a oneshot channel: ``tx, rx = blocking_oneshot[int]()``. The twin of ``oneshot``, for threads.

    On ``local`` it never waits, and may be called anywhere; on Ray it refuses a thread that runs an event loop with a
    ``RuntimeError``. Arguments, other errors and warnings are those of ``oneshot``.
    """

    def __new__(cls, **options: Unpack[MakingOptions]) -> Self:  # noqa: D102  the class says it
        check_keywords("blocking_oneshot", options, MakingOptions)
        return cast("Self", _plan(**options).blocking("oneshot(...)"))
