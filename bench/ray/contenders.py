"""The ways in which a value gets from one process to another that are measured side by side.

Each has an end here (``Near``) and an end in another process (``far``), which echoes, or swallows and says
when it is done.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

PAYLOAD = b"x" * 100
CAPACITY = 1000


@dataclass
class Near:
    """This process's end. ``finished`` waits until the other end has received all."""

    send: Callable[[Any], Awaitable[None]]
    recv: Callable[[], Awaitable[Any]]
    finished: Callable[[], Awaitable[None]]


Start = Callable[[str, int], Awaitable[Near]]
"""start(what, count): the other end will "swallow" or "echo" so many values."""


# ------------------------------------------------------------------------------------------- on Ray


async def work(what: str, count: int, send: Callable[[Any], Any], recv: Callable[[], Any]) -> None:
    for _ in range(count):
        value = await recv()
        if what == "echo":
            await send(value)


def ray_actor(ray: Any, options: dict[str, Any]) -> Any:
    @ray.remote(num_cpus=0, max_concurrency=10)
    class Far:
        async def ready(self) -> bool:
            return True

        async def channels(self, what: str, count: int, tx: Any, rx: Any) -> None:
            await work(what, count, tx.send, rx.recv)

        async def queues(self, what: str, count: int, out: Any, into: Any) -> None:
            await work(what, count, out.put_async, into.get_async)

    return Far.options(**options).remote()


def klaw(
    ray: Any,
    here: dict[str, Any],
    there: dict[str, Any],
    *,
    capacity: int = CAPACITY,
    reference: bool = False,
) -> Start:
    """klaw's channels; the actors of the channels are here, the other end is ``there``."""
    from klaw_core.runtime.channels import channel

    async def start(what: str, count: int) -> Near:
        settings: Any = {"backend": "ray", "actor_options": here, "reference": reference}
        tx, far_rx = await channel(capacity, **settings)
        far_tx, rx = await channel(capacity, **settings)
        far = ray_actor(ray, there)
        await far.ready.remote()
        done = far.channels.remote(what, count, far_tx, far_rx)
        await far_tx.close()
        await far_rx.close()

        async def finished() -> None:
            await done
            for handle in (tx, rx):
                await handle.close()
            ray.kill(far)

        return Near(tx.send, rx.recv, finished)

    return start


def ray_queue(
    ray: Any,
    here: dict[str, Any],
    there: dict[str, Any] | None = None,
    *,
    capacity: int = CAPACITY,
) -> Start:
    """ray.util.queue.Queue, awaited; the other end is here, too, unless it is ``there``."""
    from ray.util.queue import Queue

    async def start(what: str, count: int) -> Near:
        out, into = (Queue(capacity, actor_options={"num_cpus": 0} | here) for _ in range(2))
        far = ray_actor(ray, there or here)
        await far.ready.remote()
        done = far.queues.remote(what, count, into, out)

        async def finished() -> None:
            await done
            for queue in (out, into):
                queue.shutdown(force=True)
            ray.kill(far)

        return Near(out.put_async, into.get_async, finished)

    return start


# --------------------------------------------------------------------------------------- without Ray


def _mp_far(what: str, count: int, out: Any, into: Any) -> None:
    for _ in range(count):
        value = into.get()
        if what == "echo":
            out.put(value)


async def mp_queue(what: str, count: int) -> Near:
    """multiprocessing.Queue: blocking, so there is nothing to await."""
    context = multiprocessing.get_context("spawn")
    out, into = context.Queue(CAPACITY), context.Queue(CAPACITY)
    far = context.Process(target=_mp_far, args=(what, count, into, out))
    far.start()

    async def send(value: Any) -> None:
        out.put(value)

    async def recv() -> Any:
        return into.get()

    async def finished() -> None:
        await asyncio.to_thread(far.join)

    return Near(send, recv, finished)


def _zmq_far(what: str, count: int, into: str, out: str) -> None:
    import zmq
    import zmq.asyncio

    async def run() -> None:
        with zmq.asyncio.Context() as context:
            pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            pull.connect(into)
            push.connect(out)
            await work(what, count, push.send, pull.recv)
            pull.close()
            push.close()

    asyncio.run(run())


async def zeromq(what: str, count: int) -> Near:
    """A ZeroMQ bridge by hand: PUSH and PULL over TCP, awaited. Nothing waits for room at the other end."""
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    ports = [socket.bind_to_random_port("tcp://127.0.0.2") for socket in (push, pull)]
    into, out = (f"tcp://127.0.0.2:{port}" for port in ports)
    far = multiprocessing.get_context("spawn").Process(
        target=_zmq_far, args=(what, count, into, out)
    )
    far.start()

    async def finished() -> None:
        await asyncio.to_thread(far.join)
        context.destroy()

    return Near(push.send, pull.recv, finished)
