"""Oneshot channels between the processes and nodes of a Ray cluster: one value, sent once, received once.

What they promise beyond ``klaw_core.runtime.channels.oneshot``:

- **One value, of whomever**: handles can be passed to tasks and actors, and sent through channels; each unpickling is a
  new handle. So a side may have several. The value is one all the same: the first send that the channel gets wins, each
  other one is ``AlreadySent``; one receiver has it, the others get ``already consumed``.
- **Sending**: ``send`` returns when the channel has the value, one round trip. From then on it survives the sender's
  death. ``send_nowait`` can't ask the channel, so it raises ``ChannelFullError``: use ``try_send``.
- **Receiving**: the value is taken when ``recv`` returns it. If a receiver is *killed* before that is confirmed,
  another one gets it, if there is one: at least once. Without a death: exactly once.
- **Close**: by reference count over all processes. If the last of a side was in a process that was killed, the side
  stays open for 10 s.
- **Death of the actor**: what waits raises ``ChannelBackendErrorException`` once. A value that was not received is
  lost, and whoever waits for it then is told so, with ``ChannelClosed`` of kind ``peer_died``; one that was not sent
  yet can be sent.
- **Time limits, cancellation, threads, pickling, cost**: as of ``ray.core``.

Memory: the value is pickled, 64 MiB at most.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from klaw_core import _core
from klaw_core.runtime.channels.ray.handles import RayHandle

__all__ = ["RayOneshotReceiver", "RayOneshotSender"]

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class RayOneshotSender(RayHandle, _core.RemoteOneshotSender[T_contra], Generic[T_contra]):
    """The sending handle of a oneshot on Ray. Made by ``oneshot(backend='ray')``."""

    __slots__ = ()


class RayOneshotReceiver(RayHandle, _core.RemoteOneshotReceiver[T_co], Generic[T_co]):
    """The receiving handle of a oneshot on Ray. Made by ``oneshot(backend='ray')``."""

    __slots__ = ()
