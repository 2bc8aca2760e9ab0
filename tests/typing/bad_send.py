"""Mistakes in sending that type checkers must find."""

from __future__ import annotations

from klaw_core.runtime.channels import ChannelSender, blocking_channel, channel


async def a_value_of_another_type() -> None:
    tx, _ = await channel[int](8)
    await tx.send("one")  # error: arg-type | reportArgumentType
    await tx.try_send(None)  # error: arg-type | reportArgumentType
    await tx.send_batch([1, "two"])  # error: list-item | reportArgumentType
    await tx.send_batch(3)  # error: arg-type | reportArgumentType
    tx.send_nowait(1.5)  # error: arg-type | reportArgumentType


def a_value_of_another_type_blocking() -> None:
    tx, _ = blocking_channel[int](8)
    tx.blocking_send("one")  # error: arg-type | reportArgumentType


async def a_none_where_none_was_promised() -> None:
    tx, _ = await channel[int | None](8)
    await tx.send(None)
    await tx.send("one")  # error: arg-type | reportArgumentType


async def a_permit_of_another_type() -> None:
    tx, _ = await channel[int](8)
    (await tx.reserve()).send("one")  # error: arg-type | reportArgumentType


async def forgotten_awaits(tx: ChannelSender[int]) -> None:
    tx.send(1)  # error: unused-coroutine | reportUnusedCoroutine
    tx.try_send(1)  # error: unused-coroutine | reportUnusedCoroutine
    tx.closed()  # error: unused-coroutine | reportUnusedCoroutine


async def wrong_arguments(tx: ChannelSender[int]) -> None:
    await tx.send(1, timeout="soon")  # error: arg-type | reportArgumentType
    await tx.send()  # error: call-arg | reportCallIssue
    await tx.send(1, timout=1)  # error: call-arg | reportCallIssue
    await tx.close(3)  # error: arg-type | reportArgumentType


async def methods_that_a_sender_does_not_have(tx: ChannelSender[int]) -> None:
    await tx.put(1)  # error: attr-defined | reportAttributeAccessIssue
    await tx.recv()  # error: attr-defined | reportAttributeAccessIssue


def what_cannot_be_assigned(tx: ChannelSender[int]) -> None:
    tx.capacity = 8  # error: misc | reportAttributeAccessIssue


async def awaiting_what_is_a_plain_call(tx: ChannelSender[int]) -> None:
    await tx.clone()  # error: misc | reportGeneralTypeIssues
    await tx.is_closed  # error: misc | reportGeneralTypeIssues
