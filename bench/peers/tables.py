"""Figures as Markdown tables.

The last part of a scenario's name is its column, the rest its table: `threads/1P1C/100` is the column `100` of
the table `threads/1P1C`. Round trips have two more columns, p50 and p99.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from programs import Figures
from rounds import Results

KLAW = "klaw"
SPREAD_MAX = 1.5
NONE = "-"
LEGEND = (
    "Times per second, and ns of a round trip: medians of the rounds; **best**. `~`: the largest of the rounds\n"
    f"is more than {SPREAD_MAX} times the smallest. A ratio says how many times as good klaw is as the best of\n"
    "its peers: the median of the ratios of each round."
)


@dataclass(frozen=True)
class Column:
    """One thing that was measured of each peer: by_peer[peer] has a value for each round."""

    table: str
    name: str
    by_peer: dict[str, list[float]]
    is_better_low: bool = False

    def median(self, peer: str) -> float:
        return statistics.median(self.by_peer[peer])

    def best_of(self, peers: Iterable[str]) -> str | None:
        """Name the best of these peers, if any of them took part."""
        present = [peer for peer in peers if peer in self.by_peer]
        if not present:
            return None
        choose = min if self.is_better_low else max
        return choose(present, key=self.median)

    @property
    def best(self) -> str | None:
        return self.best_of(self.by_peer)

    @property
    def best_rival(self) -> str | None:
        return self.best_of(peer for peer in self.by_peer if not is_klaw(peer))

    def ratio(self, peer: str, rival: str) -> float:
        """How many times as good the peer is as its rival: the median over the rounds."""
        pairs = zip(self.by_peer[peer], self.by_peer[rival], strict=True)
        if self.is_better_low:
            return statistics.median(its / own for own, its in pairs)
        return statistics.median(own / its for own, its in pairs)

    def spread_mark(self, *peers: str) -> str:
        wide = (max(self.by_peer[peer]) > SPREAD_MAX * min(self.by_peer[peer]) for peer in peers)
        return "~" if any(wide) else ""


def is_klaw(peer: str) -> bool:
    return peer == KLAW or peer.startswith(f"{KLAW}-")


def per_second(figures: Figures) -> float | None:
    return figures.per_second


def p50_ns(figures: Figures) -> float | None:
    return figures.p50_ns


def p99_ns(figures: Figures) -> float | None:
    return figures.p99_ns


MEASURES: dict[str, Callable[[Figures], float | None]] = {
    "": per_second,
    " p50 ns": p50_ns,
    " p99 ns": p99_ns,
}


def columns(results: Results) -> list[Column]:
    """All columns, of which those without any value are left out."""
    found: list[Column] = []
    for scenario, rounds in results.rounds.items():
        table, _, name = scenario.rpartition("/")
        for suffix, measured in MEASURES.items():
            by_peer = {
                peer: values for peer, of in rounds.items() if (values := numbers(of, measured))
            }
            if by_peer:
                found.append(Column(table, name + suffix, by_peer, is_better_low=bool(suffix)))
    return found


def numbers(rounds: list[Figures], measured: Callable[[Figures], float | None]) -> list[float]:
    return [value for figures in rounds if (value := measured(figures)) is not None]


def short(number: float) -> str:
    """Three digits are more than a noisy machine tells: 12.3M, 1.23M, 123k, 12.3k, 123."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if number >= unit * 0.9995:
            scaled = number / unit
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f}{name}"
    return f"{number:.0f}"


def as_ratio(number: float) -> str:
    return (
        f"{number:.0f}x"
        if number >= 9.95
        else f"{number:.1f}x"
        if number >= 0.995
        else f"{number:.2f}x"
    )


def markdown(rows: list[list[str]]) -> str:
    heading, *others = rows
    ruler = ["---"] + ["--:"] * (len(heading) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ruler, *others))


def cell(column: Column, peer: str) -> str:
    if peer not in column.by_peer:
        return NONE
    text = short(column.median(peer)) + column.spread_mark(peer)
    return f"**{text}**" if peer == column.best else text


def ratio_cell(column: Column, peer: str) -> str:
    rival = column.best_rival
    if rival is None or peer not in column.by_peer:
        return NONE
    return f"{as_ratio(column.ratio(peer, rival))}{column.spread_mark(peer, rival)} {rival}"


def peers_of(some: list[Column]) -> list[str]:
    """Name the peers in these columns, klaw first."""
    named = dict.fromkeys(peer for column in some for peer in column.by_peer)
    return sorted(named, key=lambda peer: not is_klaw(peer))


def detailed_table(title: str, some: list[Column]) -> str:
    peers = peers_of(some)
    rows = [["peer", *(column.name for column in some)]]
    rows += [[peer, *(cell(column, peer) for column in some)] for peer in peers]
    rows += [
        [f"*{peer} / best peer*", *(ratio_cell(column, peer) for column in some)]
        for peer in peers
        if is_klaw(peer)
    ]
    return f"### {title}\n\n{markdown(rows)}"


def detailed_tables(results: Results) -> list[str]:
    by_table: dict[str, list[Column]] = {}
    for column in columns(results):
        by_table.setdefault(column.table, []).append(column)
    return [detailed_table(title, some) for title, some in by_table.items()]


def summary(results: Results) -> str:
    """One row for each column in which klaw has a rival."""
    with_rivals = [column for column in columns(results) if column.best_rival is not None]
    klaws = [peer for peer in peers_of(with_rivals) if is_klaw(peer)]
    rows = [["scenario", "best peer", *(f"{peer} / best peer" for peer in klaws)]]
    for column in with_rivals:
        if not any(peer in column.by_peer for peer in klaws):
            continue
        rows.append([f"{column.table}/{column.name}", column.best_rival or NONE])
        rows[-1] += [ratio_cell(column, peer).partition(" ")[0] for peer in klaws]
    return f"### klaw beside the best of its peers\n\n{markdown(rows)}"
