"""Workers train one model together, each by the latest parameters, which are broadcast by a watch channel.

    trainer ──parameters (watch)──> N workers ──gradients (channel)──> trainer

The model learns to tell comments from code, by the characters of a line: a logistic regression. Its lines are those of
Python's own asyncio. A worker that is slow skips parameters, and never sees old ones. With --backend ray the workers
are in processes of their own, on all nodes of a Ray cluster.
"""

import argparse
import asyncio
import random
import sys
import sysconfig
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from importlib import import_module
from math import exp
from pathlib import Path
from typing import Any

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelReceiver,
    ChannelSender,
    WatchReceiver,
    WatchSender,
    channel,
    watch,
)
from klaw_core.runtime.channels.factory import Backend

BACKENDS: tuple[Backend, ...] = ("local", "ray")
WORKERS = 3
STEPS = 300
BATCH = 32  # lines for a gradient
RATE = 20.0  # of learning
CHARACTERS = 128

Line = tuple[str, bool]  # its text, and whether it is a comment


@dataclass(frozen=True)
class Parameters:
    """The model after so many steps."""

    step: int
    weights: list[float]  # one for each character


@dataclass(frozen=True)
class Gradient:
    """What a worker has found, by the parameters of that step."""

    worker: int
    step: int
    values: list[float]


# ------------------------------------------------------------------------------------ text and model


def lines_of_python() -> list[Line]:
    """List the comments and as many lines of code, mixed."""
    folder = Path(sysconfig.get_paths()["stdlib"], "asyncio")
    lines = [
        line.strip()
        for file in sorted(folder.glob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    comments = [line.lstrip("# ") for line in lines if line.startswith("# ") and len(line) > 20]
    code = [line for line in lines if not line.startswith("#") and ("=" in line or "(" in line)]
    mixed = random.Random(1)
    chosen = mixed.sample(code, len(comments))
    found = [(line, True) for line in comments] + [(line, False) for line in chosen]
    mixed.shuffle(found)
    return found


def features(text: str) -> dict[int, float]:
    """Give the share of each character."""
    return {
        ord(character): number / len(text)
        for character, number in Counter(text).items()
        if ord(character) < CHARACTERS
    }


def likelihood(text: str, weights: list[float]) -> float:
    """Say how likely it is a comment."""
    return 1 / (1 + exp(-sum(weights[c] * share for c, share in features(text).items())))


def gradient_of(lines: list[Line], weights: list[float]) -> list[float]:
    """Give the direction in which the model gets better at these lines."""
    values = [0.0] * CHARACTERS
    for text, is_comment in lines:
        error = is_comment - likelihood(text, weights)
        for character, share in features(text).items():
            values[character] += error * share / len(lines)
    return values


def accuracy(lines: list[Line], weights: list[float]) -> float:
    """Give the share of the lines that the model is right about."""
    return sum((likelihood(text, weights) > 0.5) == kind for text, kind in lines) / len(lines)


# ---------------------------------------------------------------------------------------- the workers


async def work(
    worker: int,
    lines: list[Line],
    parameters: WatchReceiver[Parameters],
    gradients: ChannelSender[Gradient],
) -> None:
    """Find a gradient by the latest parameters, again and again, until there are no more to come."""
    choice = random.Random(worker)

    async def find(now: Parameters) -> None:
        values = gradient_of(choice.sample(lines, BATCH), now.weights)
        await gradients.send(Gradient(worker, now.step, values))

    with parameters:
        async with gradients:
            try:
                await find(parameters.borrow_and_update())
                async for now in parameters:  # what came meanwhile has collapsed into the latest
                    await find(now)
            except ChannelClosedError:
                return  # the trainer needs no more


async def train(
    parameters: WatchSender[Parameters], gradients: ChannelReceiver[Gradient]
) -> tuple[list[float], Counter[int], int]:
    """Broadcast what comes of the gradients; give the weights, the gradients of each worker, and the oldest's age."""
    weights = [0.0] * CHARACTERS
    found = Counter[int]()
    oldest = 0
    async with parameters, gradients:  # whose end is that of the workers
        for step in range(1, STEPS + 1):
            gradient = await gradients.recv()
            found[gradient.worker] += 1
            oldest = max(oldest, step - 1 - gradient.step)
            weights = [w + RATE * g for w, g in zip(weights, gradient.values, strict=True)]
            if step >= WORKERS:  # the first gradients are one of each: all of them have started
                await parameters.send(Parameters(step, weights))
    return weights, found, oldest


def work_in_a_process(*arguments: Any) -> None:
    """Work in an event loop of its own."""
    asyncio.run(work(*arguments))


def start_worker(
    backend: Backend,
    worker: int,
    lines: list[Line],
    parameters: WatchReceiver[Parameters],
    gradients: ChannelSender[Gradient],
) -> Awaitable[object]:
    """Start a worker: as a task of this event loop, or as a Ray task in another process."""
    if backend == "local":
        return asyncio.ensure_future(work(worker, lines, parameters, gradients))
    ray: Any = import_module("ray")  # only here: it need not be installed
    remote = ray.remote(work_in_a_process)
    # Each handle is pickled, and is one of its own over there.
    options = {"num_cpus": 0.1, "scheduling_strategy": "SPREAD"}
    started = remote.options(**options).remote(worker, lines, parameters, gradients)
    parameters.close()
    gradients.close()
    return asyncio.wrap_future(started.future())


async def train_with_workers(
    lines: list[Line], backend: Backend
) -> tuple[list[float], Counter[int], int]:
    """Give each worker a share of the lines."""
    start = Parameters(0, [0.0] * CHARACTERS)
    parameter_tx, parameter_rx = await watch(start, backend=backend)
    gradient_tx, gradient_rx = await channel[Gradient](WORKERS, backend=backend)
    with parameter_rx:
        async with gradient_tx:
            working = [
                start_worker(
                    backend, n, lines[n::WORKERS], parameter_tx.subscribe(), gradient_tx.clone()
                )
                for n in range(WORKERS)
            ]
    trained = await train(parameter_tx, gradient_rx)
    await asyncio.gather(*working)
    return trained


def main() -> int:
    """Train, then look how good the model is at lines that it has not seen; 0 if it has learnt something."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, default="local")
    args = parser.parse_args()
    lines = lines_of_python()
    unseen, lines = lines[: len(lines) // 4], lines[len(lines) // 4 :]
    weights, found, oldest = asyncio.run(train_with_workers(lines, args.backend))
    for worker in range(WORKERS):
        print(f"worker {worker} found {found[worker]} of {STEPS} gradients")
    print(f"the oldest was by parameters that were {oldest} steps old")
    right = accuracy(unseen, weights)
    print(f"{right:.0%} of {len(unseen)} unseen lines are told right")
    return 0 if right > 0.8 else 1


if __name__ == "__main__":
    sys.exit(main())
