"""The protocols: what a sender and a receiver are, whatever carries the messages."""

from __future__ import annotations

import collections.abc
import inspect

import pytest

from klaw_core.runtime.channels import (
    ChannelReceiver,
    ChannelSender,
    Delivery,
    LocalReceiver,
    LocalSender,
    Permit,
    Receiver,
    ReferenceReceiver,
    ReferenceSender,
    Sender,
    WeakReceiver,
    WeakSender,
    blocking_channel,
    protocols,
)

# protocol -> method -> its parameters, as the tables of the contract have them.
TIMEOUT = {"timeout": None}
REASON = {"reason": None}
SHUTDOWN = {"immediate": False, "reason": None}
REQUIRED = inspect.Parameter.empty
SENDER = {
    "send": {"value": REQUIRED},
    "try_send": {"value": REQUIRED},
    "clone": {},
    "close": {},
}
RECEIVER = {
    "recv": {},
    "try_recv": {},
    "clone": {},
    "close": {},
    "__aiter__": {},
    "__anext__": {},
}
BLOCK = dict.fromkeys(("exc_type", "exc", "traceback"), REQUIRED)
LIFE = {
    "closed": {},
    "stats": {},
    "clone": {},
    "close": REASON,
    "blocking_close": TIMEOUT,
    "shutdown": SHUTDOWN,
    "blocking_shutdown": SHUTDOWN,
    "downgrade": {},
    "same_channel": {"other": REQUIRED},
    "ticket": {},
    "__aenter__": {},
    "__aexit__": BLOCK,
    "__enter__": {},
    "__exit__": BLOCK,
}
TABLE = {
    Sender: SENDER,
    Receiver: RECEIVER,
    ReferenceSender: SENDER | {"send_batch": {"values": REQUIRED}},
    ReferenceReceiver: RECEIVER | {"recv_batch": {"max_items": REQUIRED}},
    ChannelSender: LIFE
    | {
        "send": {"value": REQUIRED} | TIMEOUT,
        "try_send": {"value": REQUIRED},
        "send_batch": {"values": REQUIRED} | TIMEOUT,
        "try_send_batch": {"values": REQUIRED},
        "send_nowait": {"value": REQUIRED},
        "blocking_send": {"value": REQUIRED} | TIMEOUT,
        "blocking_send_batch": {"values": REQUIRED} | TIMEOUT,
        "reserve": TIMEOUT,
        "try_reserve": {},
        "blocking_reserve": TIMEOUT,
        "flush": {},
        "blocking_flush": TIMEOUT,
    },
    ChannelReceiver: LIFE
    | {
        "recv": TIMEOUT,
        "try_recv": {},
        "recv_batch": {"max_items": REQUIRED} | TIMEOUT,
        "try_recv_batch": {"max_items": REQUIRED},
        "__aiter__": {},
        "__anext__": {},
        "recv_nowait": {},
        "blocking_recv": TIMEOUT,
        "blocking_recv_batch": {"max_items": REQUIRED} | TIMEOUT,
        "recv_acked": TIMEOUT,
        "acked": {},
        "blocking_recv_acked": TIMEOUT,
        "__iter__": {},
        "__next__": {},
    },
    Delivery: {
        "ack": {},
        "nack": {"delay": 0.0},
        "__aenter__": {},
        "__aexit__": BLOCK,
        "__enter__": {},
        "__exit__": BLOCK,
    },
    protocols.Deliveries: {"__aiter__": {}, "__anext__": {}, "__iter__": {}, "__next__": {}},
    Permit: {"send": {"value": REQUIRED}, "release": {}},
    WeakSender: {"upgrade": {}, "blocking_upgrade": {}},
    WeakReceiver: {"upgrade": {}, "blocking_upgrade": {}},
}
PROPERTIES = {
    ChannelSender: {"is_closed", "capacity"},
    ChannelReceiver: {"is_closed", "capacity"},
    Delivery: {"value", "redelivered", "attempt"},
}
SENDERS = (Sender, ReferenceSender, ChannelSender)
RECEIVERS = (Receiver, ReferenceReceiver, ChannelReceiver)
NAMES = [protocol.__name__ for protocol in TABLE]


