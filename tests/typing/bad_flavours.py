"""Mistakes with oneshot, broadcast and watch that type checkers must find."""

from __future__ import annotations

from klaw_core.runtime.channels import WatchReceiver, broadcast, oneshot, watch


async def values_of_another_type() -> None:
    once, _ = await oneshot[int]()
    await once.send("text")  # error: arg-type | reportArgumentType
    news, _ = await broadcast[int]()
    await news.send("text")  # error: arg-type | reportArgumentType
    state, _ = await watch[int](0)
    state.send_nowait("text")  # error: arg-type | reportArgumentType


async def a_wrong_initial_value() -> None:
    await watch[int]("text")  # error: arg-type | reportArgumentType


async def an_unknown_overflow() -> None:
    await broadcast[int](overflow="drop")  # error: arg-type | reportArgumentType


async def batches_that_are_not_there() -> None:
    tx, rx = await broadcast[int]()
    await tx.send_batch([1, 2])  # error: attr-defined | reportAttributeAccessIssue
    await rx.recv_batch(2)  # error: attr-defined | reportAttributeAccessIssue


async def a_watch_has_no_recv(rx: WatchReceiver[int]) -> None:
    await rx.recv()  # error: attr-defined | reportAttributeAccessIssue


async def a_predicate_about_another_type(rx: WatchReceiver[int]) -> None:
    await rx.wait_for(str.isupper)  # error: arg-type | reportArgumentType
