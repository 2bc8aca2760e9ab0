"""Rules that hold for every flavour, oneshot, broadcast and watch among them.

What differs stands in the table of conftest.py: `open_any.receive_one(rx)` receives, where a watch waits for a change.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle

import pytest
from channel_tests import closed_kind

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelStats,
    Sender,
    channel,
    select,
)

BAD_TIMEOUTS = [
    ("soon", TypeError),
    (True, TypeError),
    (-1, ValueError),
    (float("nan"), ValueError),
]


async def test_what_is_sent_is_received(open_any):
    tx, rx = await open_any()
    await tx.send("value")
    assert await open_any.receive_one(rx) == "value"


async def test_what_is_sent_is_received_by_one_that_waits(open_any, start, until):
    tx, rx = await open_any()
    waiting = start(open_any.receive_one(rx))
    await until.receivers_wait(rx, 1)
    await tx.send("value")
    assert await waiting == "value"


async def test_an_iteration_gives_it_and_ends_in_an_orderly_way(open_any):
    tx, rx = await open_any()
    await tx.send("value")
    await tx.close()
    assert [value async for value in rx] == ["value"]


async def test_an_iteration_ends_when_its_own_handle_closes(open_any, start, until):
    _tx, rx = await open_any()

    async def iterate():
        return [value async for value in rx]

    iterating = start(iterate())
    await until.receivers_wait(rx, 1)
    rx.close()
    assert await iterating == []


async def test_an_end_with_a_reason_is_raised_after_what_was_sent(open_any):
    tx, rx = await open_any()
    sent = [] if open_any.flavour.is_once else ["value"]  # it would have done its part
    for value in sent:
        await tx.send(value)
    await tx.close("broken")
    got = []
    with pytest.raises(ChannelClosedError, match="^broken$") as caught:
        async for value in rx:
            got.append(value)  # noqa: PERF401  what came before counts
    assert caught.value.kind == "peer_died"
    assert got == sent


async def test_one_that_waits_is_woken_by_the_end(open_any, start, until):
    tx, rx = await open_any()
    waiting = start(open_any.receive_one(rx))
    watching = start(rx.closed())
    await until.receivers_wait(rx, 1)
    tx.close()
    assert await closed_kind(waiting) == "ended"
    await watching


async def test_without_a_receiver_a_send_is_closed(open_any, start):
    tx, rx = await open_any()
    watching = start(tx.closed())
    await asyncio.sleep(0)
    rx.close()
    await watching
    assert tx.is_closed
    assert await closed_kind(tx.send("value")) == "peer_gone"


async def test_close_is_idempotent_and_takes_effect_at_the_call(open_any):
    for side in (0, 1):
        handles = await open_any()
        handle = handles[side]
        assert not handle.is_closed
        closing = handle.close()
        assert handle.is_closed
        await closing
        await handle.close()
        handle.close("another reason")


async def test_operations_on_a_closed_handle_are_closed(open_any):
    tx, rx = await open_any()
    tx.close()
    rx.close()
    for operation in (
        tx.send("value"),
        open_any.receive_one(rx),
        tx.closed(),
        rx.closed(),
    ):
        assert await closed_kind(operation) == "handle_closed"


async def test_closing_a_handle_wakes_its_own_operations(open_any, start, until):
    tx, rx = await open_any()
    operations = [start(open_any.receive_one(rx)), start(rx.closed()), start(tx.closed())]
    await until.receivers_wait(rx, 1)
    rx.close()
    assert await closed_kind(operations[0]) == "handle_closed"
    assert await closed_kind(operations[1]) == "handle_closed"
    await operations[2]


async def test_dropping_the_last_reference_closes(open_any):
    tx, rx = await open_any()
    del tx
    gc.collect()
    assert await closed_kind(open_any.receive_one(rx)) == "ended"


async def test_blocks_close(open_any):
    tx, rx = await open_any()
    async with tx, rx:
        assert not tx.is_closed
    assert tx.is_closed
    assert rx.is_closed
    tx, rx = await open_any()
    with tx, rx:
        pass
    assert tx.is_closed
    assert rx.is_closed


async def test_a_cancelled_receive_takes_nothing(open_any, start, until):
    tx, rx = await open_any()
    waiting = start(open_any.receive_one(rx))
    await until.receivers_wait(rx, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await tx.send("value")
    assert await open_any.receive_one(rx) == "value"


async def test_a_receive_that_is_cancelled_after_its_wake_up_takes_nothing(open_any, start, until):
    tx, rx = await open_any()
    waiting = start(open_any.receive_one(rx))
    await until.receivers_wait(rx, 1)
    open_any.send_meanwhile(tx, "value")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await open_any.receive_one(rx) == "value"


async def test_nothing_happens_before_it_is_awaited(open_any):
    tx, rx = await open_any()
    sending = tx.send("early")
    sending.close()
    await tx.send("value")
    assert await open_any.receive_one(rx) == "value"


async def test_select_takes_it_and_leaves_the_losers(open_any, start, until):
    tx, rx = await open_any()
    other_tx, other_rx = await open_any()
    queue_tx, queue_rx = await channel(1)
    await tx.send("value")
    if not open_any.flavour.is_remote:  # else it has to come here first
        await queue_tx.send("queued")
    assert await select(rx, queue_rx, biased=True) == (0, "value")
    if open_any.flavour.is_remote:
        await queue_tx.send("queued")
    assert await queue_rx.recv() == "queued"
    waiting = start(select(queue_rx, other_rx))
    await until.receivers_wait(other_rx, 1)
    await other_tx.send("other")
    assert await waiting == (1, "other")
    assert (await queue_rx.stats()).waiting_receivers == 0
    for handle in (queue_tx, queue_rx):
        await handle.close()


async def test_select_tells_which_one_ended(open_any):
    tx, rx = await open_any()
    queue_tx, queue_rx = await channel(1)
    tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await select(queue_rx, rx)
    assert caught.value.index == 1
    queue_tx.close()
    queue_rx.close()


async def test_a_select_that_is_cancelled_or_out_of_time_takes_nothing(open_any, start, until):
    tx, rx = await open_any()
    with pytest.raises(TimeoutError):
        await select(rx, timeout=0)
    waiting = start(select(rx))
    await until.receivers_wait(rx, 1)
    open_any.send_meanwhile(tx, "value")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await open_any.receive_one(rx) == "value"


async def test_a_thread_sends_to_a_task_and_a_task_to_a_thread(open_any, in_thread, until):
    tx, rx = await open_any()
    sending = in_thread(tx.blocking_send, "value")
    assert await open_any.receive_one(rx) == "value"
    await sending.awaited()
    tx, rx = await open_any()
    receiving = in_thread(next, rx)
    await until.receivers_wait(rx, 1)
    await tx.send("value")
    assert await receiving.awaited() == "value"


async def test_a_thread_that_waits_is_woken_by_the_end(open_any, in_thread, until):
    tx, rx = await open_any()
    receiving = in_thread(list, rx)
    await until.receivers_wait(rx, 1)
    tx.close()
    assert await receiving.awaited() == []


async def test_a_bad_timeout_is_told_at_the_call(open_any):
    tx, rx = await open_any()
    wait = getattr(rx, "recv", None) or rx.changed
    for timeout, error in BAD_TIMEOUTS:
        for call in (lambda t: tx.send(1, timeout=t), lambda t: wait(timeout=t)):
            with pytest.raises(error):
                call(timeout)


async def test_handles_are_always_true_themselves_only_and_not_to_be_changed(open_any):
    handles = await open_any()
    for handle in handles:
        assert bool(handle) is True
        assert handle == handle  # noqa: PLR0124  that is the question
        with pytest.raises(AttributeError):
            handle.anything = 5
    assert len(set(handles)) == 2
    assert handles[0] != handles[1]


async def test_handles_refuse_to_be_copied_and_those_of_one_process_to_be_pickled(open_any):
    for handle in await open_any():
        with pytest.raises(TypeError):
            copy.copy(handle)
        with pytest.raises(TypeError):
            copy.deepcopy(handle)
        if open_any.flavour.is_remote:
            continue
        with pytest.raises(TypeError, match=r"cannot pickle .*one process.*backend='ray'"):
            pickle.dumps(handle)


async def test_handles_know_their_channel(open_any):
    tx, rx = await open_any()
    other_tx, other_rx = await open_any()
    queue_tx, queue_rx = await channel(1)
    assert tx.same_channel(rx)
    assert rx.same_channel(tx)
    for other in (other_tx, other_rx, queue_tx, queue_rx, None, 5):
        assert not tx.same_channel(other)
        assert not rx.same_channel(other)
    queue_tx.close()
    queue_rx.close()


async def test_stats_tell_who_is_there(open_any, start, until):
    tx, rx = await open_any()
    stats = await tx.stats()
    assert isinstance(stats, ChannelStats)
    assert (stats.sender_count, stats.receiver_count) == (1, 1)
    assert stats.capacity == tx.capacity == rx.capacity
    start(open_any.receive_one(rx))
    await until.receivers_wait(tx, 1)
    await tx.send("value")
    assert (await rx.stats()).total_sent == 1
    tx.close()
    rx.close()
    if open_any.flavour.is_remote:
        return  # it may be gone with them
    stats = await tx.stats()
    assert (stats.sender_count, stats.receiver_count) == (0, 0)
    assert stats.senders_closed
    assert stats.receivers_closed


async def test_repr_names_the_handle(open_any):
    for handle, name in zip(await open_any(), open_any.flavour.handle_names, strict=True):
        assert repr(handle).startswith(f"<{name} ")
        handle.close()
        assert repr(handle).startswith(f"<{name} closed ")


async def test_senders_are_what_the_protocol_says(open_any):
    tx, _rx = await open_any()
    assert isinstance(tx, Sender)


async def test_a_reason_that_is_no_text_is_a_type_error_and_closes_nothing(open_any):
    for handle in await open_any():
        with pytest.raises(TypeError, match="^reason must be a str or None, not int$"):
            handle.close(5)
        assert not handle.is_closed
