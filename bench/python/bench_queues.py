"""klaw beside asyncio.Queue, anyio's memory streams, queue.Queue, and queues between threads and loops, in one run.

Each contender moves integers from producers to consumers; what arrives is not looked at: that is the tests' business.
The rounds are interleaved (A, B, C, A, B, C, ...), so that a slow spell of the machine hits all alike. A time is the
median of the rounds, a ratio the median of the ratios of each round. How many messages a round moves is found for each
contender, so that all rounds last alike.

The targets are shown for information: nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import platform
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiologic
import anyio
import anyio.from_thread
import anyio.to_thread
import culsans
import janus

from klaw_core.runtime.channels import broadcast, channel

UNBOUNDED = None
Capacity = int | None
Put = Callable[[int], Awaitable[None]]
Get = Callable[[], Awaitable[int]]
BlockingPut = Callable[[int], None]
BlockingGet = Callable[[], int]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    round_s: float  # how long a round of one contender should last
    refills: int  # how often a round fills the channel, at least
    messages_min: int
    messages_max: int = 1_000_000


FULL = Effort(rounds=7, round_s=0.1, refills=5, messages_min=1_000)
QUICK = Effort(rounds=3, round_s=0.005, refills=1, messages_min=100)


@dataclass(frozen=True)
class Shape:
    """Who sends to whom."""

    name: str
    producers: int
    consumers: int


@dataclass
class Cost:
    """What one contender took for one message, in each round."""

    cpu_ns: list[float] = field(default_factory=list)
    wall_ns: list[float] = field(default_factory=list)


# Moves so many messages from the producers to the consumers of a shape, through a new channel.
Contender = Callable[[Capacity, Shape, int], Awaitable[None]]


# ------------------------------------------------------------------------------- one event loop


async def put_all(put: Put, messages: int) -> None:
    for number in range(messages):
        await put(number)


async def get_all(get: Get, messages: int) -> None:
    for _ in range(messages):
        await get()


async def move(put: Put, get: Get, shape: Shape, messages: int) -> None:
    sent, received = messages // shape.producers, messages // shape.consumers
    async with asyncio.TaskGroup() as tasks:
        for _ in range(shape.consumers):
            tasks.create_task(get_all(get, received))
        for _ in range(shape.producers):
            tasks.create_task(put_all(put, sent))


async def klaw_loop(capacity: Capacity, shape: Shape, messages: int) -> None:
    tx, rx = await channel[int](capacity or 0, unbounded=capacity is UNBOUNDED)
    async with tx, rx:
        await move(tx.send, rx.recv, shape, messages)


async def asyncio_loop(capacity: Capacity, shape: Shape, messages: int) -> None:
    numbers: asyncio.Queue[int] = asyncio.Queue(capacity or 0)
    await move(numbers.put, numbers.get, shape, messages)


async def anyio_loop(capacity: Capacity, shape: Shape, messages: int) -> None:
    tx, rx = anyio.create_memory_object_stream[int](math.inf if capacity is None else capacity)
    async with tx, rx:
        await move(tx.send, rx.receive, shape, messages)


# ------------------------------------------------------------------- a thread to an event loop


def put_all_blocking(put: BlockingPut, messages: int) -> None:
    for number in range(messages):
        put(number)


async def move_from_thread(put: BlockingPut, get: Get, messages: int) -> None:
    producer = asyncio.create_task(anyio.to_thread.run_sync(put_all_blocking, put, messages))
    await get_all(get, messages)
    await producer


async def klaw_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    tx, rx = await channel[int](capacity or 0, unbounded=capacity is UNBOUNDED)
    async with tx, rx:
        await move_from_thread(tx.blocking_send, rx.recv, messages)


async def asyncio_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    numbers: asyncio.Queue[int] = asyncio.Queue(capacity or 0)
    loop = asyncio.get_running_loop()

    def put(number: int) -> None:
        asyncio.run_coroutine_threadsafe(numbers.put(number), loop).result()

    await move_from_thread(put, numbers.get, messages)


async def anyio_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    tx, rx = anyio.create_memory_object_stream[int](math.inf if capacity is None else capacity)

    def put(number: int) -> None:
        anyio.from_thread.run(tx.send, number)

    async with tx, rx:
        await move_from_thread(put, rx.receive, messages)


async def janus_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    numbers: janus.Queue[int] = janus.Queue(capacity or 0)
    await move_from_thread(numbers.sync_q.put, numbers.async_q.get, messages)
    await numbers.aclose()


async def culsans_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    numbers: culsans.Queue[int] = culsans.Queue(capacity or 0)
    await move_from_thread(numbers.sync_q.put, numbers.async_q.get, messages)
    numbers.shutdown()


async def aiologic_from_thread(capacity: Capacity, _: Shape, messages: int) -> None:
    numbers: aiologic.Queue[int] | aiologic.SimpleQueue[int]
    numbers = aiologic.SimpleQueue() if capacity is UNBOUNDED else aiologic.Queue(capacity)
    await move_from_thread(numbers.green_put, numbers.async_get, messages)


# --------------------------------------------------------------------------- between threads


def move_between_threads(put: BlockingPut, get: BlockingGet, messages: int) -> None:
    producer = threading.Thread(target=put_all_blocking, args=(put, messages))
    producer.start()
    for _ in range(messages):
        get()
    producer.join()


async def klaw_threads(capacity: Capacity, _: Shape, messages: int) -> None:
    tx, rx = await channel[int](capacity or 0, unbounded=capacity is UNBOUNDED)
    async with tx, rx:
        await asyncio.to_thread(move_between_threads, tx.blocking_send, rx.blocking_recv, messages)


async def queue_threads(capacity: Capacity, _: Shape, messages: int) -> None:
    numbers: queue.Queue[int] = queue.Queue(capacity or 0)
    await asyncio.to_thread(move_between_threads, numbers.put, numbers.get, messages)


# ------------------------------------------------------------------------- to several receivers


async def fan_out(put: Put, gets: list[Get], messages: int) -> None:
    """Each of `messages` is a delivery: each receiver gets a share of as many as are put."""
    share = messages // len(gets)
    async with asyncio.TaskGroup() as tasks:
        for get in gets:
            tasks.create_task(get_all(get, share))
        tasks.create_task(put_all(put, share))


async def klaw_fan_out(capacity: Capacity, shape: Shape, messages: int) -> None:
    tx, rx = await broadcast[int](capacity or 1, overflow="wait")
    receivers = [rx, *(tx.subscribe() for _ in range(shape.consumers - 1))]
    await fan_out(tx.send, [receiver.recv for receiver in receivers], messages)
    for handle in (tx, *receivers):
        await handle.close()


async def asyncio_fan_out(capacity: Capacity, shape: Shape, messages: int) -> None:
    queues: list[asyncio.Queue[int]] = [
        asyncio.Queue(capacity or 0) for _ in range(shape.consumers)
    ]

    async def put(number: int) -> None:
        for numbers in queues:
            await numbers.put(number)

    await fan_out(put, [numbers.get for numbers in queues], messages)


# ------------------------------------------------------------------------------- the matrix

LOOP_1_1 = Shape("one event loop, 1 to 1", 1, 1)
LOOP_4_4 = Shape("one event loop, 4 to 4", 4, 4)
FROM_THREAD = Shape("thread to event loop", 1, 1)
THREADS = Shape("thread to thread", 1, 1)
FAN_OUT = Shape("one event loop, each to 4", 1, 4)

CONTENDERS: dict[Shape, dict[str, Contender]] = {
    LOOP_1_1: {"klaw": klaw_loop, "asyncio": asyncio_loop, "anyio": anyio_loop},
    LOOP_4_4: {"klaw": klaw_loop, "asyncio": asyncio_loop, "anyio": anyio_loop},
    FROM_THREAD: {
        "klaw": klaw_from_thread,
        "asyncio": asyncio_from_thread,
        "anyio": anyio_from_thread,
        "janus": janus_from_thread,
        "culsans": culsans_from_thread,
        "aiologic": aiologic_from_thread,
    },
    THREADS: {"klaw": klaw_threads, "queue": queue_threads},
    FAN_OUT: {"klaw": klaw_fan_out, "asyncio": asyncio_fan_out},
}
CAPACITIES: dict[Shape, tuple[Capacity, ...]] = {
    LOOP_1_1: (1, 100, 10_000, UNBOUNDED),
    LOOP_4_4: (1, 100, 10_000, UNBOUNDED),
    FROM_THREAD: (1, 100, 10_000, UNBOUNDED),
    THREADS: (1, 100, 10_000),
    FAN_OUT: (1_024,),
}
# (shape, capacity, rival): how many times as fast as the rival klaw is meant to be.
TARGETS: dict[tuple[Shape, Capacity, str], float] = {
    (LOOP_1_1, 1, "asyncio"): 1,
    (LOOP_1_1, 100, "asyncio"): 3,
    (LOOP_1_1, 10_000, "asyncio"): 5,
    (LOOP_1_1, 100, "anyio"): 20,
    (LOOP_1_1, 10_000, "anyio"): 20,
    (FAN_OUT, 1_024, "asyncio"): 3,
    **{
        (FROM_THREAD, capacity, rival): 3
        for capacity in CAPACITIES[FROM_THREAD]
        for rival in ("janus", "culsans", "aiologic")
    },
}


def median_ratio(own: list[float], its: list[float]) -> float:
    return statistics.median(b / a for a, b in zip(own, its, strict=True))


@dataclass
class Cell:
    """One row of the table."""

    shape: Shape
    capacity: Capacity
    costs: dict[str, Cost]

    @property
    def capacity_name(self) -> str:
        return "unbounded" if self.capacity is None else f"{self.capacity:,}"

    def target(self, rival: str) -> float | None:
        return TARGETS.get((self.shape, self.capacity, rival))

    def cpu_ratio(self, rival: str) -> float:
        """How many times as long as klaw the rival takes."""
        return median_ratio(self.costs["klaw"].cpu_ns, self.costs[rival].cpu_ns)

    def wall_ratio(self, rival: str) -> float:
        return median_ratio(self.costs["klaw"].wall_ns, self.costs[rival].wall_ns)

    def as_json(self) -> dict[str, Any]:
        rivals = [name for name in self.costs if name != "klaw"]
        return {
            "shape": self.shape.name,
            "capacity": self.capacity,
            "ns_per_message": {name: asdict(cost) for name, cost in self.costs.items()},
            "cpu_ratio": {rival: self.cpu_ratio(rival) for rival in rivals},
            "wall_ratio": {rival: self.wall_ratio(rival) for rival in rivals},
            "target": {rival: self.target(rival) for rival in rivals},
        }


async def timed(contender: Contender, capacity: Capacity, shape: Shape, messages: int) -> Cost:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await contender(capacity, shape, messages)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost([cpu / messages * 1e9], [wall / messages * 1e9])


async def messages_for(
    contender: Contender, capacity: Capacity, shape: Shape, effort: Effort
) -> int:
    """Find how many messages make a round of the wanted length. Warms up, too."""
    least = max(effort.messages_min, effort.refills * (capacity or 10_000))
    messages = least
    while True:
        cost = await timed(contender, capacity, shape, messages)
        seconds = cost.wall_ns[0] * messages / 1e9
        if seconds >= effort.round_s / 2 or messages >= effort.messages_max:
            break
        messages *= 4
    wanted = int(messages * effort.round_s / seconds)
    return min(max(wanted, least), effort.messages_max) // 4 * 4  # a share for each of 4 tasks


async def measure(shape: Shape, capacity: Capacity, effort: Effort) -> Cell:
    contenders = CONTENDERS[shape]
    messages = {
        name: await messages_for(contender, capacity, shape, effort)
        for name, contender in contenders.items()
    }
    cell = Cell(shape, capacity, {name: Cost() for name in contenders})
    for _ in range(effort.rounds):
        for name, contender in contenders.items():
            cost = await timed(contender, capacity, shape, messages[name])
            cell.costs[name].cpu_ns += cost.cpu_ns
            cell.costs[name].wall_ns += cost.wall_ns
    return cell


# ---------------------------------------------------------------------------------- display


def environment(loop: str) -> dict[str, str]:
    def version_of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "unknown"

    def git(*arguments: str) -> str:
        try:
            command = ["git", "-C", str(Path(__file__).parent), *arguments]
            return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return {
        "machine": f"{processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "loop": f"uvloop {version_of('uvloop')}" if loop == "uvloop" else "asyncio",
        "klaw-channels": version_of("klaw-channels"),
        "rivals": ", ".join(
            f"{name} {version_of(name)}" for name in ("anyio", "janus", "culsans", "aiologic")
        ),
        "commit": commit + (" (changed)" if git("status", "--porcelain") else ""),
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


HEADINGS = ("", "capacity", "klaw ns", "rival", "ns", "CPU", "wall", "target")


def table_rows(cells: list[Cell]) -> list[tuple[str, ...]]:
    """One row for each rival of each cell; ns are of CPU time for one message."""
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        own = statistics.median(cell.costs["klaw"].cpu_ns)
        for rival in [name for name in cell.costs if name != "klaw"]:
            its = statistics.median(cell.costs[rival].cpu_ns)
            target = cell.target(rival)
            row = (
                cell.shape.name,
                cell.capacity_name,
                f"{own:,.0f}",
                rival,
                f"{its:,.0f}",
                f"{cell.cpu_ratio(rival):.1f}x",
                f"{cell.wall_ratio(rival):.1f}x",
                f">= {target:g}x" if target else "",
            )
            rows.append(row)
    return rows


def show(rows: list[tuple[str, ...]]) -> None:
    if find_spec("rich") is None or not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
        for row in [HEADINGS, *rows]:
            name, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
            print(name.strip().ljust(widths[0]), *others, sep="  ")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in {"", "rival"} else "right")
    before = None
    for row in rows:
        again = before is not None and row[:2] == before[:2]
        table.add_row(*(("", "", "", *row[3:]) if again else row))
        before = row
    Console().print(table)


def event_loop(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    import uvloop

    return uvloop.new_event_loop


async def measure_all(effort: Effort) -> list[Cell]:
    cells: list[Cell] = []
    for shape, capacities in CAPACITIES.items():
        for capacity in capacities:
            cells.append(await measure(shape, capacity, effort))
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return cells


def run(loop: str, main: Coroutine[Any, Any, list[Cell]]) -> list[Cell]:
    with asyncio.Runner(loop_factory=event_loop(loop)) as runner:
        return runner.run(main)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="short rounds: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there, too")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    args = parser.parse_args()

    about = environment(args.loop)
    for name, value in about.items():
        print(f"{name:>14}  {value}")
    cells = run(args.loop, measure_all(QUICK if args.quick else FULL))
    show(table_rows(cells))
    print(
        "ns: CPU time of the process for one message, median of the rounds. CPU, wall: how many times as long as\n"
        "klaw the rival takes, median of the ratios of each round. The targets are for CPU time, on a quiet machine."
    )
    if args.json:
        args.json.write_text(
            json.dumps({"about": about, "cells": [cell.as_json() for cell in cells]}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
