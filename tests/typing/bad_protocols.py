"""Mistakes against the protocols that type checkers must find."""

# ruff: noqa: T201  only type checkers read this; nobody runs it
from __future__ import annotations

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, Receiver, Sender


async def feed(sink: Sender[int]) -> None:
    await sink.send(1)


async def drain(source: Receiver[int]) -> None:
    await source.recv()


async def the_wrong_side(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    await feed(rx)  # error: arg-type | reportArgumentType
    await drain(tx)  # error: arg-type | reportArgumentType


async def the_wrong_type(tx: ChannelSender[str], rx: ChannelReceiver[str]) -> None:
    await feed(tx)  # error: arg-type | reportArgumentType
    await drain(rx)  # error: arg-type | reportArgumentType


async def variance_the_wrong_way(
    tx: ChannelSender[bool], rx: ChannelReceiver[object]
) -> tuple[ChannelSender[int], ChannelReceiver[int]]:
    await feed(tx)  # error: arg-type | reportArgumentType
    await drain(rx)  # error: arg-type | reportArgumentType
    sender: ChannelSender[int] = tx  # error: assignment | reportAssignmentType
    receiver: ChannelReceiver[int] = rx  # error: assignment | reportAssignmentType
    return sender, receiver


class Half:
    async def send(self, value: int) -> None:
        print(value)


async def a_class_that_is_only_half_a_sender() -> None:
    await feed(Half())  # error: arg-type | reportArgumentType


async def more_than_the_protocol_promises(sink: Sender[int]) -> None:
    await sink.send_batch([1])  # error: attr-defined | reportAttributeAccessIssue
