"""The programs that are timed, each a few peers in one language, and how they are built.

Their protocol, with fields separated by tabs:

    PROGRAM list                          a line for each case: scenario, peer, version
    PROGRAM run SCENARIO PEER SECONDS     one timed run: scenario, peer, times a second, p50 ns, p99 ns (or -)

A run finds by itself how many messages take so long, and checks that what arrived is what was sent; else it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build"
BUILD_LIMIT_S = 1800
# A run looks for the right count, makes a timed run, perhaps one for the latencies, all of which may hit a slow spell.
RUN_LIMIT_S = 60
NOT_MEASURED = "-"


class RunFailedError(Exception):
    """A program ended badly, took too long, or said what cannot be understood."""


@dataclass(frozen=True)
class Case:
    """One peer in one scenario."""

    scenario: str
    peer: str
    version: str


@dataclass(frozen=True)
class Figures:
    """What one run measured; percentiles only of round trips."""

    per_second: float
    p50_ns: float | None = None
    p99_ns: float | None = None


@dataclass(frozen=True)
class Program:
    """An executable that knows the protocol."""

    name: str
    path: Path

    def cases(self) -> list[Case]:
        return [Case(*self._fields(line, 3)) for line in self._output("list").splitlines()]

    def run(self, case: Case, seconds: float) -> Figures:
        line = self._output("run", case.scenario, case.peer, f"{seconds:g}")
        scenario, peer, per_second, p50_ns, p99_ns = self._fields(line.strip("\n"), 5)
        if (scenario, peer) != (case.scenario, case.peer):
            raise RunFailedError(f"{self.name} ran {peer} in {scenario}")
        return Figures(float(per_second), as_number(p50_ns), as_number(p99_ns))

    def _output(self, *words: str) -> str:
        command = [str(self.path), *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"{self.name} took more than {RUN_LIMIT_S} s") from None
        if done.returncode != 0:
            raise RunFailedError(f"{self.name}, status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _fields(self, line: str, count: int) -> list[str]:
        fields = line.split("\t")
        if len(fields) != count:
            raise RunFailedError(f"{self.name} said {line!r} instead of {count} fields")
        return fields


def as_number(field: str) -> float | None:
    return None if field == NOT_MEASURED else float(field)


def built_programs() -> list[Program]:
    """Build what can be built here, and say what cannot. klaw's own is built by make."""
    klaw = Program("klaw_peers_bench", BUILD / "release" / "bench" / "klaw_peers_bench")
    if not klaw.path.exists():
        sys.exit(f"bench/peers: there is no {klaw.path}; make bench-peers builds it")
    others = [
        built("cargo", "Rust", rust_command(), BUILD / "peers" / "rust" / "release" / "peers"),
        built("go", "Go", go_command(), BUILD / "peers" / "go" / "peers"),
    ]
    return [klaw, *(program for program in others if program is not None)]


def rust_command() -> list[str]:
    target = BUILD / "peers" / "rust"
    return ["cargo", "build", "--release", "--quiet", "--target-dir", str(target)]


def go_command() -> list[str]:
    return ["go", "build", "-o", str(BUILD / "peers" / "go" / "peers"), "."]


def built(tool: str, language: str, command: list[str], path: Path) -> Program | None:
    """Build one program in its language's folder. Without it, the others are measured all the same."""
    if shutil.which(tool) is None:
        say(f"no {tool} on PATH: without the peers in {language}")
        return None
    say(f"building the peers in {language}")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # the Go that is there, no download
    done = subprocess.run(
        command,
        cwd=HERE / language.lower(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        say(f"{tool} failed: without the peers in {language}\n{done.stderr.strip()}")
        return None
    return Program(f"the peers in {language}", path)


def say(text: str) -> None:
    print(f"bench/peers: {text}", file=sys.stderr, flush=True)