def members_of(protocol: type) -> dict[str, object]:
    """What a class must have to be one: the public and the special methods of its own making."""
    own = {}
    for base in reversed(protocol.__mro__[:-1]):
        if base.__module__ == protocols.__name__:
            own |= {
                name: member
                for name, member in vars(base).items()
                if callable(member) or isinstance(member, property)
            }
    machinery = {"__init__", "__subclasshook__", "__class_getitem__", "__parameters__"}
    return {name: member for name, member in own.items() if name not in machinery}


def made_with(methods: collections.abc.Iterable[str]) -> object:
    return type("Made", (), dict.fromkeys(methods, lambda self: None))()


@pytest.mark.parametrize("protocol", TABLE, ids=NAMES)
def test_a_protocol_has_the_members_of_the_contract_and_no_others(protocol):
    members = members_of(protocol)
    properties = {name for name, member in members.items() if isinstance(member, property)}
    assert properties == PROPERTIES.get(protocol, set())
    methods = {name: member for name, member in members.items() if name not in properties}
    signatures = {
        name: {
            parameter.name: parameter.default
            for parameter in list(inspect.signature(method).parameters.values())[1:]
        }
        for name, method in methods.items()
    }
    assert signatures == TABLE[protocol]


@pytest.mark.parametrize("protocol", TABLE, ids=NAMES)
def test_a_protocol_can_be_checked_at_run_time(protocol):
    members = set(TABLE[protocol]) | PROPERTIES.get(protocol, set())
    assert isinstance(made_with(members), protocol)
    for missing in members:
        assert not isinstance(made_with(members - {missing}), protocol), missing


@pytest.mark.parametrize("protocol", TABLE, ids=NAMES)
def test_a_protocol_says_its_variance(protocol):
    takes = protocol in (*SENDERS, Permit, WeakSender)
    variance = "Contravariant" if takes else "Covariant"
    assert variance in inspect.getdoc(protocol)
    (parameter,) = protocol.__parameters__
    assert parameter.__contravariant__ is takes
    assert parameter.__covariant__ is not takes


@pytest.mark.parametrize("protocol", TABLE, ids=NAMES)
def test_every_method_of_a_protocol_is_documented(protocol):
    blocks = {"__aenter__", "__aexit__", "__enter__", "__exit__"}  # the class tells of these
    for name, member in members_of(protocol).items():
        assert name in blocks or inspect.getdoc(member), name


def test_a_local_sender_is_every_kind_of_sender_and_no_receiver():
    tx, rx = blocking_channel(1)
    with tx, rx:
        assert isinstance(tx, LocalSender)
        for protocol in SENDERS:
            assert isinstance(tx, protocol)
        for protocol in RECEIVERS:
            assert not isinstance(tx, protocol)


def test_a_local_receiver_is_every_kind_of_receiver_and_no_sender():
    tx, rx = blocking_channel(1)
    with tx, rx:
        assert isinstance(rx, LocalReceiver)
        for protocol in RECEIVERS:
            assert isinstance(rx, protocol)
        for protocol in SENDERS:
            assert not isinstance(rx, protocol)


def test_closed_handles_are_still_senders_and_receivers():
    tx, rx = blocking_channel(1)
    tx.blocking_close()
    rx.blocking_close()
    assert isinstance(tx, ChannelSender)
    assert isinstance(rx, ChannelReceiver)


async def test_what_is_awaited_is_a_coroutine_to_asyncio():
    tx, rx = blocking_channel[int](4)
    await_all = [
        tx.send(1),
        tx.try_send(2),
        tx.send_batch([3]),
        tx.try_send_batch([4]),
        tx.stats(),
        rx.recv(),
        rx.try_recv(),
        rx.recv_batch(1),
        rx.try_recv_batch(1),
        rx.stats(),
    ]
    for operation in await_all:
        assert isinstance(operation, collections.abc.Coroutine)
        await operation
    await tx.close()
    await rx.close()
