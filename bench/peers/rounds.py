"""Runs the peers of each scenario in turn, round after round."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from re import Pattern
from typing import Any

from programs import Case, Figures, Program, RunFailedError


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float  # how long a round of one peer should last


@dataclass(frozen=True)
class Entry:
    """A peer that takes part in a scenario, and the program that runs it."""

    case: Case
    program: Program

    @property
    def peer(self) -> str:
        return self.case.peer


Scenarios = dict[str, list[Entry]]


@dataclass(frozen=True)
class Failure:
    """A peer that dropped out of a scenario."""

    scenario: str
    peer: str
    why: str

    def __str__(self) -> str:
        return f"{self.peer} failed in {self.scenario}: {self.why}"


@dataclass
class Results:
    """rounds[scenario][peer] has the figures of each round; all peers of a scenario have the same number of them."""

    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def chosen(self, scenario: Pattern[str], peer: Pattern[str]) -> Results:
        """Give the part of it that has to do with some scenarios and peers."""
        return Results(
            {
                name: {one: of for one, of in peers.items() if peer.search(one)}
                for name, peers in self.rounds.items()
                if scenario.search(name)
            },
            [
                one
                for one in self.failures
                if scenario.search(one.scenario) and peer.search(one.peer)
            ],
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "scenarios": {
                scenario: {peer: [asdict(figures) for figures in of] for peer, of in peers.items()}
                for scenario, peers in self.rounds.items()
            },
            "failures": [asdict(failure) for failure in self.failures],
        }

    @staticmethod
    def from_json(written: dict[str, Any]) -> Results:
        return Results(
            {
                scenario: {
                    peer: [Figures(**figures) for figures in of] for peer, of in peers.items()
                }
                for scenario, peers in written["scenarios"].items()
            },
            [Failure(**failure) for failure in written["failures"]],
        )


def scenarios_of(
    programs: Iterable[Program], scenario: Pattern[str], peer: Pattern[str]
) -> Scenarios:
    """Say which peers are wanted in which scenario, in the programs' order."""
    wanted: Scenarios = {}
    for program in programs:
        for case in program.cases():
            if scenario.search(case.scenario) and peer.search(case.peer):
                wanted.setdefault(case.scenario, []).append(Entry(case, program))
    return wanted


def measure(scenario: str, entries: list[Entry], effort: Effort, results: Results) -> None:
    """Measure one scenario. A peer that fails drops out of it."""
    figures: dict[str, list[Figures]] = {entry.peer: [] for entry in entries}
    for _ in range(effort.rounds):
        for entry in entries:
            if entry.peer not in figures:
                continue
            try:
                figures[entry.peer].append(entry.program.run(entry.case, effort.seconds))
            except RunFailedError as error:
                results.failures.append(Failure(scenario, entry.peer, str(error)))
                del figures[entry.peer]
    results.rounds[scenario] = figures


def measure_all(scenarios: Scenarios, effort: Effort) -> Results:
    results = Results()
    for scenario, entries in scenarios.items():
        measure(scenario, entries, effort, results)
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return results
