"""The table of flavours and what each of them offers, and the fixtures that run every test for every flavour.

A new flavour is one entry of FLAVOURS. A test says what it needs:

    @needs("clone", "timeouts")     runs for the flavours that offer it (test_table.py checks the claims)
    @capacities(0, 1)               for these capacities only; None is unbounded

and takes what it needs as fixtures: `open_channel`, `capacity`, `flavour`. Each asynchronous test runs on asyncio's
loop and on uvloop's (see ../conftest.py). `needs` and `capacities` are marks, so nothing has to be imported from here.

What is no queue has a table of its own, OTHER_FLAVOURS. A test with the fixture `open_any` runs for all of them and for
local channels.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import pickle
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import HEAD_IP, SECOND_IP

from klaw_core import _core
from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelStats,
    Err,
    Ok,
    broadcast,
    channel,
    oneshot,
    watch,
)
from klaw_core.runtime.channels.settings import ChannelSettings

HERE = Path(__file__).parent
LONG_S = 30.0  # as in ../conftest.py
RAY_ON_UVLOOP = 8  # one test of so many

# capability -> what of a sender and of a receiver stands for it. Those without methods are ways to behave.
METHODS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(sender.split()), frozenset(receiver.split()))
    for name, (sender, receiver) in {
        "waiting": ("send", "recv"),
        "trying": ("try_send", "try_recv"),
        "nowait": ("send_nowait", "recv_nowait"),
        "blocking": ("blocking_send", "blocking_recv"),
        "batches": ("send_batch try_send_batch", "recv_batch try_recv_batch"),
        "blocking_batches": ("blocking_send_batch", "blocking_recv_batch"),
        "iteration": ("", "__aiter__ __anext__"),
        "blocking_iteration": ("", "__iter__ __next__"),
        "clone": ("clone", "clone"),
        "close": ("close is_closed", "close is_closed"),
        "blocking_close": ("blocking_close", "blocking_close"),
        "watching": ("closed", "closed"),
        "blocks": (
            "__aenter__ __aexit__ __enter__ __exit__",
            "__aenter__ __aexit__ __enter__ __exit__",
        ),
        "stats": ("stats", "stats"),
        "identity": ("capacity same_channel", "capacity same_channel"),
        "tickets": ("ticket", "ticket"),
        "truth": ("__bool__", "__bool__"),
        "length": ("", "__len__"),
        "identified": ("", "reader_id node_id"),
        "no_copy": ("__copy__ __deepcopy__", "__copy__ __deepcopy__"),
        "permits": ("reserve try_reserve blocking_reserve", ""),
        "flush": ("flush blocking_flush", ""),
        "shutdown": ("shutdown blocking_shutdown", "shutdown blocking_shutdown"),
        "weak": ("downgrade", "downgrade"),
        "acknowledgements": ("", "acked recv_acked blocking_recv_acked"),
    }.items()
}

# What a flavour does, told by no method of its own.
BEHAVIOURS = {
    "timeouts": "the waiting operations take a timeout",
    "rendezvous": "capacity 0",
    "unbounded": "no capacity",
    "select": "select() takes its receivers",
    "by_reference": "what is received is the very object that was sent",
    "no_pickle": "handles refuse to be pickled",
    "arrival_order": "those who wait are served in the order in which they came",
    "threads": "a handle may be used by several threads at once",
    "collected": "dropping the last reference to a handle closes it",
    "at_once": "what an operation does is there for all when it returns, and plain calls do the same as awaited ones",
    "outlives_its_handles": "closed on both sides it still has stats",
    "prompt": "what is ready is done within a moment: nothing has to be put or fetched for it first",
    "broker": "the channel is elsewhere: what its handles do, it hears of soon; what its end is, they ask it",
}

CAPABILITIES = frozenset(METHODS) | frozenset(BEHAVIOURS)
# Of Python, not of the contract.
OTHER_MEMBERS = frozenset(
    {
        "__annotations__",
        "__class_getitem__",
        "__del__",
        "__firstlineno__",  # since Python 3.13, as __static_attributes__
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__slots__",
        "__static_attributes__",
        "__weakref__",
        "__weaklistoffset__",
    }
)


@dataclass(frozen=True)
class Flavour:
    """One kind of channel, on one backend."""

    name: str
    make: Callable[..., Awaitable[tuple[Any, Any]]]  # takes capacity=, unbounded=
    offers: frozenset[str]
    handle_names: tuple[str, str]  # as repr and the warnings have them
    capacities: tuple[int | None, ...] = (0, 1, 3, 100, None)
    # The stats of a handle's channel, by a plain call.
    peek: Callable[[Any], ChannelStats] | None = None
    marks: tuple[pytest.MarkDecorator, ...] = ()


LOCAL_ONLY = frozenset({"at_once", "by_reference", "length", "no_pickle"})
RAY_ONLY = frozenset({"identified"})


# --- remote channels without Ray: the broker is in this process, and reached over a socket all the same ---


class _Brokers:
    """Answers where the brokers of this process are, as Ray's part of klaw does elsewhere."""

    def __init__(self) -> None:
        _core.set_pickler(_dumps, _loads)
        self.endpoints: dict[str, tuple[bytes, bytes, str, list[str]]] = {}
        threading.Thread(target=self._answer, name="lookups", daemon=True).start()

    def _answer(self) -> None:
        while True:
            lookup, key = _core.next_lookup(-1)
            _core.answer_lookup(lookup, *self.endpoints[key])

    @classmethod
    @functools.cache
    def of_this_process(cls) -> _Brokers:
        return cls()


