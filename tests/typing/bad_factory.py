"""Mistakes in making and finding channels that type checkers must find."""

# ruff: noqa: T201  only type checkers read this; nobody runs it
from __future__ import annotations

from klaw_core.runtime.channels import ChannelSender, blocking_channel, channel, get_channel


async def a_forgotten_await() -> None:
    tx, rx = channel[int](8)  # error: misc | reportGeneralTypeIssues
    print(tx, rx)


async def wrong_arguments() -> None:
    await channel[int]("8")  # error: arg-type | reportArgumentType
    await channel[int](8, backend="rays")  # error: arg-type | reportArgumentType
    await channel[int](8, "local")  # error: call-arg | reportCallIssue
    await channel[int](capcity=8)  # error: call-arg | reportCallIssue
    blocking_channel(1.5)  # error: arg-type | reportArgumentType


async def the_type_of_another_channel() -> ChannelSender[str]:
    tx, _ = await channel[int](8)
    return tx  # error: return-value | reportReturnType


def awaiting_the_blocking_one() -> None:
    async def inner() -> None:
        await blocking_channel[int](8)  # error: misc | reportGeneralTypeIssues

    print(inner)


async def a_channel_that_may_not_be_there() -> None:
    tx, rx = await get_channel("jobs")  # error: misc | reportGeneralTypeIssues
    print(tx, rx)
