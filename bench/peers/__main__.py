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
        "--read", type=Path, metavar="FILE", help="show what --json wrote, instead of measuring"
    )
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


def measured(args: argparse.Namespace) -> tuple[dict[str, str], Results]:
    scenarios = scenarios_of(programs_of(args), args.scenario, args.peer)
    load = OthersLoad()
    results = measure_all(scenarios, effort_of(args))
    return about(scenarios, load), results


def read(args: argparse.Namespace) -> tuple[dict[str, str], Results]:
    written = json.loads(args.read.read_text())
    return written["about"], Results.from_json(written).chosen(args.scenario, args.peer)


def show(about_it: dict[str, str], results: Results) -> None:
    for name, value in about_it.items():
        print(f"- {name}: {value}")
    for table in (*detailed_tables(results), summary(results)):
        print(f"\n{table}")
    print(f"\n{LEGEND}")
    for failure in results.failures:
        print(f"\n{failure}", file=sys.stderr)


def main(words: list[str] | None = None) -> int:
    args = parsed_arguments(words)
    if args.list:
        for scenario, entries in scenarios_of(programs_of(args), args.scenario, args.peer).items():
            print(scenario, *(entry.peer for entry in entries))
        return 0
    about_it, results = read(args) if args.read else measured(args)
    show(about_it, results)
    if args.json:
        args.json.write_text(json.dumps({"about": about_it, **results.as_json()}, indent=1))
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
