"""Watch channels between the processes and nodes of a Ray cluster: the latest value, and who has not seen it yet.

What they promise beyond ``klaw_core.runtime.channels.watch``:

- **The value is in each process** that has a handle: the channel tells it of each change as soon as it can, and changes
  that come faster collapse. ``borrow()``, ``borrow_and_update()`` and ``has_changed()`` look at what has come, and ask
  nobody; what a process has sent itself is there when its ``send`` returns. ``changed(timeout=0)`` and
  ``try_changed()`` ask the channel: they find whatever was sent before.
- **Sending**: ``send`` returns when the channel has the value, one round trip, with the number of receivers of all
  processes. ``send_nowait`` can't ask the channel, so it raises ``ChannelFullError``: use ``try_send``.
- **Pickling**: handles can be passed to tasks and actors, and sent through channels; each unpickling is a new handle.
  It takes the value along, so that ``borrow()`` works at once. A receiver has seen what its original had seen when
  that was pickled.
- **Close**: by reference count over all processes. Receivers of a process that was killed are gone at once; if all
  senders were, the receivers wait 10 s for others.
- **Death of the actor**: each handle raises ``ChannelBackendErrorException`` once. Then the value is the initial one
  again, which is a change to everybody: send the present one again.
- **Memory**: the value is bytes on its way, 64 MiB at most, and is unpickled once in each process: all its handles give
  the same object. Do not change it. The initial value is 8 MiB at most: Ray keeps it with the actor, for its restart.
- **Time limits, cancellation, threads, cost**: as of ``ray.core``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from klaw_core import _core
from klaw_core.runtime.channels.ray.handles import RayHandle, reduced

__all__ = ["RayWatchReceiver", "RayWatchSender"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class RayWatchSender(RayHandle, _core.RemoteWatchSender[T], Generic[T]):
    """The sending handle of a watch on Ray. Made by ``watch(backend='ray')``, or ``get_sender``."""

    __slots__ = ()

    def subscribe(self) -> RayWatchReceiver[T]:
        """A new receiver, which has seen the current value. ``ChannelClosedError`` if this sender is closed."""
        return self._subscribe(RayWatchReceiver)

    def __reduce_ex__(self, protocol: object, /) -> tuple[Any, ...]:
        return _reduced(self)


class RayWatchReceiver(RayHandle, _core.RemoteWatchReceiver[T_co], Generic[T_co]):
    """The receiving handle of a watch on Ray. Made by ``watch(backend='ray')``, or ``get_receiver``."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object, /) -> tuple[Any, ...]:
        return _reduced(self)


def _reduced(handle: RayWatchSender[Any] | RayWatchReceiver[Any]) -> tuple[Any, ...]:
    carried = handle._carried()  # before the hold: it raises if the handle is closed
    make, arguments = reduced(handle)
    return _claimed, (make, arguments, carried)


def _claimed(
    make: Callable[..., Any], arguments: tuple[Any, ...], carried: tuple[int, int, bytes]
) -> Any:
    handle = make(*arguments)
    handle._take_along(*carried)
    return handle
