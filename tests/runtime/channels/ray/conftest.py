"""What the tests on a real Ray cluster share: channels on either node, and tasks and actors that use them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from ray_cluster import SECOND_IP

from klaw_core.runtime.channels import ChannelClosedError, channel

LONG_S = 60.0


@pytest.fixture
def ray(ray_cluster: Any) -> Any:
    import ray

    return ray


@pytest.fixture(scope="session")
def placed(ray_cluster: Any) -> Callable[[str], dict[str, Any]]:
    """Options that place an actor or a task: ``placed("here")`` on this process's node, ``placed("there")``."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    [there] = [node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == SECOND_IP]

    def options(where: str) -> dict[str, Any]:
        node = here if where == "here" else there
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    return options


@pytest.fixture
def start_node(ray: Any, ray_cluster: Any) -> Iterator[Callable[[str], str]]:
    """Starts a node at an address, to be lost; gives its id. Ends once Ray knows that it is lost."""
    started: dict[str, str] = {}

    def start(ip: str) -> str:
        before = {node["NodeID"] for node in ray.nodes()}
        ray_cluster.start_node(ip)
        [started[ip]] = {node["NodeID"] for node in ray.nodes()} - before
        return started[ip]

    yield start
    for ip in started:
        with contextlib.suppress(KeyError):  # mostly the test has killed it
            ray_cluster.kill_node(ip)
    # Until then Ray places actors of the tests that follow on it, where they die.
    deadline = time.monotonic() + LONG_S
    while any(node["Alive"] for node in ray.nodes() if node["NodeID"] in started.values()):
        assert time.monotonic() < deadline, "Ray takes the lost node for alive"
        time.sleep(0.1)


@pytest.fixture
async def ray_channel(
    ray_cluster: Any, placed: Callable[[str], dict[str, Any]]
) -> AsyncIterator[Callable[..., Any]]:
    """Makes channels, on this node (a unix socket) and on the other (TCP) by turns; closes what is left."""
    made: list[weakref.ref[Any]] = []
    places = itertools.cycle(["here", "there"])

    async def make(
        capacity: int = 8, *, where: str | None = None, **settings: Any
    ) -> tuple[Any, Any]:
        options = placed(where or next(places))
        tx, rx = await channel(capacity, backend="ray", actor_options=options, **settings)
        made.extend([weakref.ref(tx), weakref.ref(rx)])
        return tx, rx

    yield make
    for handle in made:
        if (left := handle()) is not None:
            with contextlib.suppress(ChannelClosedError):  # what it had sent is lost
                await left.close()


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a channel, which is deleted afterwards."""
    from klaw_core.runtime.channels import delete_channel

    chosen = f"test-{uuid.uuid4().hex[:8]}"
    yield chosen
    delete_channel(chosen)


class Eventually:
    """Waits for what another process is about to do; what never comes fails after LONG_S."""

    async def true(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LONG_S
        while not await _value(condition):
            assert time.monotonic() < deadline, "it never came true"
            await asyncio.sleep(0.01)

    async def stats(self, handle: Any, **wanted: Any) -> Any:
        deadline = time.monotonic() + LONG_S
        while True:
            stats = await handle.stats()
            found = {name: getattr(stats, name) for name in wanted}
            if found == wanted:
                return stats
            assert time.monotonic() < deadline, f"{found}, not {wanted}"
            await asyncio.sleep(0.01)


async def _value(condition: Callable[[], Any]) -> Any:
    value = condition()
    return await value if asyncio.iscoroutine(value) else value


@pytest.fixture
def eventually() -> Eventually:
    return Eventually()
