"""Mistakes with select that type checkers must find."""

# ruff: noqa: T201  only type checkers read this; nobody runs it
from __future__ import annotations

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, blocking_select, select


async def the_branches_confused(numbers: ChannelReceiver[int], names: ChannelReceiver[str]) -> None:
    match await select(numbers, names):
        case (0, number):
            number.upper()  # error: attr-defined | reportAttributeAccessIssue
        case (1, name):
            print(name + 1)  # error: operator | reportOperatorIssue


async def a_branch_forgotten(numbers: ChannelReceiver[int], names: ChannelReceiver[str]) -> int:
    _, value = await select(numbers, names)
    return value  # error: return-value | reportReturnType


async def a_forgotten_await(numbers: ChannelReceiver[int]) -> None:
    index, value = select(numbers)  # error: misc | reportGeneralTypeIssues
    print(index, value)


async def a_sender_among_the_receivers(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    await select(rx, tx)  # error: call-overload | reportCallIssue, reportArgumentType


async def an_operation_instead_of_a_receiver(rx: ChannelReceiver[int]) -> None:
    await select(rx.recv())  # error: call-overload | reportCallIssue, reportArgumentType


def a_list_instead_of_arguments(many: list[ChannelReceiver[int]]) -> None:
    blocking_select(many)  # error: call-overload | reportCallIssue, reportArgumentType
