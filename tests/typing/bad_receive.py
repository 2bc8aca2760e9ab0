"""Mistakes in receiving that type checkers must find."""

# ruff: noqa: T201  only type checkers read this; nobody runs it
from __future__ import annotations

from klaw_core.runtime.channels import ChannelReceiver, LocalSender, channel


async def a_forgotten_await(rx: ChannelReceiver[int]) -> int:
    value: int = rx.recv()  # error: assignment | reportAssignmentType
    total = rx.recv() + 1  # error: operator | reportOperatorIssue
    rx.recv()  # error: unused-coroutine | reportUnusedCoroutine
    return value + total


async def swapped_handles() -> None:
    rx, tx = await channel[int](8)
    await rx.recv()  # error: attr-defined | reportAttributeAccessIssue
    await tx.send(1)  # error: attr-defined | reportAttributeAccessIssue


async def the_value_taken_for_another_type(rx: ChannelReceiver[int]) -> None:
    text: str = await rx.recv()  # error: assignment | reportAssignmentType
    (await rx.recv()).upper()  # error: attr-defined | reportAttributeAccessIssue
    one: int = await rx.recv_batch(1)  # error: assignment | reportAssignmentType
    print(text, one)


async def the_wrong_kind_of_loop(rx: ChannelReceiver[int]) -> None:
    async for value in rx.recv_batch(1):  # error: attr-defined | reportGeneralTypeIssues
        print(value)


async def wrong_arguments(rx: ChannelReceiver[int]) -> None:
    await rx.recv_batch()  # error: call-arg | reportCallIssue
    await rx.recv_batch("all")  # error: arg-type | reportArgumentType
    await rx.recv("soon")  # error: arg-type | reportArgumentType


async def methods_that_a_receiver_does_not_have(rx: ChannelReceiver[int]) -> None:
    await rx.get()  # error: attr-defined | reportAttributeAccessIssue
    len(rx)  # error: arg-type | reportArgumentType


def a_handle_that_is_local_only(tx: LocalSender[int]) -> None:
    len(tx)  # error: arg-type | reportArgumentType
