"""`python bench/peers`: klaw's C++ channels beside those of other libraries and languages, in one run.

The programs of rust/, go/ and cpp/ are built and timed. The rounds are interleaved (A, B, C, A, B, C, ...), so that a
slow spell of the machine hits all alike. A figure is the median of the rounds, a ratio the median of the ratios of each
round. docs/benchmarks.md says what is measured. Nothing here passes or fails but a peer that loses messages.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from about import OthersLoad, about
from programs import Program, built_programs
from rounds import Effort, Results, measure_all, scenarios_of
from tables import LEGEND, detailed_tables, summary

FULL = Effort(rounds=5, seconds=0.2)
QUICK = Effort(rounds=2, seconds=0.002)


def parsed_arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/peers", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="short rounds: does it run at all?")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=None, help="how long a round of one lasts")
    parser.add_argument("--scenario", type=re.compile, default=re.compile(""), metavar="REGEX")
    parser.add_argument("--peer", type=re.compile, default=re.compile(""), metavar="REGEX")
    parser.add_argument("--list", action="store_true", help="name what would be measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there, too")
    parser.add_argument(
        "--program",
        action="append",
        type=Path,
        metavar="FILE",
        help="run this program instead of the built ones; may be given again",
    )
    return parser.parse_args(words)


def effort_of(args: argparse.Namespace) -> Effort:
    usual = QUICK if args.quick else FULL
    return Effort(
        rounds=usual.rounds if args.rounds is None else args.rounds,
        seconds=usual.seconds if args.seconds is None else args.seconds,
    )


def programs_of(args: argparse.Namespace) -> list[Program]:
    if args.program:
        return [Program(path.name, path) for path in args.program]
    return built_programs()


def as_json(about_it: dict[str, str], results: Results) -> str:
    whole: dict[str, Any] = {
        "about": about_it,
        "scenarios": {
            scenario: {peer: [figures.as_json() for figures in of] for peer, of in peers.items()}
            for scenario, peers in results.rounds.items()
        },
        "failures": [failure.as_json() for failure in results.failures],
    }
    return json.dumps(whole, indent=1)


def main(words: list[str] | None = None) -> int:
    args = parsed_arguments(words)
    programs = programs_of(args)
    scenarios = scenarios_of(programs, args.scenario, args.peer)
    if args.list:
        for scenario, entries in scenarios.items():
            print(scenario, *(entry.peer for entry in entries))
        return 0
    load = OthersLoad()
    results = measure_all(scenarios, effort_of(args))
    about_it = about(scenarios, load)
    for name, value in about_it.items():
        print(f"- {name}: {value}")
    for table in (*detailed_tables(results), summary(results)):
        print(f"\n{table}")
    print(f"\n{LEGEND}")
    for failure in results.failures:
        print(f"\n{failure}", file=sys.stderr)
    if args.json:
        args.json.write_text(as_json(about_it, results))
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
