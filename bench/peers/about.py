"""Where and of what the figures are, and how busy the machine was with other things meanwhile."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from programs import ROOT
from rounds import Scenarios

STAT = Path("/proc/stat")
# The fields of the first line of /proc/stat after its name; the two of guests are counted in others.
FIELDS = 8
IDLE_FIELDS = (3, 4)


class OthersLoad:
    """How much of the machine others used since this was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = busy_seconds()
        self._own = own_seconds()

    def share(self) -> float | None:
        """Give their share of all CPUs, from 0 to 1; None where the kernel does not tell."""
        if self._busy is None or (busy := busy_seconds()) is None:
            return None
        others = (busy - self._busy) - (own_seconds() - self._own)
        elapsed = time.monotonic() - self._began
        return max(0.0, others / elapsed / (os.cpu_count() or 1))


def busy_seconds() -> float | None:
    if not STAT.exists():
        return None
    ticks = [int(field) for field in STAT.read_text().splitlines()[0].split()[1 : FIELDS + 1]]
    busy = sum(ticks) - sum(ticks[field] for field in IDLE_FIELDS)
    return busy / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def about(scenarios: Scenarios, load: OthersLoad) -> dict[str, str]:
    share = load.share()
    return {
        "machine": f"{processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "other processes": "unknown"
        if share is None
        else f"used {share:.0%} of the CPUs meanwhile",
        "klaw": f"commit {commit()}",
        "peers": ", ".join(versions(scenarios)),
        "compilers": ", ".join(filter(None, (first_line(["g++", "--version"]), rustc(), go()))),
    }


def versions(scenarios: Scenarios) -> list[str]:
    named = {
        f"{entry.peer} {entry.case.version}": None
        for entries in scenarios.values()
        for entry in entries
    }
    return list(named)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    head = first_line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    changed = first_line(["git", "-C", str(ROOT), "status", "--porcelain"])
    return (head or "unknown") + (" (changed)" if changed else "")


def rustc() -> str:
    return first_line(["rustc", "--version"])


def go() -> str:
    return first_line(["go", "version"])


def first_line(command: Sequence[str]) -> str:
    """Give the first line that a command prints, or nothing if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else ""
