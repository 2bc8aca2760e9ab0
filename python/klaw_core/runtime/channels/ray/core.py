"""MPMC channels between the processes and nodes of a Ray cluster.

What they promise beyond ``klaw_core.runtime.channels.local``:

- **Capacity**: strict over all processes: stored, on their way to a receiver, and read but not confirmed.
- **Order**: of each sender, for first deliveries. A message that comes back from a receiver that was
  cancelled, closed or killed may reach one that has seen later ones.
- **Sending**: ``send`` returns when the channel has stored the message (on a rendezvous: when a receiver
  has it). From then on it survives the sender's death. ``send_nowait`` cannot ask the broker, so it
  raises ``ChannelFullError``: use ``try_send``, which takes one round trip.
- **Receiving**: a message is taken when ``recv`` returns it. What a receiver that is *killed* had not
  confirmed is delivered again, to another one: at least once. Without a death: exactly once.
  ``recv_nowait`` takes only what is in this process already.
- **Acknowledgements**: as on ``local``; what a process that is killed had not settled is delivered again.
- **Shutdown**: ``shutdown`` returns when the broker has applied it. It outlives the actor as long as a process
  lives that has heard of it.
- **Permits**: a slot is held at the broker, for this process: it goes back if that is killed. If the actor dies it
  is lost, and ``permit.send`` raises ``ChannelBackendErrorException``.
- **Cancel**: nothing is lost, as on ``local``; what was on its way to a cancelled receive serves the next.
- **Time limits**: a limited operation ends when the broker has answered: "timed out" means that nothing
  has happened. What waits for a broker that can't be reached raises ``ChannelBackendErrorException`` after 10 s.
- **Close**: as on ``local``, over all processes. A process that is killed lets go of its handles; if they
  were the last of their side, the side stays open for ``orphan_grace`` seconds. A process that stood still
  for 7 s is taken for dead; its handles raise once, and go on as new ones.
- **Death of the actor**: what it held is lost, every handle raises ``ChannelBackendErrorException`` once, and
  goes on with the restarted actor. Past its last restart all operations raise it.
  ``docs/delivery.md`` has what survives which death.
- **Threads and loops**: as on ``local``. Messages are decoded in the thread that receives them.
- **Pickling**: handles can be passed to tasks and actors, and sent through channels: each unpickling is
  a new handle, and a pickled one holds its side open until then (ten minutes at most).
- **Fork**: a child's handles count as new ones from their first use.
- **Memory**: messages are bytes; see ``payload``. One above 64 MiB is refused: see ``reference``. An object whose
  ObjectRef is in a message is gone with the process that made it.
- **Cost**: a send or a receive is a round trip to the actor's process, some 50 us on one node; no actor call.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from klaw_core import _core
from klaw_core.runtime.channels.ray.handles import BuiltByHand, RayReader

__all__ = ["RayReceiver", "RaySender"]

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class RaySender(BuiltByHand, _core.RemoteSender[T_contra], Generic[T_contra]):
    """The sending handle of a Ray channel: a ``ChannelSender``. Made by ``channel(backend='ray')``.

    Built by hand on any ``RayChannelActor`` it registers at its first use, and so do its clones.
    """

    __slots__ = ()


class RayReceiver(BuiltByHand, RayReader, _core.RemoteReceiver[T_co], Generic[T_co]):
    """The receiving handle of a Ray channel: a ``ChannelReceiver``. Made by ``channel(backend='ray')``.

    Built by hand on any ``RayChannelActor`` it registers at its first use, and so do its clones.
    """

    __slots__ = ()
