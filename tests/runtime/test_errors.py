"""Every error is a pair: a value for Err(...), and an exception."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import get_args

import pytest

from klaw_core.runtime import errors
from klaw_core.runtime.channels import errors as channel_errors
from klaw_core.runtime.errors import (
    AlreadySent,
    AlreadySentError,
    ChannelBackendError,
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelError,
    ChannelFull,
    ChannelFullError,
    ClosedKind,
    Lagged,
    LaggedError,
    NoReceivers,
    NoReceiversError,
    PayloadLost,
    PayloadLostError,
    RecvTimeoutError,
    SendTimeoutError,
)

BACKEND_FIELDS = ("lost", "ray", "channel_x", "klaw")

# value, exception, message: the table of the contract.
PAIRS = [
    (ChannelClosed(), ChannelClosedError(), "Channel closed"),
    (ChannelClosed("done"), ChannelClosedError("done"), "done"),
    (
        ChannelClosed("bye", kind="shutdown"),
        ChannelClosedError("bye", kind="shutdown"),
        "bye",
    ),
    (ChannelFull(8), ChannelFullError(8), "Channel full (capacity=8)"),
    (ChannelFull(0), ChannelFullError(0), "Channel full (capacity=0)"),
    (ChannelEmpty(), ChannelEmptyError(), "Channel empty"),
    (Lagged(5), LaggedError(5), "receiver fell behind: 5 messages skipped"),
    (Lagged(1), LaggedError(1), "receiver fell behind: 1 message skipped"),
    (AlreadySent(), AlreadySentError(), "a value was already sent"),
    (NoReceivers(), NoReceiversError(), "select() without receivers"),
    (
        PayloadLost("0a1b", "its owner died"),
        PayloadLostError("0a1b", "its owner died"),
        "the payload 0a1b of a message is lost: its owner died",
    ),
    (
        ChannelBackendError(*BACKEND_FIELDS),
        ChannelBackendErrorException(*BACKEND_FIELDS),
        "[ray] actor='channel_x' ns='klaw' lost",
    ),
    (ChannelBackendError("lost"), ChannelBackendErrorException("lost"), "[ray] lost"),
]
TIMEOUTS = [
    (
        SendTimeoutError(8, 0.5),
        ChannelFull(8),
        "send timed out after 0.5 s: Channel full (capacity=8)",
    ),
    (RecvTimeoutError(2), ChannelEmpty(), "receive timed out after 2 s: Channel empty"),
]
VALUES = [value for value, _, _ in PAIRS]
EXCEPTIONS = [exception for _, exception, _ in PAIRS] + [each for each, _, _ in TIMEOUTS]


def fields_of(exception: ChannelError) -> dict[str, object]:
    return {"type": type(exception), "args": exception.args, **vars(exception)}


@pytest.mark.parametrize(("value", "exception", "message"), PAIRS, ids=repr)
def test_a_value_and_its_exception_lead_to_each_other_and_share_a_message(
    value, exception, message
):
    assert fields_of(value.to_exception()) == fields_of(exception)
    assert exception.to_struct() == value
    assert type(exception.to_struct()) is type(value)
    assert value.to_exception().to_struct() == value
    assert str(value) == message
    assert str(exception) == message


@pytest.mark.parametrize(("exception", "value", "message"), TIMEOUTS, ids=repr)
def test_a_timeout_maps_to_the_plain_value(exception, value, message):
    assert exception.to_struct() == value
    assert str(exception) == message


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_frozen_without_a_dictionary_and_hashable(value):
    for field in dataclasses.fields(value):
        with pytest.raises(AttributeError):
            setattr(value, field.name, "other")
    with pytest.raises((AttributeError, TypeError)):
        value.something_new = 1
    assert not hasattr(value, "__dict__")
    assert len({value, copy.copy(value)}) == 1


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_survive_pickling_and_copying_with_their_kind(value):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(value, protocol))
        assert again == value
        assert getattr(again, "kind", None) == getattr(value, "kind", None)
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=repr)
def test_exceptions_survive_pickling_and_copying_with_all_their_fields(exception):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(exception, protocol))
        assert fields_of(again) == fields_of(exception)
        assert str(again) == str(exception)
    assert fields_of(copy.copy(exception)) == fields_of(exception)


def test_the_index_that_select_sets_and_notes_are_pickled_too():
    exception = ChannelClosedError("gone", kind="peer_died")
    exception.index = 2
    exception.add_note("while draining")
    again = pickle.loads(pickle.dumps(exception))
    assert (again.index, again.kind, again.reason) == (2, "peer_died", "gone")
    assert again.__notes__ == ["while draining"]


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=repr)
def test_every_exception_is_a_channel_error(exception):
    assert isinstance(exception, ChannelError)


def test_the_base_has_no_value_of_its_own():
    with pytest.raises(NotImplementedError, match="ChannelError has no value"):
        ChannelError("bare").to_struct()


def test_values_of_different_kinds_are_never_equal():
    for one in VALUES:
        for other in VALUES:
            if type(one) is not type(other):
                assert one != other


def test_the_kind_is_not_compared_nor_hashed():
    for kind in get_args(ClosedKind):
        assert ChannelClosed("x", kind=kind) == ChannelClosed("x")
        assert hash(ChannelClosed("x", kind=kind)) == hash(ChannelClosed("x"))
    assert ChannelClosed("x") != ChannelClosed("y")
    assert ChannelClosed("x") != ChannelClosed()


def test_the_kinds_are_those_of_the_contract():
    assert get_args(ClosedKind) == (
        "ended",
        "handle_closed",
        "peer_gone",
        "peer_died",
        "shutdown",
        "deleted",
        "backend",
    )


def test_the_kind_is_a_keyword_and_ended_unless_told():
    assert ChannelClosed().kind == "ended"
    assert ChannelClosedError().kind == "ended"
    with pytest.raises(TypeError):
        ChannelClosed("x", "shutdown")
    with pytest.raises(TypeError):
        ChannelClosedError("x", "shutdown")


def test_a_closed_error_has_no_index_until_select_sets_one():
    assert ChannelClosedError().index is None


def test_match_takes_values_apart():
    def told(value: object) -> str:
        match value:
            case ChannelBackendError(message):
                return f"backend: {message}"
            case ChannelClosed(None):
                return "closed"
            case ChannelClosed(reason):
                return f"closed: {reason}"
            case ChannelFull(capacity):
                return f"full at {capacity}"
            case Lagged(skipped):
                return f"lagged by {skipped}"
            case _:
                return "other"

    assert told(ChannelClosed()) == "closed"
    assert told(ChannelClosed("x")) == "closed: x"
    assert told(ChannelFull(3)) == "full at 3"
    assert told(Lagged(2)) == "lagged by 2"
    assert told(ChannelBackendError("lost")) == "backend: lost"


def test_timeouts_are_caught_as_what_they_are():
    for expected in (SendTimeoutError, ChannelFullError, TimeoutError, ChannelError):
        with pytest.raises(expected):
            raise SendTimeoutError(8, 0.5)
    for expected in (RecvTimeoutError, ChannelEmptyError, TimeoutError, ChannelError):
        with pytest.raises(expected):
            raise RecvTimeoutError(0.5)


def test_a_timeout_is_not_a_closed_channel_and_has_no_errno():
    send, receive = SendTimeoutError(11, 0.25), RecvTimeoutError(0.25)
    assert (send.capacity, send.timeout) == (11, 0.25)
    assert receive.timeout == 0.25
    for timeout in (send, receive):
        assert not isinstance(timeout, ChannelClosedError)
        assert timeout.errno is None


def test_a_backend_error_is_a_closed_channel_of_kind_backend():
    value = ChannelBackendError(*BACKEND_FIELDS)
    exception = ChannelBackendErrorException(*BACKEND_FIELDS)
    for each in (value, exception):
        assert (each.message, each.backend, each.actor_name, each.namespace) == BACKEND_FIELDS
        assert (each.reason, each.kind) == ("lost", "backend")
    assert isinstance(value, ChannelClosed)
    with pytest.raises(ChannelClosedError):
        raise exception
    assert value != ChannelClosed("lost", kind="backend")


def test_a_backend_error_chains_its_cause_which_is_neither_compared_nor_pickled():
    cause = OSError("no route")
    value = ChannelBackendError("lost", cause=cause)
    exception = value.to_exception()
    assert exception.__cause__ is cause
    assert exception.to_struct().cause is cause
    assert value == ChannelBackendError("lost")
    assert hash(value) == hash(ChannelBackendError("lost"))
    assert pickle.loads(pickle.dumps(value)).cause is None
    assert ChannelBackendError("lost").to_exception().__cause__ is None


def test_a_backend_error_says_only_what_it_knows():
    assert str(ChannelBackendError("lost", namespace="klaw")) == "[ray] ns='klaw' lost"
    assert str(ChannelBackendError("lost", "other", "a")) == "[other] actor='a' lost"


def test_the_channels_errors_module_re_exports_the_same_objects():
    assert channel_errors.__all__ == errors.__all__
    for name in errors.__all__:
        assert getattr(channel_errors, name) is getattr(errors, name)
