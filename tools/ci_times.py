"""Where the time of ``.ci/run`` went: its steps, and the slowest files of the Python tests.

    python3 tools/ci_times.py build/logs

It reads there ``times`` (a step and its seconds in a line), the steps' logs, and what pytest has written as JUnit XML.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

FILES_SHOWN = 8


def main() -> int:
    """Print the tables."""
    logs = Path(sys.argv[1])
    print_steps(logs)
    for report in sorted(logs.glob("*.xml")):
        print_slowest_files(report)
    return 0


def print_steps(logs: Path) -> None:
    """A step in a line; of one that builds C++ tests and runs them, both."""
    steps = [line.split() for line in (logs / "times").read_text().splitlines()]
    total = sum(int(seconds) for _, seconds in steps)
    print(f"{'step':<12} {'s':>5} {'%':>4}   of it")
    for name, seconds in steps:
        share = round(100 * int(seconds) / max(total, 1))
        parts = of_it(logs / f"{name}.log", int(seconds))
        print(f"{name:<12} {seconds:>5} {share:>4}   {parts}".rstrip())
    print(f"{'all':<12} {total:>5}")


def of_it(log: Path, seconds: int) -> str:
    """What the C++ tests took, by ctest's word; the rest is their build."""
    found = re.findall(
        r"^Total Test time \(real\) = +([\d.]+) sec", log.read_text(errors="replace"), re.MULTILINE
    )
    tests = round(sum(map(float, found)))
    return f"build {max(0, seconds - tests)}, C++ tests {tests}" if found else ""


def print_slowest_files(report: Path) -> None:
    """Sums over the tests of a file, with their fixtures."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest has written it
        module = re.sub(r"(\btest_\w+).*", r"\1", case.get("classname", ""))
        times[module.replace(".", "/") + ".py"].append(float(case.get("time", "0")))
    all_times = [seconds for each in times.values() for seconds in each]
    print(f"\n{report.stem}: {sum(all_times):.0f} s in {len(all_times)} tests; the slowest files:")
    for file in sorted(times, key=lambda file: -sum(times[file]))[:FILES_SHOWN]:
        print(f"{sum(times[file]):>7.1f} s {len(times[file]):>5} tests  {file}")


if __name__ == "__main__":
    sys.exit(main())