def _dumps(value: object) -> tuple[bytes, list[Any]]:
    return pickle.dumps(value, protocol=5), []


def _loads(data: memoryview, buffers: list[memoryview]) -> object:
    return pickle.loads(data, buffers=buffers)


def peek_at_broker(handle: Any) -> ChannelStats:
    stats: ChannelStats = handle._channel.owner.stats()
    return stats


class AskingItsBroker:
    """What handles of all kinds have here, whose broker is in this process."""

    __slots__ = ()

    async def stats(self) -> ChannelStats:
        return peek_at_broker(self)


class RemoteTestSender(AskingItsBroker, _core.RemoteSender[Any]):
    __slots__ = ()


class RemoteTestReceiver(AskingItsBroker, _core.RemoteReceiver[Any]):
    __slots__ = ()


class RemoteTestOneshotSender(AskingItsBroker, _core.RemoteOneshotSender[Any]):
    __slots__ = ()


class RemoteTestOneshotReceiver(AskingItsBroker, _core.RemoteOneshotReceiver[Any]):
    __slots__ = ()


class RemoteTestBroadcastSender(AskingItsBroker, _core.RemoteBroadcastSender[Any]):
    __slots__ = ()

    def subscribe(self) -> RemoteTestBroadcastReceiver:
        return self._subscribe(RemoteTestBroadcastReceiver)


class RemoteTestBroadcastReceiver(AskingItsBroker, _core.RemoteBroadcastReceiver[Any]):
    __slots__ = ()


class RemoteTestWatchSender(AskingItsBroker, _core.RemoteWatchSender[Any]):
    __slots__ = ()

    def subscribe(self) -> RemoteTestWatchReceiver:
        return self._subscribe(RemoteTestWatchReceiver)


class RemoteTestWatchReceiver(AskingItsBroker, _core.RemoteWatchReceiver[Any]):
    __slots__ = ()


REMOTE_HANDLES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "mpmc": (RemoteTestSender, RemoteTestReceiver),
    "oneshot": (RemoteTestOneshotSender, RemoteTestOneshotReceiver),
    "broadcast": (RemoteTestBroadcastSender, RemoteTestBroadcastReceiver),
    "watch": (RemoteTestWatchSender, RemoteTestWatchReceiver),
}


