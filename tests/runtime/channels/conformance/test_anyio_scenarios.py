"""What anyio checks of its memory object streams, and of cancel scopes around operations that wait, rewritten for
channels on anyio's asyncio backend.

Left out: trio, which klaw refuses (test_awaitable.py); the warning about unclosed handles (test_process.py) and the
variance of the handles' types (tests/typing), tested elsewhere. anyio's streams look for a cancellation even when they
are ready; a channel, as an asyncio queue, does not: a ready receive in a cancelled scope may go through, and then hands
over what it took.
"""

from __future__ import annotations

import asyncio

import anyio
import pytest

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelFull,
    Err,
    Ok,
)

needs = pytest.mark.needs
capacities = pytest.mark.capacities


async def drained(rx) -> list[object]:
    """What is there, or held by a sender that waits."""
    messages = []
    while (result := await rx.try_recv()).is_ok():
        messages.append(result.unwrap())
    assert result == Err(ChannelEmpty())
    return messages


# ------------------------------------------------------------------------------ the memory stream


@needs("waiting", "stats")
async def test_a_task_that_receives_first_gets_one_message_after_the_other(
    open_channel, capacity, until
):
    tx, rx = await open_channel(capacity)
    received = []

    async def receive_two() -> None:
        received.append(await rx.recv())
        received.append(await rx.recv())

    async with anyio.create_task_group() as group:
        group.start_soon(receive_two)
        await until.receivers_wait(rx, 1)
        await tx.send("a")
        await tx.send("b")
    assert received == ["a", "b"]


@needs("nowait", "at_once", "stats")
@capacities(0)
async def test_without_waiting_as_many_are_sent_as_receives_wait(open_channel, until):
    tx, rx = await open_channel(0)
    received = []

    async def receive() -> None:
        received.append(await rx.recv())

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(receive)
        await until.receivers_wait(rx, 2)
        tx.send_nowait("a")
        tx.send_nowait("b")
        assert await tx.try_send("nobody is left") == Err(ChannelFull(0))
    assert received == ["a", "b"]


