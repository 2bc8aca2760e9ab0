"""Mistakes with results that type checkers must find."""

from __future__ import annotations

from klaw_core import Ok, Result
from klaw_core.runtime.channels import ChannelReceiver, ChannelSender


async def a_result_taken_for_its_value(rx: ChannelReceiver[int]) -> int:
    value: int = await rx.try_recv()  # error: assignment | reportAssignmentType
    total = await rx.try_recv() + 1  # error: operator | reportOperatorIssue
    return value + total


async def an_awaitable_taken_for_a_result(tx: ChannelSender[int]) -> None:
    tx.try_send(1).unwrap()  # error: attr-defined | reportAttributeAccessIssue


def a_value_that_may_not_be_there(result: Result[int, str]) -> int:
    return result.value  # error: union-attr | reportAttributeAccessIssue


def an_error_that_may_not_be_there(result: Result[int, str]) -> str:
    return result.error  # error: union-attr | reportAttributeAccessIssue


def the_wrong_one_of_the_two(result: Result[int, str]) -> str:
    if isinstance(result, Ok):
        return result.error  # error: attr-defined | reportAttributeAccessIssue
    return result.value  # error: attr-defined | reportAttributeAccessIssue


def what_cannot_be_changed(ok: Ok[int]) -> None:
    ok.value = 2  # error: misc | reportAttributeAccessIssue


def the_wrong_contents() -> Result[int, str]:
    return Ok("one")  # error: arg-type | reportReturnType


def a_half_that_is_not_a_result() -> Result[int, str]:
    return "no"  # error: return-value | reportReturnType


class Mine(Ok[int]):  # error: misc | reportGeneralTypeIssues
    pass


def a_function_of_another_type(ok: Ok[int]) -> None:
    ok.map(str.upper)  # error: arg-type | reportArgumentType