async def make_remote(
    *,
    capacity: int | None = None,
    unbounded: bool = False,
    by_tcp: bool = False,
    kind: str = "mpmc",
    initial: object = None,
) -> tuple[Any, Any]:
    folder = tempfile.mkdtemp(prefix="klaw-")
    identity, secret = os.urandom(16), os.urandom(32)
    path = "" if by_tcp else f"{folder}/socket"
    room = None if unbounded else capacity
    server = _core.BrokerServer(
        ChannelSettings(kind=kind, capacity=room, orphan_grace=0.0),
        initial=_core.encode(initial),
        epoch=1,
        created_at=time.time(),
        channel=identity,
        secret=secret,
        unix_path=path,
        hosts=["127.0.0.1"] if by_tcp else [],
        port_min=0,
        port_max=0,
    )
    key = identity.hex()
    _Brokers.of_this_process().endpoints[key] = (identity, secret, path, server.addresses)
    link = _core.RemoteChannel(key, room, None, None, node="", prefetch=0, kind=kind)
    link.owner = server
    weakref.finalize(link, shutil.rmtree, folder, ignore_errors=True)
    sender, receiver = REMOTE_HANDLES[kind]
    handles = sender(link), receiver(link)
    for handle in handles:
        handle._open()
        await asyncio.to_thread(handle._wait_until_opened, LONG_S)
    return handles


# --- on a Ray cluster ---

_turns = itertools.count()
NODES = (HEAD_IP, SECOND_IP)  # without those that other tests start, to lose them