@needs("trying", "stats")
@capacities(0, 1, 3)
async def test_without_waiting_one_receives_from_senders_that_wait(
    open_channel, capacity, fill, until
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    async with anyio.create_task_group() as group:
        for n in range(2):
            group.start_soon(tx.send, count + n)
            await until.senders_wait(tx, n + 1)
        assert await drained(rx) == list(range(count + 2))


@needs("trying", "stats")
@capacities(1, 3)
async def test_a_message_that_is_taken_makes_room_for_that_of_a_sender_that_waits(
    open_channel, capacity, fill, until, soon
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    async with anyio.create_task_group() as group:
        group.start_soon(tx.send, "waits")
        await until.senders_wait(tx, 1)
        assert await rx.try_recv() == Ok(0)
        await soon.stats(rx, waiting_senders=0, queue_size=capacity)
    assert await drained(rx) == [*range(1, count), "waits"]


@needs("iteration")
async def test_an_iteration_in_a_task_group_ends_with_the_block_of_the_sender(
    open_channel, capacity
):
    tx, rx = await open_channel(capacity)
    received = []

    async def receive_all() -> None:
        async for message in rx:
            received.append(message)  # noqa: PERF401  anyio's way

    async with anyio.create_task_group() as group:
        group.start_soon(receive_all)
        async with tx:
            await tx.send("a")
            await tx.send("b")
    assert received == ["a", "b"]


@needs("blocks", "waiting")
async def test_both_may_close_right_after_their_only_message(open_channel, capacity):
    tx, rx = await open_channel(capacity)

    async def send() -> None:
        async with tx:
            await tx.send("m")

    async def receive() -> None:
        async with rx:
            assert await rx.recv() == "m"

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        group.start_soon(receive)
    assert tx.is_closed
    assert rx.is_closed


@needs("clone", "trying")
@capacities(1, 3)
async def test_clones_go_on_when_the_first_handles_are_closed(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    tx2, rx2 = tx.clone(), rx.clone()
    async with tx2, rx2:
        await tx.close()
        await rx.close()
        for handle in (tx, rx):
            with pytest.raises(ChannelClosedError):
                handle.clone()
        assert await tx2.try_send("m") == Ok(None)
        assert await rx2.try_recv() == Ok("m")


@needs("close", "stats")
async def test_the_end_leaves_a_task_group_as_the_error_of_the_task_that_waited_for_more(
    open_channel, capacity, until
):
    tx, rx = await open_channel(capacity)
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(rx.recv)
            await until.receivers_wait(rx, 1)
            await tx.close()
    assert [error.kind for error in caught.value.exceptions] == ["ended"]


@needs("close", "stats")
@capacities(0, 1, 3)
async def test_a_task_that_waits_to_send_is_told_that_nobody_will_receive(
    open_channel, capacity, fill, until
):
    """None is a message as any other: who waits with it is no less there."""
    tx, rx = await open_channel(capacity)
    await fill(tx)
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(tx.send, None)
            await until.senders_wait(tx, 1)
            await rx.close()
    assert [error.kind for error in caught.value.exceptions] == ["peer_gone"]


@needs("blocks", "trying")
async def test_plain_blocks_close_too(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    with tx, rx:
        pass
    for result in (await tx.try_send("m"), await rx.try_recv()):
        assert isinstance(result.unwrap_err(), ChannelClosed)
        assert result.unwrap_err().kind == "handle_closed"


@needs("stats", "trying")
@capacities(0, 1, 3)
async def test_the_count_of_those_who_wait_goes_down_with_each_that_is_served(
    open_channel, capacity, fill, until, soon
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(tx.send, "waits")
        await until.senders_wait(tx, 3)
        for left in (2, 1, 0):
            assert (await rx.try_recv()).is_ok()
            for handle in (tx, rx):
                await soon.stats(handle, waiting_senders=left, queue_size=capacity)
    assert len(await drained(rx)) == count
    async with anyio.create_task_group() as group:
        group.start_soon(rx.recv)
        await until.receivers_wait(rx, 1)
        await tx.send("m")
        for handle in (tx, rx):
            await soon.stats(handle, waiting_receivers=0)


# --------------------------------------------------------------------------- cancelled while waiting


@needs("waiting", "trying", "stats")
async def test_a_cancelled_scope_takes_its_receives_away(open_channel, capacity, until, soon):
    tx, rx = await open_channel(capacity)
    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(rx.recv)
            await until.receivers_wait(rx, n + 1, handles=1)
        group.cancel_scope.cancel()
    await soon.stats(rx, waiting_receivers=0)
    if capacity == 0:
        assert await tx.try_send("nobody is there") == Err(ChannelFull(0))
    else:
        assert await tx.try_send("m") == Ok(None)
        assert await drained(rx) == ["m"]


@needs("waiting", "trying", "stats")
@capacities(0, 1, 3)
async def test_a_cancelled_scope_takes_its_sends_away(open_channel, capacity, fill, until, soon):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(tx.send, "never")
            await until.senders_wait(tx, n + 1)
        group.cancel_scope.cancel()
    await soon.stats(tx, waiting_senders=0)
    assert await drained(rx) == list(range(count))


@needs("waiting", "stats")
async def test_a_receive_whose_scope_is_cancelled_after_its_wake_up_loses_nothing(
    open_channel, capacity, until, wake
):
    tx, rx = await open_channel(capacity)
    received = []

    async def receive() -> None:
        received.append(await rx.recv())

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await until.receivers_wait(rx, 1)
        wake(tx, "m")
        group.cancel_scope.cancel()
    assert received + await drained(rx) == ["m"]


@needs("waiting", "stats", "trying", "prompt")
@capacities(1, 3, 100, None)
async def test_a_receive_whose_scope_was_cancelled_gets_nothing_that_is_sent_then(
    open_channel, capacity, until
):
    tx, rx = await open_channel(capacity)
    received = []

    async def receive() -> None:
        received.append(await rx.recv())

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await until.receivers_wait(rx, 1)
        group.cancel_scope.cancel()
        assert await tx.try_send("m") == Ok(None)
    assert received == []
    assert await rx.recv() == "m"


@needs("waiting", "stats")
async def test_a_receive_that_asyncio_cancelled_gets_nothing_that_is_sent_then(
    open_channel, start, until
):
    tx, rx = await open_channel(1)
    receiving = start(rx.recv())
    await until.receivers_wait(rx, 1)
    receiving.cancel()
    await tx.send("m")
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert await rx.recv() == "m"


# ---------------------------------------------------------------------- begun in a cancelled scope


@needs("waiting", "stats", "trying")
async def test_a_receive_that_is_begun_in_a_cancelled_scope_and_has_to_wait_is_cancelled(
    open_channel, capacity, until, soon, start
):
    tx, rx = await open_channel(capacity)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await rx.recv()
    assert scope.cancelled_caught
    await soon.stats(rx, waiting_receivers=0)
    sending = start(tx.send("m"))
    assert await rx.recv() == "m"
    await sending


@needs("waiting", "stats")
async def test_a_ready_receive_in_a_cancelled_scope_loses_nothing_and_keeps_the_order(
    open_channel, capacity, until, start
):
    tx, rx = await open_channel(capacity)
    received = []
    sending = []
    for n, message in enumerate(("a", "b")):
        sending.append(start(tx.send(message)))
        if capacity == 0:
            await until.senders_wait(tx, n + 1)
        elif capacity != 1 or n == 0:
            await sending[n]
    with anyio.CancelScope() as scope:
        scope.cancel()
        received.append(await rx.recv())
    while len(received) < 2:
        received.append(await rx.recv())
    assert received == ["a", "b"]
    await asyncio.gather(*sending)


@needs("waiting", "stats", "trying")
@capacities(0, 1, 3)
async def test_a_send_that_is_begun_in_a_cancelled_scope_and_has_to_wait_is_not_sent(
    open_channel, capacity, fill, soon, start
):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await tx.send("never")
    assert scope.cancelled_caught
    await soon.stats(tx, waiting_senders=0)
    sending = start(tx.send("next"))
    assert [await rx.recv() for _ in range(count + 1)] == [*range(count), "next"]
    await sending


@needs("waiting", "trying", "stats")
async def test_in_a_cancelled_scope_every_further_wait_is_cancelled_too(
    open_channel, capacity, soon
):
    """A cleanup that waits on the channel can't keep a cancelled task alive."""
    _tx, rx = await open_channel(capacity)
    waits = 0
    with anyio.CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            try:
                await rx.recv()
            except asyncio.CancelledError:
                waits += 1
        await rx.recv()
    assert scope.cancelled_caught
    assert waits == 3
    await soon.stats(rx, waiting_receivers=0)


# ----------------------------------------------------------------------------- shields and deadlines


@needs("waiting", "stats")
async def test_a_shield_lets_an_exchange_end_that_was_begun_before(open_channel, capacity, until):
    tx, rx = await open_channel(capacity)
    received = []

    async def receive_shielded() -> None:
        with anyio.CancelScope(shield=True):
            received.append(await rx.recv())
        received.append(await rx.recv())  # out of the shield: cancelled

    async with anyio.create_task_group() as group:
        group.start_soon(receive_shielded)
        await until.receivers_wait(rx, 1)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await tx.send("a")
    assert received == ["a"]
    assert await drained(rx) == []


@needs("waiting", "trying")
@capacities(0, 1, 3)
async def test_a_shielded_cleanup_can_still_send(open_channel, capacity, fill, until):
    tx, rx = await open_channel(capacity)
    count = await fill(tx)

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await tx.send("goodbye")

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            assert [await rx.recv() for _ in range(count + 1)] == [*range(count), "goodbye"]


@needs("waiting", "stats")
async def test_of_nested_deadlines_the_one_that_passed_ends_only_its_own_wait(
    open_channel, capacity, start, soon
):
    tx, rx = await open_channel(capacity)
    with anyio.fail_after(1000), anyio.move_on_after(1000) as outer:
        with anyio.move_on_after(0.001) as inner:
            await rx.recv()
        assert inner.cancelled_caught
        await soon.stats(rx, waiting_receivers=0)
        sending = start(tx.send("m"))
        assert await rx.recv() == "m"
        await sending
    assert not outer.cancelled_caught
    with pytest.raises(TimeoutError), anyio.fail_after(0.001):
        with anyio.move_on_after(1000) as inner:
            await rx.recv()
    assert not inner.cancelled_caught


@needs("waiting", "trying", "prompt")
async def test_deadlines_that_pass_beside_messages_lose_none(open_channel, capacity):
    tx, rx = await open_channel(capacity)
    count = 50
    received = []

    async def send_all() -> None:
        for n in range(count):
            await tx.send(n)

    async with anyio.create_task_group() as group:
        group.start_soon(send_all)
        attempts = 0
        while len(received) < count:
            attempts += 1
            with anyio.move_on_after(0.0001 * (attempts % 5)):
                received.append(await rx.recv())
            await anyio.lowlevel.checkpoint()
    assert received == list(range(count))


# ------------------------------------------------------------------------------------- task groups


@needs("waiting", "stats", "clone")
@capacities(0, 1, 3)
async def test_a_task_that_fails_takes_its_siblings_off_the_channel(
    open_channel, capacity, fill, until, soon
):
    tx, rx = await open_channel(capacity)
    other_tx, other_rx = await open_channel(capacity)
    count = await fill(tx)

    async def fail() -> None:
        await until.senders_wait(tx, 2)
        await until.receivers_wait(other_rx, 1)
        raise LookupError("one of them fails")

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            group.start_soon(tx.send, "never")
            group.start_soon(tx.send, "never")
            group.start_soon(other_rx.recv)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    await soon.stats(tx, waiting_senders=0)
    await soon.stats(other_rx, waiting_receivers=0)
    assert await drained(rx) == list(range(count))
    async with anyio.create_task_group() as group:
        group.start_soon(other_tx.send, "still works")
        assert await other_rx.recv() == "still works"


@needs("waiting", "stats")
async def test_what_a_cancelled_group_did_not_take_goes_to_those_outside_of_it(
    open_channel, capacity, start, until, soon
):
    tx, rx = await open_channel(capacity)
    async with anyio.create_task_group() as group:
        for n in range(2):
            group.start_soon(rx.recv)
            await until.receivers_wait(rx, n + 1, handles=1)
        outside = start(rx.recv())
        await until.receivers_wait(rx, 3, handles=1)
        group.cancel_scope.cancel()
    await tx.send("m")
    assert await outside == "m"
    await soon.stats(rx, waiting_receivers=0)


@needs("blocking", "threads")
async def test_worker_threads_of_anyio_are_joined_by_a_channel(open_channel, capacity):
    tx, rx = await open_channel(capacity)

    def work() -> list[int]:
        return [rx.blocking_recv() for _ in range(20)]

    received = []

    async def receive() -> None:
        received.extend(await anyio.to_thread.run_sync(work))

    async def send() -> None:
        for n in range(10):
            await tx.send(n)
        # From a worker thread into this loop, and by a call that blocks.
        await anyio.to_thread.run_sync(
            lambda: [anyio.from_thread.run(tx.send, n) for n in range(10, 15)]
        )
        await anyio.to_thread.run_sync(lambda: [tx.blocking_send(n) for n in range(15, 20)])

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
    assert received == list(range(20))
