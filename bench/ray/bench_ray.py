"""klaw's Ray channels beside ray.util.queue.Queue, multiprocessing.Queue and ZeroMQ, in one run.

One process sends 100 bytes after 100 bytes and awaits each send; another receives them. And: a ping-pong
over two channels. And arrays of 64 KiB to 64 MiB, to the other node: by reference, as they are, and through
ray.util.queue, each with room for four. The rounds are interleaved, so that a slow spell of the machine hits
all alike; a figure is the median of the rounds, a ratio the median of the ratios of each round. The targets are
shown for information: nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import contenders
from contenders import PAYLOAD, Near, Start
from plot import bars

ROOT = Path(__file__).parents[2]
BASELINE = "ray.util.queue"
TARGETS = {"messages/s": 15.0, "ping-pong": 10.0}
MIB = 1024 * 1024
MESSAGE_MAX = 64 * MIB  # of a channel; a reference may be to more
SIZES = (MIB // 16, MIB, 8 * MIB, 32 * MIB, 64 * MIB)
STORE = 2048 * MIB  # on each node


async def rate(start: Start, count: int) -> float:
    """Messages per second."""
    near = await start("swallow", count + 1)
    await near.send(PAYLOAD)  # both ends are there
    began = time.perf_counter()
    for _ in range(count):
        await near.send(PAYLOAD)
    await near.finished()
    return count / (time.perf_counter() - began)


async def concurrent_rate(start: Start, count: int, senders: int = 16) -> float:
    """Messages per second of several tasks that send at once."""
    near = await start("swallow", count * senders + 1)
    await near.send(PAYLOAD)

    async def produce() -> None:
        for _ in range(count):
            await near.send(PAYLOAD)

    began = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(senders)))
    await near.finished()
    return count * senders / (time.perf_counter() - began)


async def ping_pong(start: Start, count: int) -> float:
    """Microseconds of one round trip."""
    near: Near = await start("echo", count + 1)

    async def once() -> None:
        await near.send(PAYLOAD)
        await near.recv()

    await once()
    began = time.perf_counter()
    for _ in range(count):
        await once()
    taken = time.perf_counter() - began
    await near.finished()
    return taken / count * 1e6


async def throughput(start: Start, size: int, count: int) -> float:
    """MiB per second of arrays of so many bytes."""
    import numpy as np

    value = np.ones(size, dtype=np.uint8)
    near = await start("swallow", count + 1)
    await near.send(value)
    began = time.perf_counter()
    for _ in range(count):
        await near.send(value)
    await near.finished()
    return count * size / MIB / (time.perf_counter() - began)


async def measure_sizes(rounds: int, scale: float) -> dict[str, dict[str, list[float]]]:
    """As ``measure``: how many MiB/s, by size."""
    import ray

    here, there = both_nodes(ray)
    room: Any = {"capacity": 4}
    ways: dict[str, Start] = {
        "klaw, by reference": contenders.klaw(ray, here, there, reference=True, **room),
        "klaw, as they are": contenders.klaw(ray, here, there, **room),
        BASELINE: contenders.ray_queue(ray, here, there, **room),
    }
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for size in SIZES:
            for name, start in ways.items():
                if name == "klaw, as they are" and size >= MESSAGE_MAX:
                    continue  # it is refused
                count = max(3, int(min(300, 512 * MIB // size) * scale))
                of = figures.setdefault(f"{size // 1024} KiB", {})
                of.setdefault(name, []).append(await throughput(start, size, count))
    return figures


def both_nodes(ray: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that place an actor on this process's node, and on the other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    [there] = [node["NodeID"] for node in ray.nodes() if node["NodeID"] != here]
    return (
        {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)},
        {"scheduling_strategy": NodeAffinitySchedulingStrategy(there, soft=False)},
    )


async def measure(rounds: int, scale: float) -> dict[str, dict[str, list[float]]]:
    """figures[what][contender] is a list, one for each round."""
    import ray

    here, there = both_nodes(ray)
    # How many messages a round has: so that all last about alike.
    ways: dict[str, tuple[Start, int]] = {
        "klaw, one node": (contenders.klaw(ray, here, here), 10_000),
        "klaw, two nodes": (contenders.klaw(ray, here, there), 10_000),
        BASELINE: (contenders.ray_queue(ray, here), 500),
        "multiprocessing.Queue": (contenders.mp_queue, 50_000),
        "ZeroMQ, asyncio": (contenders.zeromq, 30_000),
    }
    figures: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in ways} for what in ("messages/s", "16 tasks", "ping-pong")
    }
    for _ in range(rounds):
        for name, (start, count) in ways.items():
            some = max(10, int(count * scale))
            figures["messages/s"][name].append(await rate(start, some))
            figures["16 tasks"][name].append(await concurrent_rate(start, max(2, some // 16)))
            figures["ping-pong"][name].append(await ping_pong(start, max(10, some // 10)))
    return figures


def ratio(what: str, figures: dict[str, list[float]], name: str) -> float:
    """How much better than ray.util.queue: the median of the rounds' ratios."""
    pairs = zip(figures[name], figures[BASELINE], strict=True)
    return statistics.median(b / a if what == "ping-pong" else a / b for a, b in pairs)


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Medians, and ratios to ray.util.queue."""
    lines = []
    for what, title in (
        ("messages/s", "100-byte messages, each send awaited: messages/s"),
        ("16 tasks", "16 tasks that send at once: messages/s"),
        ("ping-pong", "ping-pong over two channels: us a round trip"),
    ):
        target = f"  (target of klaw: {TARGETS[what]:g}x)" if what in TARGETS else ""
        lines += ["", title + target]
        for name, values in figures[what].items():
            lines.append(
                f"  {name:<22} {statistics.median(values):>12,.0f}   "
                f"{ratio(what, figures[what], name):>7.1f}x {BASELINE}"
            )
    return "\n".join(lines)


def size_table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Medians, and ratios to ray.util.queue."""
    lines = ["", "arrays to another node, each send awaited: MiB/s"]
    for size, of in figures.items():
        for name, values in of.items():
            lines.append(
                f"  {size:>9}  {name:<20} {statistics.median(values):>9,.0f}   "
                f"{ratio(size, of, name):>7.1f}x {BASELINE}"
            )
    return "\n".join(lines)