async def make_on_ray(
    *, capacity: int | None = None, unbounded: bool = False, reference: bool = False
) -> tuple[Any, Any]:
    """On the nodes in turn: on this process's own it is reached over a unix socket, on the other one over TCP."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = sorted(node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] in NODES)
    place = NodeAffinitySchedulingStrategy(nodes[next(_turns) % len(nodes)], soft=False)
    return await channel(
        capacity or 0,
        unbounded=unbounded,
        backend="ray",
        reference=reference,
        actor_options={"scheduling_strategy": place},
    )


def peek_at_actor(handle: Any) -> ChannelStats:
    import ray

    stats: ChannelStats = ray.get(handle._channel.owner.actor.get_stats.remote(), timeout=LONG_S)
    return stats


FLAVOURS = (
    Flavour(
        name="local",
        make=channel,
        offers=CAPABILITIES - {"broker"} - RAY_ONLY,
        handle_names=("LocalSender", "LocalReceiver"),
        marks=(pytest.mark.local_conformance,),
    ),
    Flavour(
        name="unix_socket",
        make=make_remote,
        offers=CAPABILITIES - LOCAL_ONLY - RAY_ONLY,
        handle_names=("RemoteTestSender", "RemoteTestReceiver"),
        peek=peek_at_broker,
        marks=(pytest.mark.without_ray,),
    ),
    Flavour(
        name="tcp",
        make=functools.partial(make_remote, by_tcp=True),
        offers=CAPABILITIES - LOCAL_ONLY - RAY_ONLY,
        handle_names=("RemoteTestSender", "RemoteTestReceiver"),
        capacities=(3,),
        peek=peek_at_broker,
        marks=(pytest.mark.without_ray,),
    ),
    Flavour(
        name="ray",
        make=make_on_ray,
        offers=CAPABILITIES - LOCAL_ONLY - {"outlives_its_handles"},  # an actor without them ends
        handle_names=("RaySender", "RayReceiver"),
        capacities=(0, 3, None),
        peek=peek_at_actor,
        marks=(pytest.mark.ray,),
    ),
    Flavour(
        name="reference",
        make=functools.partial(make_on_ray, reference=True),
        offers=CAPABILITIES - LOCAL_ONLY - {"outlives_its_handles", "prompt"},
        handle_names=("RayReferenceSender", "RayReferenceReceiver"),
        capacities=(3,),
        peek=peek_at_actor,
        marks=(pytest.mark.ray,),
    ),
)


# --- what is no queue ---


async def _receive(rx: Any) -> Any:
    return await rx.recv()


async def _receive_change(rx: Any) -> Any:
    await rx.changed()
    return rx.borrow()


@dataclass(frozen=True)
class OtherFlavour:
    """What its handles have beside what all handles of one process have."""

    name: str
    make: Callable[[], Awaitable[tuple[Any, Any]]]
    sender: frozenset[str]
    receiver: frozenset[str]
    handle_names: tuple[str, str]
    receive: Callable[[Any], Any] = _receive
    is_once: bool = False  # a sender has done its part when it has sent
    is_remote: bool = (
        False  # the channel is elsewhere: nothing is there at once, and handles may be passed on
    )
    marks: tuple[pytest.MarkDecorator, ...] = ()


COMMON_CAPABILITIES = (
    "close", "blocking_close", "watching", "blocks", "stats", "identity", "tickets", "truth", "no_copy",
)  # fmt: skip
SENDS = "send try_send send_nowait blocking_send clone"
RECEIVES = "recv try_recv recv_nowait blocking_recv clone"
ITERATES = "__aiter__ __anext__ __iter__ __next__"

ONESHOT = OtherFlavour(
    name="oneshot",
    make=oneshot,
    sender=frozenset(SENDS.split()),
    receiver=frozenset(f"{RECEIVES} {ITERATES}".split()),
    handle_names=("OneshotSender", "OneshotReceiver"),
    is_once=True,
    marks=(pytest.mark.local_conformance,),
)

BROADCAST = OtherFlavour(
    name="broadcast",
    make=broadcast,
    sender=frozenset(f"{SENDS} subscribe".split()),
    receiver=frozenset(f"{RECEIVES} {ITERATES} resubscribe".split()),
    handle_names=("BroadcastSender", "BroadcastReceiver"),
    marks=(pytest.mark.local_conformance,),
)

WATCH = OtherFlavour(
    name="watch",
    make=functools.partial(watch, "initial"),
    sender=frozenset(f"{SENDS} borrow subscribe".split()),
    receiver=frozenset(
        (
            "borrow borrow_and_update has_changed changed try_changed blocking_changed"
            f" wait_for blocking_wait_for resubscribe {ITERATES}"
        ).split()
    ),
    handle_names=("WatchSender", "WatchReceiver"),
    receive=_receive_change,
    marks=(pytest.mark.local_conformance,),
)

OTHER_FLAVOURS = (
    ONESHOT,
    replace(
        ONESHOT,
        name="unix_socket_oneshot",
        make=functools.partial(make_remote, capacity=1, kind="oneshot"),
        handle_names=("RemoteTestOneshotSender", "RemoteTestOneshotReceiver"),
        is_remote=True,
        marks=(pytest.mark.without_ray,),
    ),
    replace(
        ONESHOT,
        name="ray_oneshot",
        make=functools.partial(oneshot, backend="ray"),
        handle_names=("RayOneshotSender", "RayOneshotReceiver"),
        is_remote=True,
        marks=(pytest.mark.ray,),
    ),
    BROADCAST,
    replace(
        BROADCAST,
        name="unix_socket_broadcast",
        make=functools.partial(make_remote, capacity=16, kind="broadcast"),
        handle_names=("RemoteTestBroadcastSender", "RemoteTestBroadcastReceiver"),
        is_remote=True,
        marks=(pytest.mark.without_ray,),
    ),
    replace(
        BROADCAST,
        name="ray_broadcast",
        make=functools.partial(broadcast, backend="ray"),
        receiver=BROADCAST.receiver | {"reader_id", "node_id"},
        handle_names=("RayBroadcastSender", "RayBroadcastReceiver"),
        is_remote=True,
        marks=(pytest.mark.ray,),
    ),
    replace(
        BROADCAST,
        name="ray_broadcast_that_waits",
        make=functools.partial(broadcast, 1, overflow="wait", backend="ray"),
        receiver=BROADCAST.receiver | {"reader_id", "node_id"},
        handle_names=("RayBroadcastSender", "RayBroadcastReceiver"),
        is_remote=True,
        marks=(pytest.mark.ray,),
    ),
    replace(
        BROADCAST,
        name="broadcast_that_waits",
        make=functools.partial(broadcast, 1, overflow="wait"),
    ),
    WATCH,
    replace(
        WATCH,
        name="unix_socket_watch",
        make=functools.partial(make_remote, capacity=1, kind="watch", initial="initial"),
        handle_names=("RemoteTestWatchSender", "RemoteTestWatchReceiver"),
        is_remote=True,
        marks=(pytest.mark.without_ray,),
    ),
    replace(
        WATCH,
        name="ray_watch",
        make=functools.partial(watch, "initial", backend="ray"),
        handle_names=("RayWatchSender", "RayWatchReceiver"),
        is_remote=True,
        marks=(pytest.mark.ray,),
    ),
)
# A channel among them, by the least that it has in common with them.
AMONG_OTHERS = OtherFlavour(
    name="channel",
    make=functools.partial(channel, 8),
    sender=frozenset(),
    receiver=frozenset(),
    handle_names=("LocalSender", "LocalReceiver"),
    marks=(pytest.mark.local_conformance,),
)


# Which of them a test with this fixture runs for.
SOME_OTHERS: Mapping[str, Callable[[OtherFlavour], bool]] = {
    "open_watch": lambda flavour: "wait_for" in flavour.receiver,
    "open_elsewhere": lambda flavour: flavour.is_remote,
}


# ------------------------------------------------------------------------------------------ pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what a flavour must offer")
    config.addinivalue_line("markers", "capacities(*capacities): the capacities to run with")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    definition = metafunc.definition
    needed = {name for mark in definition.iter_markers("needs") for name in mark.args}
    assert needed <= CAPABILITIES, f"unknown: {needed - CAPABILITIES}"
    if "other_flavour" in metafunc.fixturenames:
        others = (
            (*OTHER_FLAVOURS, AMONG_OTHERS)
            if "open_any" in metafunc.fixturenames
            else OTHER_FLAVOURS
        )
        for fixture, fits in SOME_OTHERS.items():
            if fixture in metafunc.fixturenames:
                others = tuple(f for f in others if fits(f))
        metafunc.parametrize(
            "other_flavour", [pytest.param(f, id=f.name, marks=f.marks) for f in others]
        )
    if "flavour" not in metafunc.fixturenames:
        return
    flavours = [flavour for flavour in FLAVOURS if needed <= flavour.offers]
    if "capacity" not in metafunc.fixturenames:
        each = [pytest.param(f, id=f.name, marks=f.marks) for f in flavours]
        metafunc.parametrize("flavour", each)
        return
    mark = definition.get_closest_marker("capacities")
    pairs = [
        pytest.param(f, c, id=f"{f.name}-{'unbounded' if c is None else c}", marks=f.marks)
        for f in flavours
        for c in (mark.args if mark else f.capacities)
        if c in f.capacities
    ]
    metafunc.parametrize(("flavour", "capacity"), pairs)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On Ray each channel is an actor: there a test runs once for each flavour, with parameters that take turns.

    With all of them it runs for the socket flavours, which are the same code but for the actor.
    """
    on_ray: dict[tuple[str, str], list[pytest.Function]] = {}  # by test and flavour
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.parent != HERE:
            continue
        if item.get_closest_marker("ray") is not None:
            chosen = item.callspec.params.get("flavour") or item.callspec.params["other_flavour"]
            on_ray.setdefault((item.nodeid.partition("[")[0], chosen.name), []).append(item)
    kept: set[pytest.Item] = set()
    for n, ((test, _), variants) in enumerate(on_ray.items()):
        # Mostly on asyncio's loop; a test without a loop has one variant of each.
        loop = "uvloop" if n % RAY_ON_UVLOOP == 0 else "asyncio"
        on_loop = [v for v in variants if v.nodeid.startswith(f"{test}[{loop}-")] or variants
        kept.add(on_loop[n % len(on_loop)])
    dropped = {v for variants in on_ray.values() for v in variants} - kept
    items[:] = [item for item in items if item not in dropped]


