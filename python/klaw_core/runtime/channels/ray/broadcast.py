"""Broadcasts between the processes and nodes of a Ray cluster.

What they promise is what ``klaw_core.runtime.channels.broadcast`` does, over all processes. Beyond that:

- **Sending**: ``send`` returns when the channel has stored the message, with the number of receivers that it is
  for. ``send_nowait`` cannot ask the broker, so it raises ``ChannelFullError``: use ``try_send``.
- **Receiving**: a message travels when a receive waits for it, not ahead, so that lags are exact: one round trip
  to the actor's process, some 50 us on one node. ``recv_nowait`` takes only what is in this process already: what
  came for a receive that was cancelled.
- **Subscribing**: ``tx.subscribe()`` and ``rx.resubscribe()`` return at once; what this process sends from then on
  reaches the new receiver. What another process sends, from when the broker hears of it: ``get_receiver`` waits
  for that.
- **Passing on**: a receiver that is pickled goes on from there: what is sent until it is unpickled reaches the new
  one. It counts as a receiver meanwhile, also for ``overflow='wait'`` (ten minutes at most). Unpickled a second
  time, it receives from then on.
- **Slow and dead receivers**: with ``overflow='wait'`` room is free once the slowest ``recv`` has returned a message.
  A receiver that closed, or whose process was killed, holds nobody up; nothing is delivered again.
- **Close**: the senders' side as on every Ray channel, with its grace. Without receivers a send is ``ChannelClosed``
  at once ("no receivers", or what the last one died of), until somebody subscribes.
- **Death of the actor**: what it held is lost. Every handle raises ``ChannelBackendErrorException`` once, and then
  receives what is sent from then on; a send waits some seconds for the receivers to come back.
- **Memory**: messages are bytes, and each receiver has a copy of its own; see ``payload``.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from klaw_core import _core
from klaw_core.runtime.channels.ray.handles import BuiltByHand, RayReader

__all__ = ["RayBroadcastReceiver", "RayBroadcastSender"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class RayBroadcastSender(BuiltByHand, _core.RemoteBroadcastSender[T], Generic[T]):
    """The sending handle of a broadcast on Ray. Made by ``broadcast(backend='ray')``, or ``get_sender``.

    Built by hand on the channel's actor it registers at its first use.
    """

    __slots__ = ()
    _kind = "broadcast"

    def subscribe(self) -> RayBroadcastReceiver[T]:
        """A new receiver of what is sent from now on. ``ChannelClosedError`` if this sender is closed."""
        return self._subscribe(RayBroadcastReceiver)


class RayBroadcastReceiver(
    BuiltByHand, RayReader, _core.RemoteBroadcastReceiver[T_co], Generic[T_co]
):
    """The receiving handle of a broadcast on Ray. Made by ``broadcast(backend='ray')``, or ``get_receiver``.

    Built by hand on the channel's actor it subscribes at its first use.
    """

    __slots__ = ()
    _kind = "broadcast"
