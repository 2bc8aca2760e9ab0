"""What the command shows to people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from klaw_core.runtime.channels import ChannelStats

__all__ = ["Frame", "stats_table", "top_table"]


@dataclass(frozen=True, slots=True)
class Frame:
    """All channels of a namespace at one moment; None for one that did not answer."""

    at: float  # time.monotonic()
    channels: Mapping[str, ChannelStats | None]


@dataclass(frozen=True, slots=True)
class _Rates:
    """Messages per second; None where there is no frame to compare with."""

    sent: float | None = None
    received: float | None = None


_COLUMNS: Final[Mapping[str, Callable[[ChannelStats, _Rates], str]]] = {
    "QUEUED": lambda stats, _: str(stats.queue_size),
    "CAPACITY": lambda stats, _: _capacity(stats),
    "OLDEST": lambda stats, _: f"{stats.oldest_age:.1f}s",
    "TX": lambda stats, _: str(stats.sender_count),
    "TX-WAIT": lambda stats, _: str(stats.waiting_senders),
    "RX": lambda stats, _: str(stats.receiver_count),
    "RX-WAIT": lambda stats, _: str(stats.waiting_receivers),
    "SENT/S": lambda _, rates: _rate(rates.sent),
    "RECEIVED/S": lambda _, rates: _rate(rates.received),
    "SENT": lambda stats, _: str(stats.total_sent),
    "RECEIVED": lambda stats, _: str(stats.total_received),
    "IN-FLIGHT": lambda stats, _: str(stats.in_flight),
    "REDELIVERED": lambda stats, _: str(stats.redelivered),
}
# Left out, in this order, until the table is as narrow as the terminal.
_EXPENDABLE: Final = (
    "REDELIVERED", "IN-FLIGHT", "RECEIVED", "SENT", "OLDEST", "CAPACITY", "TX-WAIT", "RX-WAIT", "TX", "RX",
)  # fmt: skip
_UNLIMITED: Final = 100_000  # columns of text


def top_table(frame: Frame, before: Frame | None, console: Console) -> Table:
    """A line for each channel. Rates are those since the frame before; without one there are none."""
    unlimited = console.options.update(max_width=_UNLIMITED)
    columns = list(_COLUMNS)
    table = _top_table(frame, before, columns)
    for expendable in _EXPENDABLE:
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
        columns.remove(expendable)
        table = _top_table(frame, before, columns)
    return table


def _top_table(frame: Frame, before: Frame | None, columns: Sequence[str]) -> Table:
    table = _plain_table("CHANNEL")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for name, stats in frame.channels.items():
        if stats is None:
            table.add_row(Text(name), *[""] * len(columns), "no answer")
        else:
            rates = _rates(name, stats, frame, before)
            figures = [_COLUMNS[column](stats, rates) for column in columns]
            table.add_row(Text(name), *figures, _state(stats))
    return table


def _rates(name: str, stats: ChannelStats, frame: Frame, before: Frame | None) -> _Rates:
    last = None if before is None else before.channels.get(name)
    # A channel that was made anew, or restarted, counts from 0 again.
    if before is None or last is None or last.total_sent > stats.total_sent:
        return _Rates()
    elapsed = max(frame.at - before.at, 1e-9)
    sent = (stats.total_sent - last.total_sent) / elapsed
    return _Rates(sent, max(0, stats.total_received - last.total_received) / elapsed)


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0f}"


def stats_table(stats: ChannelStats) -> Table:
    """One figure to a line."""
    table = _plain_table("FIGURE")
    table.add_column("VALUE", overflow="fold")
    rows = {
        "state": _state(stats),
        "queued": f"{stats.queue_size} of {_capacity(stats)}",
        "most ever queued": stats.high_watermark,
        "oldest waits for": f"{stats.oldest_age:.3f} s",
        "in flight": stats.in_flight,
        "senders": f"{stats.sender_count}, {stats.waiting_senders} waiting",
        "receivers": f"{stats.receiver_count}, {stats.waiting_receivers} waiting",
        "sent": stats.total_sent,
        "received": stats.total_received,
        "redelivered": stats.redelivered,
        "made": f"{datetime.fromtimestamp(stats.created_at).astimezone():%Y-%m-%d %H:%M:%S%z}, "
        f"{timedelta(seconds=int(max(0.0, time.time() - stats.created_at)))} ago",
        **stats.backend_extras,
    }
    for name, value in rows.items():
        table.add_row(Text(name), Text(str(value)))
    return table


def _plain_table(first: str) -> Table:
    """Without lines, so that it can be cut into columns by other commands as well."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _capacity(stats: ChannelStats) -> str:
    return "unbounded" if stats.capacity is None else str(stats.capacity)


def _state(stats: ChannelStats) -> str:
    match stats.senders_closed, stats.receivers_closed:
        case False, False:
            return "open"
        case True, False:
            return "senders closed"
        case False, True:
            return "receivers closed"
        case _:
            return "closed"
