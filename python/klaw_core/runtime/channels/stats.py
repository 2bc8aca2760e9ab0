"""``ChannelStats`` and ``ChannelCheckpoint``: what a channel tells about itself, on every backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ChannelCheckpoint", "ChannelStats"]


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """A channel at one moment, as ``stats()`` of a handle or ``channel_stats(name)`` gives it.

    The figures are read together, so they agree with each other.

    Attributes:
        sender_count: open senders.
        receiver_count: open receivers.
        queue_size: messages stored, not yet taken.
        capacity: messages the channel holds at most; 0 for a rendezvous, None for unbounded.
        senders_closed: whether the last sender has gone.
        receivers_closed: whether the last receiver has gone.
        created_at: when the channel was made, in seconds since 1970 (``time.time()``).
        high_watermark: the largest ``queue_size`` so far.
        total_sent: messages accepted since the channel was made.
        total_received: messages taken since the channel was made.
        backend_extras: what only this backend has to tell, by name; empty on ``local``.
        waiting_senders: sends that wait for room.
        waiting_receivers: receives that wait for a message; on Ray: handles whose receives wait.
        in_flight: messages given out that are not confirmed yet; 0 on ``local`` without acknowledgements.
        redelivered: messages given out again since the channel was made.
        oldest_age: how long the oldest stored message has waited, in seconds; 0.0 when there is none, or the
            backend does not keep the time.
    """

    sender_count: int
    receiver_count: int
    queue_size: int
    capacity: int | None
    senders_closed: bool
    receivers_closed: bool
    created_at: float
    high_watermark: int
    total_sent: int
    total_received: int
    backend_extras: dict[str, Any] = field(default_factory=dict[str, Any])
    waiting_senders: int = 0
    waiting_receivers: int = 0
    in_flight: int = 0
    redelivered: int = 0
    oldest_age: float = 0.0


@dataclass(frozen=True, slots=True)
class ChannelCheckpoint:
    """What is kept of a channel so that it can be restored, beside its messages. Attributes as in ``ChannelStats``."""

    created_at: float
    total_sent: int
    total_received: int
    senders_closed: bool
    receivers_closed: bool
