"""What type checkers must accept and infer: channels, and everything that a handle does."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, assert_type

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    ChannelReceiver,
    ChannelSender,
    ChannelStats,
    Delivery,
    Permit,
    Result,
    WeakReceiver,
    WeakSender,
    blocking_channel,
    channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
)


async def subscripted() -> None:
    tx, rx = await channel[int](8)
    assert_type(tx, ChannelSender[int])
    assert_type(rx, ChannelReceiver[int])
    await tx.send(1)
    await tx.send(2, timeout=1)
    await tx.send(3, 0.5)
    assert_type(await rx.recv(), int)
    assert_type(await rx.recv(timeout=1), int)


async def subscripted_with_any_type_expression() -> None:
    tx, rx = await channel[int | None](8)
    await tx.send(None)
    assert_type(await rx.recv(), int | None)
    _, texts = await channel[list[str]](unbounded=True)
    assert_type(await texts.recv(), list[str])
    words, _ = await channel[Literal["go", "stop"]](0)
    await words.send("go")
    requests, _ = await channel[tuple[str, ChannelSender[bytes]]](8)
    reply, answer = await channel[bytes](1)
    await requests.send(("/", reply))
    assert_type(await answer.recv(), bytes)


async def bare_is_any() -> None:
    tx, rx = await channel(8)
    assert_type(tx, ChannelSender[Any])
    assert_type(rx, ChannelReceiver[Any])
    await tx.send("anything")


def blocking() -> None:
    tx, rx = blocking_channel[str](capacity=8)
    assert_type(tx, ChannelSender[str])
    with tx:
        tx.blocking_send("a", timeout=1.0)
        tx.blocking_send_batch(["b", "c"])
        tx.send_nowait("d")
    with rx:
        assert_type(rx.blocking_recv(), str)
        assert_type(rx.blocking_recv_batch(10, timeout=1.0), list[str])
        assert_type(rx.recv_nowait(), str)
        for text in rx:
            assert_type(text, str)
        assert_type(next(rx), str)
    bare_tx, bare_rx = blocking_channel()
    assert_type(bare_tx, ChannelSender[Any])
    assert_type(bare_rx.blocking_recv(), Any)


async def permits(tx: ChannelSender[int]) -> None:
    permit = await tx.reserve(timeout=1)
    assert_type(permit, Permit[int])
    permit.send(1)
    permit.release()
    assert_type(await tx.try_reserve(), Result[Permit[int], ChannelFull | ChannelClosed])
    assert_type(tx.blocking_reserve(0.5), Permit[int])


async def acknowledgements(rx: ChannelReceiver[int]) -> None:
    async for m in rx.acked():
        assert_type(m, Delivery[int])
        async with m:
            assert_type(m.value, int)
            assert_type(m.redelivered, bool)
            assert_type(m.attempt, int)
            m.nack(delay=1)
    async with await rx.recv_acked(timeout=1) as taken:
        assert_type(taken, Delivery[int])


def acknowledgements_in_a_thread(rx: ChannelReceiver[int]) -> None:
    for m in rx.acked():
        with m as same:
            assert_type(same, Delivery[int])
    rx.blocking_recv_acked(0.5).ack()


async def weak_handles(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    assert_type(tx.downgrade(), WeakSender[int])
    assert_type(rx.downgrade(), WeakReceiver[int])
    assert_type(await tx.downgrade().upgrade(), ChannelSender[int] | None)
    assert_type(rx.downgrade().blocking_upgrade(), ChannelReceiver[int] | None)
    if (strong := await rx.downgrade().upgrade()) is not None:
        assert_type(await strong.recv(), int)


async def ends(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    await tx.flush()
    tx.blocking_flush(timeout=1)
    await tx.shutdown()
    await rx.shutdown(immediate=True, reason="enough")
    rx.blocking_shutdown(reason=None)


async def the_rest_of_the_matrix(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    assert_type(await tx.try_send(1), Result[None, ChannelFull | ChannelClosed])
    await tx.send_batch(range(3))
    assert_type(await tx.try_send_batch({1, 2}), Result[None, ChannelFull | ChannelClosed])
    assert_type(await rx.try_recv(), Result[int, ChannelEmpty | ChannelClosed])
    assert_type(await rx.recv_batch(max_items=5), list[int])
    assert_type(await rx.try_recv_batch(5), Result[list[int], ChannelEmpty | ChannelClosed])
    async for value in rx:
        assert_type(value, int)
    assert_type(await anext(rx), int)
    assert_type(await tx.stats(), ChannelStats)
    await tx.closed()
    assert_type(tx.capacity, int | None)
    assert_type(rx.is_closed, bool)
    assert_type(tx.same_channel(rx), bool)


async def life(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    async with tx.clone() as clone, rx.clone() as other:
        assert_type(clone, ChannelSender[int])
        assert_type(other, ChannelReceiver[int])
    tx.close("no more")  # takes effect at the call; need not be awaited
    await rx.close()
    tx.blocking_close(timeout=1.0)


async def as_tasks(tx: ChannelSender[int], rx: ChannelReceiver[int]) -> None:
    receiving = asyncio.create_task(rx.recv())
    await asyncio.wait_for(tx.send(1), 1.0)
    assert_type(await receiving, int)
    first, second = await asyncio.gather(rx.recv(), rx.recv_batch(2))
    assert_type(first, int)
    assert_type(second, list[int])


async def with_every_option() -> None:
    await channel[int](
        8,
        backend="ray",
        distributed=True,
        name="jobs",
        namespace="klaw",
        confirm=True,
        prefetch=10,
        reference=True,
        persistent=True,
        orphan_grace=1,
        checkpoint_dir="somewhere",
        actor_options={"num_cpus": 0},
    )


async def found_by_name() -> None:
    pair = await get_channel("jobs", namespace="klaw")
    if pair is not None:
        tx, rx = pair
        assert_type(tx, ChannelSender[Any])
        assert_type(rx, ChannelReceiver[Any])
    sender: ChannelSender[int] | None = await get_sender("jobs", wait=5.0, confirm=True)
    receiver: ChannelReceiver[int] | None = await get_receiver("jobs", wait=5, prefetch=1)
    assert sender is not None
    assert receiver is not None
    assert_type(list_channels(), list[str])
