"""What a channel's actor tells Ray's metrics, from which Prometheus reads it: ``docs/metrics.md`` has their names.

- **Cost**: none for a message. The broker counts anyway; a thread of the actor reads its counters every
  ``KLAW_METRICS_PERIOD`` seconds (5; 0: never), and hands them to Ray, which sends them on by itself.
- **Counters** are of this actor's process: a restarted one begins at 0, as Prometheus expects of counters.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ray.util.metrics import Counter, Gauge

from klaw_core.runtime.channels.stats import ChannelStats

__all__ = ["ChannelMetrics", "export", "metrics_period", "period_of"]

Traffic: TypeAlias = tuple[int, int]
"""Bytes sent and received."""

_LOGGER: Final = logging.getLogger(__name__)
_PREFIX: Final = "klaw_channel_"
_TAGS: Final = ("channel", "namespace")
_PERIOD_DEFAULT_S: Final = 5.0

_GAUGES: Final[dict[str, tuple[str, Callable[[ChannelStats], float | None]]]] = {
    "queue_size": ("Messages stored, not yet taken.", lambda s: s.queue_size),
    "capacity": ("Messages it holds at most; not there if unbounded.", lambda s: s.capacity),
    "in_flight": ("Messages given out and not confirmed yet.", lambda s: s.in_flight),
    "oldest_age_seconds": ("How long the oldest message has waited.", lambda s: s.oldest_age),
    "senders": ("Open senders.", lambda s: s.sender_count),
    "receivers": ("Open receivers.", lambda s: s.receiver_count),
    "waiting_senders": ("Sends that wait for room.", lambda s: s.waiting_senders),
    "waiting_receivers": ("Receivers that wait for a message.", lambda s: s.waiting_receivers),
}

_COUNTERS: Final[dict[str, tuple[str, Callable[[ChannelStats, Traffic], int]]]] = {
    "sent_messages": ("Messages accepted.", lambda s, _: s.total_sent),
    "received_messages": ("Messages taken.", lambda s, _: s.total_received),
    "redelivered_messages": ("Messages given out again.", lambda s, _: s.redelivered),
    "sent_bytes": ("Bytes of the messages accepted.", lambda _, traffic: traffic[0]),
    "received_bytes": ("Bytes of the messages taken.", lambda _, traffic: traffic[1]),
}


class ChannelMetrics:
    """The metrics of one channel; ``record`` is called by one thread."""

    def __init__(self, channel: str, namespace: str) -> None:
        self._tags: dict[str, str] = {"channel": channel, "namespace": namespace}
        self._gauges: dict[str, Any] = {
            name: Gauge(_PREFIX + name, description=text, tag_keys=_TAGS)
            for name, (text, _) in _GAUGES.items()
        }
        self._counters: dict[str, Any] = {
            name: Counter(_PREFIX + name, description=text, tag_keys=_TAGS)
            for name, (text, _) in _COUNTERS.items()
        }
        self._told: dict[str, int] = dict.fromkeys(_COUNTERS, 0)

    def record(self, stats: ChannelStats, traffic: Traffic) -> None:
        """What is so now, and what was counted since the last time."""
        for name, (_, value_of) in _GAUGES.items():
            if (value := value_of(stats)) is not None:
                self._gauges[name].set(value, tags=self._tags)
        for name, (_, total_of) in _COUNTERS.items():
            if (total := total_of(stats, traffic)) > self._told[name]:
                self._counters[name].inc(total - self._told[name], tags=self._tags)
                self._told[name] = total


def metrics_period() -> float:
    """What ``KLAW_METRICS_PERIOD`` says, in seconds; 0: no metrics."""
    return period_of("KLAW_METRICS_PERIOD", _PERIOD_DEFAULT_S)


def period_of(variable: str, default: float) -> float:
    """What this variable of the environment says, in seconds; 0 or more."""
    text = os.environ.get(variable, "")
    try:
        period = float(text) if text else default
    except ValueError:
        period = -1.0
    if not 0 <= period < threading.TIMEOUT_MAX:
        raise ValueError(f"{variable} must be a number of seconds, not {text!r}")
    return period


def export(
    metrics: ChannelMetrics,
    read: Callable[[], tuple[ChannelStats, Traffic]],
    period: float,
    ended: threading.Event,
) -> None:
    """Record what ``read`` gives, every ``period`` seconds, until the channel has ended. For a thread of its own."""
    try:
        while not ended.wait(period):
            metrics.record(*read())
    except Exception:
        _LOGGER.exception("this channel's metrics stop: Ray did not take them")
