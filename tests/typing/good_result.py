"""What type checkers must accept and infer: results."""

# ruff: noqa: T201  only type checkers read this; nobody runs it
from __future__ import annotations

from typing import assert_type

from klaw_core import Err, Ok, Result
from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    ChannelReceiver,
    ChannelSender,
)
from klaw_core.runtime.errors import ChannelErrorValue


def parse(text: str) -> Result[int, str]:
    return Ok(int(text)) if text.isdecimal() else Err("not a number")


def match_narrows(result: Result[int, str]) -> str:
    match result:
        case Ok(value):
            assert_type(value, int)
            return str(value)
        case Err(error):
            assert_type(error, str)
            return error


async def match_tells_the_errors_apart(rx: ChannelReceiver[int]) -> int:
    match await rx.try_recv():
        case Ok(value):
            return value
        case Err(ChannelEmpty()):
            return 0
        case Err(ChannelClosed(reason)):
            assert_type(reason, str | None)
            return -1
        case Err():  # no checker sees through Err that the two above are all there are
            return -2


def isinstance_narrows(result: Result[int, str]) -> int:
    if isinstance(result, Err):
        assert_type(result.error, str)
        return 0
    assert_type(result.value, int)
    return result.value


def unwrapping_gives_the_value(result: Result[int, str]) -> None:
    assert_type(result.unwrap(), int)
    assert_type(result.expect("a number"), int)
    assert_type(result.unwrap_or(0), int)
    assert_type(result.unwrap_err(), str)
    print("still reachable")


def chains(result: Result[int, str]) -> Result[str, int]:
    assert_type(result.map(float), Ok[float] | Err[str])
    assert_type(result.map(str).and_then(parse), Ok[int] | Err[str])
    return result.map(str).map_err(len)


def results_are_covariant(result: Result[bool, ChannelFull]) -> Result[int, ChannelErrorValue]:
    return result


async def unwrapping_a_try(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> int:
    (await tx.try_send(1)).unwrap()
    return (await rx.try_recv()).unwrap()
