"""What type checkers must accept and infer: oneshot, broadcast and watch."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from klaw_core.runtime.channels import (
    AlreadySent,
    BroadcastReceiver,
    BroadcastSender,
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    ChannelStats,
    Lagged,
    OneshotReceiver,
    OneshotSender,
    Receiver,
    Result,
    Sender,
    WatchReceiver,
    WatchSender,
    blocking_broadcast,
    blocking_oneshot,
    blocking_watch,
    broadcast,
    channel,
    oneshot,
    select,
    watch,
)


async def oneshots() -> None:
    tx, rx = await oneshot[int]()
    assert_type(tx, OneshotSender[int])
    assert_type(rx, OneshotReceiver[int])
    await tx.send(1)
    assert_type(await tx.try_send(1), Result[None, AlreadySent | ChannelClosed])
    assert_type(await rx.recv(timeout=1.0), int)
    assert_type(await rx.try_recv(), Result[int, ChannelEmpty | ChannelClosed])
    assert_type(rx.recv_nowait(), int)
    assert_type(await tx.stats(), ChannelStats)
    texts, _ = blocking_oneshot[str | None]()
    texts.blocking_send(None)
    bare, _ = await oneshot()
    assert_type(bare, OneshotSender[Any])


async def broadcasts() -> None:
    tx, rx = await broadcast[int](8, overflow="wait")
    assert_type(tx, BroadcastSender[int])
    assert_type(rx, BroadcastReceiver[int])
    assert_type(await tx.send(1), int)
    assert_type(await tx.try_send(1), Result[int, ChannelFull | ChannelClosed])
    assert_type(tx.subscribe(), BroadcastReceiver[int])
    assert_type(rx.resubscribe(), BroadcastReceiver[int])
    assert_type(tx.clone(), BroadcastSender[int])
    assert_type(await rx.recv(), int)
    assert_type(await rx.try_recv(), Result[int, ChannelEmpty | Lagged | ChannelClosed])
    async for value in rx:
        assert_type(value, int)
    bare, _ = blocking_broadcast()
    assert_type(bare, BroadcastSender[Any])


async def watches() -> None:
    tx, rx = await watch[int | None](None)
    assert_type(tx, WatchSender[int | None])
    assert_type(rx, WatchReceiver[int | None])
    assert_type(await tx.send(1), int)
    assert_type(await tx.try_send(1), Result[int, ChannelClosed])
    assert_type(tx.borrow(), int | None)
    assert_type(rx.borrow_and_update(), int | None)
    assert_type(rx.has_changed(), bool)
    await rx.changed(timeout=1.0)
    assert_type(await rx.try_changed(), Result[None, ChannelEmpty | ChannelClosed])
    assert_type(await rx.wait_for(lambda value: value is not None), int | None)
    assert_type(tx.subscribe(), WatchReceiver[int | None])
    assert_type(rx.resubscribe(), WatchReceiver[int | None])
    async for value in rx:
        assert_type(value, int | None)
    words, _ = blocking_watch[Literal["on", "off"]]("on")
    words.send_nowait("off")


async def inferred_from_the_initial_value() -> None:
    tx, rx = await watch("text")
    assert_type(tx, WatchSender[str])
    assert_type(rx.borrow(), str)


async def selected() -> None:
    _, numbers = await channel[int](1)
    _, answer = await oneshot[str]()
    _, events = await broadcast[bytes]()
    _, state = await watch[float](0.0)
    got = await select(numbers, answer, events, state)
    match got:
        case (0, number):
            assert_type(number, int)
        case (1, text):
            assert_type(text, str)
        case (2, event):
            assert_type(event, bytes)
        case (3, value):
            assert_type(value, float)


def as_protocols(
    once: OneshotSender[object],
    answer: OneshotReceiver[bool],
    news: BroadcastSender[int],
    heard: BroadcastReceiver[bool],
    state: WatchSender[int],
    seen: WatchReceiver[bool],
) -> None:
    senders: list[Sender[int]] = [once, news, state]
    receivers: list[Receiver[int]] = [answer]
    wider: WatchReceiver[int] = seen
    louder: BroadcastReceiver[int] = heard
    assert senders
    assert receivers
    assert wider
    assert louder
