"""The table of flavours and what each of them offers, and the fixtures that run every test for every flavour.

A new flavour is one entry of FLAVOURS. A test says what it needs:

    @needs("clone", "timeouts")     runs for the flavours that offer it (test_table.py checks the claims)
    @capacities(0, 1)               for these capacities only; None is unbounded

and takes what it needs as fixtures: `open_channel`, `capacity`, `flavour`. Each asynchronous test runs on asyncio's
loop and on uvloop's (see ../conftest.py). `needs` and `capacities` are marks, so nothing has to be imported from here.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from klaw_core.runtime.channels import channel

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
        "truth": ("__bool__", "__bool__"),
        "length": ("", "__len__"),
        "no_copy": ("__copy__ __deepcopy__", "__copy__ __deepcopy__"),
        # Not offered by any flavour yet:
        "permits": ("reserve try_reserve blocking_reserve", ""),
        "acknowledgements": ("", "acked recv_acked blocking_recv_acked"),
        "flush": ("flush blocking_flush", ""),
        "shutdown": ("shutdown", "shutdown"),
        "weak": ("downgrade", "downgrade"),
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
    "collected": "dropping the last reference to a handle closes it at once",
}

CAPABILITIES = frozenset(METHODS) | frozenset(BEHAVIOURS)
# Of Python, not of the contract.
OTHER_MEMBERS = frozenset({"__class_getitem__", "__del__", "__module__", "__weaklistoffset__"})


@dataclass(frozen=True)
class Flavour:
    """One kind of channel, on one backend."""

    name: str
    make: Callable[..., Awaitable[tuple[Any, Any]]]  # takes capacity=, unbounded=
    offers: frozenset[str]
    handle_names: tuple[str, str]  # as repr and the warnings have them
    capacities: tuple[int | None, ...] = (0, 1, 3, 100, None)


NOT_ON_LOCAL = frozenset({"permits", "acknowledgements", "flush", "shutdown", "weak"})

FLAVOURS = (
    Flavour(
        name="local",
        make=channel,
        offers=CAPABILITIES - NOT_ON_LOCAL,
        handle_names=("LocalSender", "LocalReceiver"),
    ),
)


# ------------------------------------------------------------------------------------------ pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what a flavour must offer")
    config.addinivalue_line("markers", "capacities(*capacities): the capacities to run with")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    definition = metafunc.definition
    needed = {name for mark in definition.iter_markers("needs") for name in mark.args}
    assert needed <= CAPABILITIES, f"unknown: {needed - CAPABILITIES}"
    if "flavour" not in metafunc.fixturenames:
        return
    flavours = [flavour for flavour in FLAVOURS if needed <= flavour.offers]
    if "capacity" not in metafunc.fixturenames:
        metafunc.parametrize("flavour", flavours, ids=[flavour.name for flavour in flavours])
        return
    mark = definition.get_closest_marker("capacities")
    pairs = [
        (flavour, capacity)
        for flavour in flavours
        for capacity in (mark.args if mark else flavour.capacities)
        if capacity in flavour.capacities
    ]
    names = [f"{flavour.name}-{'unbounded' if c is None else c}" for flavour, c in pairs]
    metafunc.parametrize(("flavour", "capacity"), pairs, ids=names)


@pytest.fixture
def table() -> Any:
    """The tables of this file, for the test of them."""

    class Table:
        methods = METHODS
        behaviours = BEHAVIOURS
        capabilities = CAPABILITIES
        other_members = OTHER_MEMBERS
        flavours = FLAVOURS

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


@pytest.fixture
def fill() -> Callable[[Any], Awaitable[int]]:
    """Fills a channel with 0, 1, 2... until it is full; an unbounded one with a few. Gives how many."""

    async def filled(tx: Any) -> int:
        count = 0
        while (tx.capacity is not None or count < 5) and (await tx.try_send(count)).is_ok():
            count += 1
        return count

    return filled