@pytest.fixture(autouse=True)
def cluster(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray") is not None:
        request.getfixturevalue("ray_cluster")


@pytest.fixture
def table() -> Any:
    """The tables of this file, for the test of them."""

    class Table:
        methods = METHODS
        behaviours = BEHAVIOURS
        capabilities = CAPABILITIES
        other_members = OTHER_MEMBERS
        flavours = FLAVOURS
        common_capabilities = COMMON_CAPABILITIES

    return Table


class Handles:
    """Makes channels of one flavour, and closes those that are still there when the test ends."""

    def __init__(self, flavour: Flavour) -> None:
        self._flavour = flavour
        self._made: list[weakref.ref[Any]] = []

    async def __call__(self, capacity: int | None = 8) -> tuple[Any, Any]:
        settings = {"unbounded": True} if capacity is None else {"capacity": capacity}
        tx, rx = await self._flavour.make(**settings)
        self._made += [weakref.ref(tx), weakref.ref(rx)]
        return tx, rx

    async def close(self) -> None:
        for made in self._made:
            if (handle := made()) is not None:
                await handle.close()


@pytest.fixture
async def open_channel(flavour: Flavour) -> AsyncIterator[Handles]:
    handles = Handles(flavour)
    yield handles
    await handles.close()


class AnyHandles:
    """Makes channels of a flavour that may be no queue, and closes those that are still there when the test ends."""

    def __init__(self, flavour: OtherFlavour) -> None:
        self.flavour = flavour
        self._made: list[weakref.ref[Any]] = []

    async def __call__(self) -> tuple[Any, Any]:
        tx, rx = await self.flavour.make()
        self._made += [weakref.ref(tx), weakref.ref(rx)]
        return tx, rx

    async def receive_one(self, rx: Any) -> Any:
        return await self.flavour.receive(rx)

    def send_meanwhile(self, tx: Any, value: object) -> None:
        """Sends while the event loop stands still: who waits for it is woken, and has not run yet."""
        if not self.flavour.is_remote:
            tx.send_nowait(value)
            return
        sending = threading.Thread(target=tx.blocking_send, args=(value,))
        sending.start()
        sending.join(LONG_S)
        time.sleep(0.01)  # it has left the broker; mostly it arrives now

    def close(self) -> None:
        for made in self._made:
            if (handle := made()) is not None:
                handle.close()


@pytest.fixture
def open_any(other_flavour: OtherFlavour) -> Iterator[AnyHandles]:
    handles = AnyHandles(other_flavour)
    yield handles
    handles.close()


@pytest.fixture
def open_watch(open_any: AnyHandles) -> AnyHandles:
    """`open_any`, of watches only."""
    return open_any


@pytest.fixture
def open_elsewhere(open_any: AnyHandles) -> AnyHandles:
    """`open_any`, of channels in another process only."""
    return open_any


class Soon:
    """What holds at once in one process, and soon where a broker has to hear of it first."""

    def __init__(self, flavour: Flavour, until: Any) -> None:
        self._at_once = "at_once" in flavour.offers
        self._until = until

    async def true(self, condition: Callable[[], bool]) -> None:
        if self._at_once:
            assert condition()
        await self._until.true(condition)

    async def stats(self, handle: Any, **expected: object) -> None:
        while True:
            stats = await handle.stats()
            found = {name: getattr(stats, name) for name in expected}
            if self._at_once:
                assert found == expected
            if found == expected:
                return
            await asyncio.sleep(0)

    async def receivers_wait(self, handle: Any, count: int, *, handles: int) -> None:
        await self.stats(handle, waiting_receivers=count if self._at_once else handles)

    async def stored(self, rx: Any, count: int) -> None:
        if self._at_once:
            assert len(rx) == count
        await self.stats(rx, queue_size=count)

    async def ended(self, rx: Any) -> None:
        """A receiver of a remote channel knows it once it was told: by a receive."""
        if not self._at_once:
            result = await rx.try_recv()
            assert isinstance(result, Err)
            assert isinstance(result.error, ChannelClosed)
        assert rx.is_closed


@pytest.fixture
def soon(flavour: Flavour, until: Any) -> Soon:
    return Soon(flavour, until)


@pytest.fixture
def wake(flavour: Flavour, in_thread: Any, drive: Any) -> Callable[..., None]:
    """Sends values while the event loop stands still: who waits for them is woken, and has not run yet."""

    def woken(tx: Any, *values: object, as_batch: bool = False) -> None:
        if "at_once" in flavour.offers:
            if as_batch:
                assert drive(tx.try_send_batch(values)) == Ok(None)
            else:
                assert [drive(tx.try_send(value)) for value in values] == [Ok(None)] * len(values)
            return
        sender = tx.clone()

        def send() -> (
            None
        ):  # ends once they are stored, or taken: on a rendezvous when the test goes on
            with sender:
                if as_batch:
                    sender.blocking_send_batch(values)
                else:
                    for value in values:
                        sender.blocking_send(value)

        in_thread(send)
        while flavour.peek(tx).in_flight == 0:
            time.sleep(0.0005)
        time.sleep(0.002)  # it has left the broker; mostly it arrives now

    return woken


@pytest.fixture
def fill() -> Callable[[Any], Awaitable[int]]:
    """Fills a channel with 0, 1, 2... until it is full; an unbounded one with a few. Gives how many."""

    async def filled(tx: Any) -> int:
        count = 0
        while (tx.capacity is not None or count < 5) and (await tx.try_send(count)).is_ok():
            count += 1
        return count

    return filled
