"""MPMC channels within one process: between threads, coroutines and asyncio tasks, in any mixture.

What they promise:

- **Capacity**: strict. ``channel(n)`` never stores more than n messages; ``channel(0)`` is a
  rendezvous: a send completes when a receiver takes its message; ``unbounded=True`` never is full.
- **Order**: first in, first out per sender; each message goes to exactly one receiver. Those who
  wait are served in the order in which they came; a ready operation may pass one that is just being
  woken, but nobody starves.
- **Close**: by reference count. A clone counts from the moment ``clone()`` returns; ``close()`` is
  idempotent and takes effect at the call; dropping the last reference to a handle closes it. When
  the last sender is gone, receivers drain what is stored, then get ``ChannelClosed``; when the last
  receiver is gone, what is stored is dropped. Whoever waits is woken at once by either, and by the
  closing of its own handle.
- **Permits**: ``reserve`` holds one slot of the capacity for a message that is to come.
- **Acknowledgements**: what ``recv_acked`` gave comes back, marked, unless its block ends well: at
  least once. What comes back is served first, and takes no slot.
- **Shutdown**: no more sends from anywhere; receivers drain, or not.
- **Cancel**: nothing happens before an operation is awaited, and a cancelled one loses nothing: a
  ``recv`` has not taken a message, a ``send`` has delivered its message or has not, and the next in
  line is served instead. The same holds when the time runs out.
- **Threads**: any thread and any event loop may use any handle, and several may use one at once. A
  sender in one thread wakes a receiver in another one's event loop. asyncio, also with uvloop, and
  anyio on it; under trio there is a clear error. A child made by fork cannot use its parent's
  handles.
- **Memory**: messages are references to the objects sent, never copied or pickled; a channel can
  hold itself and is collected all the same. Nothing is allocated per message in a bounded channel.
  Handles refuse to be copied (use ``clone()``) and to be pickled.
- **Errors**: operations that wait raise ``ChannelClosedError``, ``SendTimeoutError`` or
  ``RecvTimeoutError``; ``try_`` ones return a ``Result``; ``_nowait`` ones raise
  ``ChannelFullError`` or ``ChannelEmptyError``.
- **Cost**: a ready ``await tx.send(v)`` or ``await rx.recv()`` makes no future and no trip through
  the event loop (but for one now and then, so that it never starves the loop); wake-ups from other
  threads are gathered into one per turn of the loop.

Example::

    tx, rx = await channel[int](8)

    async def produce() -> None:
        async with tx:  # closes it, which ends the loop below
            for n in range(100):
                await tx.send(n)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        async for n in rx:
            print(n)

The state and the waiting are C++ (``include/klaw/channels/local.hpp``); what the methods do is told
in :mod:`klaw_core.runtime.channels.protocols`.
"""

from __future__ import annotations

from klaw_core._core import LocalReceiver, LocalSender

__all__ = ["LocalReceiver", "LocalSender"]