def heading() -> str:
    """Where and of what these figures are."""
    import ray

    from klaw_core import _core

    return (
        f"klaw {_core.__version__}, ray {ray.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    )


def cluster() -> Any:
    spec = importlib.util.spec_from_file_location("ray_cluster", ROOT / "tools" / "ray_cluster.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.RayCluster(STORE)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="a look whether it runs: figures mean nothing"
    )
    parser.add_argument("--sizes", action="store_true", help="only large payloads")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--svg", type=Path, help="draw them there")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # Ray's workers import contenders, too
    with cluster() as nodes:
        nodes.start_head()
        nodes.start_node()
        import ray

        ray.init(address=nodes.address, log_to_driver=False)
        print(heading())
        rounds, scale = (1, 0.02) if args.quick else (args.rounds, 1.0)
        try:
            figures = asyncio.run(measure(rounds, scale)) if not args.sizes else {}
            sizes = asyncio.run(measure_sizes(rounds, scale))
        finally:
            ray.shutdown()  # before its cluster goes, which it would wait for
    print(table(figures) if figures else "")
    print(size_table(sizes))
    if args.json:
        args.json.write_text(json.dumps(figures | sizes, indent=1))
    if args.svg:
        args.svg.write_text(
            bars(
                {
                    what: {n: statistics.median(v) for n, v in of.items()}
                    for what, of in (
                        figures | {f"{s}: MiB/s": of for s, of in sizes.items()}
                    ).items()
                }
            )
        )
        print(f"\ndrawn in {args.svg}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
