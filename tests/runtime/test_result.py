"""Ok, Err and Result: what a try_ operation returns."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

import klaw_core
from klaw_core import Err, Ok, Result, UnwrapError
from klaw_core.runtime.errors import (
    ChannelBackendError,
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
)


def parse(text: str) -> Result[int, str]:
    return Ok(int(text)) if text.isdecimal() else Err(f"not a number: {text}")


def test_the_package_exports_the_result_type_and_a_version():
    assert klaw_core.Ok is Ok
    assert klaw_core.Err is Err
    assert klaw_core.Result is Result
    assert isinstance(klaw_core.__version__, str)
    assert klaw_core.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = klaw_core.nothing_of_the_kind


def test_ok_has_a_value_and_no_error():
    assert Ok(1).value == 1
    assert Ok(None).value is None
    with pytest.raises(AttributeError, match="error"):
        _ = Ok(1).error


def test_err_has_an_error_and_no_value():
    assert Err("no").error == "no"
    with pytest.raises(AttributeError, match="value"):
        _ = Err("no").value


def test_each_says_which_one_it_is():
    assert (Ok(1).is_ok(), Ok(1).is_err()) == (True, False)
    assert (Err(1).is_ok(), Err(1).is_err()) == (False, True)


@pytest.mark.parametrize("result", [Ok(1), Err(1)], ids=repr)
def test_neither_can_be_changed(result):
    for name in ("value", "error", "other"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(result, name, 2)
        with pytest.raises(AttributeError, match="immutable"):
            delattr(result, name)
    assert not hasattr(result, "__dict__")
    assert repr(result) in ("Ok(1)", "Err(1)")


@pytest.mark.parametrize("kind", [Ok, Err])
def test_neither_can_be_subclassed(kind):
    with pytest.raises(TypeError, match="final"):
        type("Mine", (kind,), {})


def test_equal_means_the_same_kind_with_equal_contents():
    assert Ok(1) == Ok(1)
    assert Ok(1) != Ok(2)
    assert Err(1) == Err(1)
    assert Err(1) != Err(2)
    assert Ok(1) != Err(1)
    assert Err(1) != Ok(1)
    assert Ok(1) != 1
    assert Ok((1,)) != (1,)
    assert Ok(Ok(1)) == Ok(Ok(1))


def test_an_ok_of_something_unequal_to_itself_equals_itself():
    nan = Ok(math.nan)
    assert nan == nan  # noqa: PLR0124
    assert nan == Ok(math.nan)


def test_equal_ones_hash_alike_and_contents_that_cannot_be_hashed_say_so():
    assert {Ok(1), Ok(1), Err(1), Err(1)} == {Ok(1), Err(1)}
    assert hash(Ok(1)) != hash(Err(1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ok([]))


def test_repr_is_what_one_would_write():
    assert repr(Ok("a")) == "Ok('a')"
    assert repr(Err(ChannelEmpty())) == "Err(ChannelEmpty())"


def test_match_takes_them_apart():
    def told(result: Result[int, str]) -> str:
        match result:
            case Ok(value):
                return f"value {value}"
            case Err(error):
                return f"error {error}"

    assert told(parse("7")) == "value 7"
    assert told(parse("x")) == "error not a number: x"


@pytest.mark.parametrize(
    "result", [Ok([1, 2]), Ok(None), Err("no"), Err(ChannelClosed("gone"))], ids=repr
)
def test_they_survive_pickling_and_copying(result):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(result, protocol)) == result
    assert copy.copy(result) == result
    assert copy.deepcopy(result) == result


def test_a_deep_copy_does_not_share_the_contents():
    original = Ok([1])
    copied = copy.deepcopy(original)
    original.value.append(2)
    assert copied == Ok([1])


def test_unwrap_gives_the_value():
    assert Ok(1).unwrap() == 1
    assert Ok(1).unwrap_or(2) == 1
    assert Ok(1).expect("there is one") == 1


def test_unwrap_err_gives_the_error():
    assert Err("no").unwrap_err() == "no"
    with pytest.raises(UnwrapError, match=r"unwrap_err\(\) of Ok\(1\)") as caught:
        Ok(1).unwrap_err()
    assert caught.value.result == Ok(1)


def test_unwrap_or_gives_the_default_for_an_err():
    assert Err("no").unwrap_or(2) == 2
    assert Err("no").unwrap_or(None) is None


def test_unwrapping_an_error_of_ours_raises_its_exception():
    with pytest.raises(ChannelEmptyError, match=r"^Channel empty$"):
        Err(ChannelEmpty()).unwrap()
    with pytest.raises(ChannelClosedError, match=r"^gone$") as caught:
        Err(ChannelClosed("gone", kind="peer_gone")).unwrap()
    assert caught.value.kind == "peer_gone"


def test_unwrapping_a_backend_error_chains_its_cause():
    cause = OSError("no route")
    with pytest.raises(ChannelBackendErrorException) as caught:
        Err(ChannelBackendError("lost", cause=cause)).unwrap()
    assert caught.value.__cause__ is cause


def test_unwrapping_an_exception_raises_that_exception():
    error = KeyError("k")
    with pytest.raises(KeyError) as caught:
        Err(error).unwrap()
    assert caught.value is error


def test_unwrapping_any_other_error_raises_unwrap_error():
    with pytest.raises(UnwrapError, match=r"unwrap\(\) of Err\('no'\)") as caught:
        Err("no").unwrap()
    assert caught.value.result == Err("no")


def test_expect_raises_the_message_with_the_error_chained():
    with pytest.raises(UnwrapError, match=r"^the queue must have room: Channel empty$") as caught:
        Err(ChannelEmpty()).expect("the queue must have room")
    assert isinstance(caught.value.__cause__, ChannelEmptyError)
    with pytest.raises(UnwrapError, match=r"^wanted: 'no'$") as caught:
        Err("no").expect("wanted")
    assert caught.value.__cause__ is None


def test_an_unwrap_error_can_be_pickled():
    error = UnwrapError("wanted: 'no'", Err("no"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.result) == (str(error), error.result)


def test_map_changes_the_value_only():
    assert Ok(1).map(str) == Ok("1")
    error = Err("no")
    assert error.map(str) is error


def test_map_err_changes_the_error_only():
    assert Err(1).map_err(str) == Err("1")
    ok = Ok(1)
    assert ok.map_err(str) is ok


def test_and_then_goes_on_after_an_ok_only():
    assert Ok("7").and_then(parse) == Ok(7)
    assert Ok("x").and_then(parse) == Err("not a number: x")
    error = Err("no")
    assert error.and_then(parse) is error


def test_or_else_goes_on_after_an_err_only():
    assert Err("7").or_else(parse) == Ok(7)
    assert Err("x").or_else(parse) == Err("not a number: x")
    ok = Ok(1)
    assert ok.or_else(parse) is ok


def test_what_a_function_raises_is_not_caught():
    with pytest.raises(ZeroDivisionError):
        Ok(0).map(lambda value: 1 // value)
    with pytest.raises(ZeroDivisionError):
        Err(0).or_else(lambda error: Ok(1 // error))


def test_the_types_can_be_subscripted_at_run_time():
    assert Ok[int](1) == Ok(1)
    assert Err[str]("no") == Err("no")
    assert Result[int, str] == Ok[int] | Err[str]
