"""What the channel tests share: ways to wait without sleeping, leak checks, interpreters of their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import itertools
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from channel_tests import without_slow_steps
from ray_cluster import RayCluster

from klaw_core import _core
from klaw_core.runtime.channels import ChannelStats

# For waits that a correct channel never needs: what fails says so after this long, what passes never gets near it.
LONG_S = 30.0
RAY_LIMIT_S = 300.0


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
ON_BOTH_LOOPS = {
    "test_awaitable.py",
    "test_broadcast.py",
    "test_oneshot.py",
    "test_select.py",
    "test_threads.py",
    "test_watch.py",
}  # and all of conformance/


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    both = item.path.name in ON_BOTH_LOOPS or item.path.parent.name == "conformance"
    return LOOPS if both else {"asyncio": LOOPS["asyncio"]}


def pauses() -> Iterator[float]:
    """Between one look and the next: none at first, then short ones, which leave the processor to who is waited for."""
    yield from itertools.repeat(0.0, 100)
    yield from itertools.repeat(0.001)


class Until:
    """Waits until something is so. What never comes is ended by the time limit of the test."""

    async def true(self, condition: Callable[[], bool]) -> None:
        for pause in pauses():
            if condition():
                return
            await asyncio.sleep(pause)

    async def _stats_are(self, handle: Any, condition: Callable[[ChannelStats], bool]) -> None:
        for pause in pauses():
            if condition(await handle.stats()):
                return
            await asyncio.sleep(pause)

    async def senders_wait(self, handle: Any, count: int) -> None:
        await self._stats_are(handle, lambda stats: stats.waiting_senders == count)

    async def receivers_wait(self, handle: Any, count: int, *, handles: int | None = None) -> None:
        """A broker counts the handles that wait, where a channel of one process counts their receives."""
        if handles is not None and hasattr(handle, "_channel"):
            await asyncio.sleep(0)  # tasks that were just started have their receives wait
            count = handles
        await self._stats_are(handle, lambda stats: stats.waiting_receivers == count)

    def true_in_thread(self, condition: Callable[[], bool]) -> None:
        for pause in pauses():
            if condition():
                return
            time.sleep(pause)

    def stats(self, handle: Any) -> Any:
        """The stats, without a loop: of a local channel they are ready at once."""
        return drive(handle.stats())


def drive(operation: Any) -> Any:
    """The result of an awaitable that is ready, driven by hand, without an event loop."""
    while True:
        try:
            given = operation.send(None)
        except StopIteration as stop:
            return stop.value
        assert given is None, "it was not ready"


@pytest.fixture
def until() -> Until:
    return Until()


@pytest.fixture(name="drive")
def drive_fixture() -> Callable[[Any], Any]:
    return drive


@pytest.fixture
def long_s() -> float:
    return LONG_S


class Spawner:
    """Runs functions in threads; every one is joined, and what it raised is raised by result()."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
        job = Job(function, args, kwargs)
        self._jobs.append(job)
        return job

    def join(self) -> None:
        for job in self._jobs:
            job.thread.join(LONG_S)
            assert not job.thread.is_alive(), f"{job.function} never ended"


class Job:
    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function = function
        self._call = lambda: function(*args, **kwargs)
        self._value: Any = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  it is raised by result()
            self._error = error
        finally:
            self._call = lambda: None  # what it held goes with it

    def done(self) -> bool:
        return not self.thread.is_alive()

    def result(self) -> Any:
        self.thread.join(LONG_S)
        assert self.done(), f"{self.function} never ended"
        if self._error is not None:
            raise self._error
        return self._value

    async def awaited(self) -> Any:
        await Until().true(self.done)
        return self.result()


@pytest.fixture
def in_thread() -> Iterator[Spawner]:
    spawner = Spawner()
    yield spawner
    spawner.join()


def live_objects() -> dict[str, int]:
    for _ in range(3):  # what one collection finalises may only be freed by the next
        gc.collect()
    return _core.live_objects()


@pytest.fixture
def no_leak() -> Iterator[Callable[[], None]]:
    """Call it, or end the test, with as many C++ objects alive as there were before."""
    before = live_objects()

    def check() -> None:
        assert live_objects() == before

    yield check
    check()


@pytest.fixture
def interpreter() -> Callable[..., str]:
    """Runs code in a Python of its own: it ends well, in time, and says nothing on stderr but the pattern expected."""

    def run(code: str, *options: str, stderr: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *options, "-c", code],
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
            env=child_environment(),
        )
        assert done.returncode == 0, f"{done.returncode}: {done.stdout + done.stderr}"
        assert re.fullmatch(stderr, without_slow_steps(done.stderr), re.DOTALL), done.stderr
        return done.stdout.strip()

    return run


def child_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONDEVMODE",)}


@pytest.fixture(name="child_environment")
def child_environment_fixture() -> dict[str, str]:
    return child_environment()


@contextlib.contextmanager
def recorded_warnings() -> Iterator[list[str]]:
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages += [f"{warning.category.__name__}: {warning.message}" for warning in caught]


@pytest.fixture(name="recorded_warnings")
def recorded_warnings_fixture() -> Callable[[], contextlib.AbstractContextManager[list[str]]]:
    """`with recorded_warnings() as messages`: filled when the block ends."""
    return recorded_warnings


@pytest.fixture
def start() -> Iterator[Callable[[Awaitable[Any]], asyncio.Task[Any]]]:
    """Starts tasks; those that still wait when the test ends are cancelled."""
    tasks: list[asyncio.Task[Any]] = []

    def started(awaitable: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(awaitable)
        tasks.append(task)
        return task

    yield started
    # The loop is closing already: its runner cancels what is left and awaits it.
    tasks.clear()


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """Keep full collections quick: they pass over the thousands of tests, and what pytest knows of those before."""
    gc.collect()
    gc.freeze()


# --------------------------------------------------------------------------------------------- Ray


def has_ray() -> bool:
    spec = importlib.util.find_spec("ray")
    return spec is not None and spec.origin is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark, why = (
        ("without_ray", "where Ray is installed, its own thread finds the brokers")
        if has_ray()
        else ("ray", "Ray is not installed in this environment")
    )
    skip = pytest.mark.skip(reason=why)
    for item in items:
        if item.get_closest_marker(mark) is not None:
            item.add_marker(skip)
        # The first of these that runs waits for the cluster, too.
        if item.get_closest_marker("ray") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(RAY_LIMIT_S))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """One for all tests of a process, of two nodes. This process is a driver on its head node."""
    with RayCluster(node=Path(__file__).with_name("forking_node.py")) as cluster:
        import ray  # which reads the token when it is imported

        cluster.start_head()
        cluster.start_node()
        ray.init(address=cluster.address, log_to_driver=False, namespace="klaw-tests")
        yield cluster
        ray.shutdown()


@pytest.fixture
def some_stats() -> ChannelStats:
    """Figures that can be told from each other."""
    return ChannelStats(
        sender_count=1,
        receiver_count=2,
        queue_size=3,
        capacity=64,
        senders_closed=False,
        receivers_closed=False,
        created_at=1.0,
        high_watermark=4,
        total_sent=100,
        total_received=97,
    )


@pytest.fixture(scope="module")
def pickling():
    """Pickles what is no msgpack: as Ray does, where it is installed."""
    try:
        importlib.import_module("klaw_core.runtime.channels.ray.payload")
    except ModuleNotFoundError:
        _core.set_pickler(
            lambda value: (pickle.dumps(value, protocol=5), []),
            lambda data, buffers: pickle.loads(data, buffers=buffers),
        )
