"""What is special about channels within one process: whose memory is whose, and loops that come and go."""

from __future__ import annotations

import asyncio
import gc
import types
import weakref

import pytest
from channel_tests import Thing

from klaw_core import _core
from klaw_core.runtime.channels import (
    ChannelClosedError,
    LocalReceiver,
    LocalSender,
    blocking_channel,
    channel,
    select,
)

# ------------------------------------------------------------------------------------- the types


def test_handles_are_made_by_channel_only():
    for kind in (LocalSender, LocalReceiver):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Sub", (kind,), {})
        with pytest.raises(TypeError):
            kind.send = None


def test_handle_types_can_be_subscripted():
    assert isinstance(LocalSender[int], types.GenericAlias)
    assert LocalReceiver[str].__origin__ is LocalReceiver


def test_handles_can_be_weakly_referenced_and_hashed():
    tx, rx = blocking_channel(1)
    keys = weakref.WeakKeyDictionary({tx: 1, rx: 2})
    assert keys[tx] == 1
    del tx
    assert list(keys) == [rx]


async def test_messages_are_the_objects_themselves():
    tx, rx = await channel(1)
    thing = Thing()
    await tx.send(thing)
    assert await rx.recv() is thing


# ------------------------------------------------------------------------------------- memory


def test_nothing_is_left_when_the_handles_are_gone(no_leak):
    for capacity in (0, 1, 3):
        tx, rx = blocking_channel(capacity)
        clones = [tx.clone(), rx.clone()]
        if capacity:
            tx.send_nowait(Thing())
        del tx, rx, clones
    no_leak()


def test_live_objects_counts_what_exists(no_leak):
    before = _core.live_objects()
    tx, rx = blocking_channel(1)
    tx2 = tx.clone()
    sending = tx.send(1)
    now = _core.live_objects()
    grown = {name: now[name] - before[name] for name in now}
    assert grown == {"channels": 1, "handles": 3, "operations": 1}
    sending.close()
    del tx, rx, tx2, sending


def test_a_channel_that_holds_its_own_handles_is_collected(no_leak):
    tx, rx = blocking_channel(3)
    thing = Thing()
    thing.handles = (tx, rx)
    gone = weakref.ref(thing)
    tx.send_nowait(thing)
    tx.send_nowait(tx)
    tx.send_nowait(rx)
    del tx, rx, thing
    assert gone() is not None
    gc.collect()
    assert gone() is None
    no_leak()


def test_two_channels_that_hold_each_other_are_collected(no_leak):
    tx, rx = blocking_channel(2)
    tx2, rx2 = blocking_channel(2)
    tx.send_nowait((tx2, rx2))
    tx2.send_nowait((tx, rx))
    del tx, rx, tx2, rx2
    no_leak()


def test_a_message_that_holds_its_own_send_is_collected(no_leak):
    tx, rx = blocking_channel(3)
    thing = Thing()
    thing.sending = tx.send(thing)
    thing.sending.close()
    thing.sending = tx.send_batch([thing])
    thing.sending.close()
    tx.send_nowait(thing)
    del tx, rx, thing
    no_leak()


async def test_a_message_that_holds_the_send_that_waits_with_it_is_collected(no_leak):
    async def leave_a_cycle() -> None:
        tx, rx = await channel(0)
        thing = Thing()
        thing.sending = tx.send(thing)
        thing.future = thing.sending.send(None)
        thing.batch = tx.send_batch([thing])
        thing.future2 = thing.batch.send(None)
        thing.rx = rx

    await leave_a_cycle()
    no_leak()


async def test_a_message_that_holds_the_task_that_waits_to_send_it_is_collected(no_leak):
    async def leave_a_cycle() -> None:
        tx, rx = await channel(0)
        thing = Thing()
        thing.handles = (tx, rx)
        thing.task = asyncio.ensure_future(tx.send(thing))
        thing.task._log_destroy_pending = False
        thing.task._log_traceback = False
        await asyncio.sleep(0)

    await leave_a_cycle()
    gc.collect()
    await asyncio.sleep(0)  # the task gets to know that the receiver is gone
    await asyncio.sleep(0)
    no_leak()


async def test_a_select_that_waits_in_a_cycle_is_collected(no_leak):
    async def leave_a_cycle() -> None:
        tx, rx = await channel(1)
        tx2, rx2 = await channel(1)
        tx.send_nowait([])
        holder = await rx.recv()
        selecting = select(rx, rx2)
        holder += [selecting, selecting.send(None), tx, tx2, holder]

    await leave_a_cycle()
    no_leak()


def test_a_received_message_is_not_kept():
    tx, rx = blocking_channel(2)
    thing = Thing()
    gone = weakref.ref(thing)
    tx.send_nowait(thing)
    del thing
    rx.recv_nowait()
    assert gone() is None


@pytest.mark.parametrize("capacity", [8, None])
def test_a_queue_that_was_long_keeps_no_message(capacity):
    tx, rx = blocking_channel(unbounded=True) if capacity is None else blocking_channel(capacity)
    things = [Thing() for _ in range(8)]
    gone = [weakref.ref(thing) for thing in things]
    for thing in things:
        tx.send_nowait(thing)
    del things, thing
    for n in range(8):
        rx.recv_nowait()
        assert [ref() is None for ref in gone] == [True] * (n + 1) + [False] * (7 - n)


def test_a_long_chain_of_channels_is_dropped_without_a_crash(no_leak):
    """Each channel holds the receiver of the one before: dropping the last drops them all."""
    _, rx = blocking_channel(1)
    for _ in range(100_000):
        tx, next_rx = blocking_channel(1)
        tx.send_nowait(rx)
        rx = next_rx
    del rx, tx, next_rx, _
    no_leak()


def test_messages_may_use_the_channel_while_they_are_dropped(no_leak):
    seen = []

    def use() -> None:
        tx, rx = blocking_channel(8)

        class Curious:
            def __del__(self) -> None:
                seen.append((len(rx), tx.is_closed))
                with pytest.raises(ChannelClosedError):
                    tx.send_nowait(1)

        for _ in range(3):
            tx.send_nowait(Curious())
        rx.close()

    use()
    assert seen == [(0, True)] * 3
    no_leak()


# ------------------------------------------------------------------------- tasks that nobody holds


async def test_a_task_that_waits_lives_as_long_as_somebody_may_wake_it():
    """asyncio keeps tasks by weak references only; the channel keeps those that wait on it."""
    tx, rx = await channel(1)
    received = []

    async def work(rx) -> None:
        async for message in rx:
            received.append(message)  # noqa: PERF401  as it comes
        received.append("the end")

    asyncio.ensure_future(work(rx))  # noqa: RUF006  that is the question
    del rx
    for n in range(3):
        await asyncio.sleep(0)
        gc.collect()
        await tx.send(n)
    tx.close()
    while "the end" not in received:
        await asyncio.sleep(0)
    assert received == [0, 1, 2, "the end"]


async def test_a_select_that_waits_lives_as_long_as_one_of_its_channels():
    tx, rx = await channel(1)
    tx2, rx2 = await channel(1)
    received = []

    async def work(*receivers) -> None:
        received.append(await select(*receivers))

    asyncio.ensure_future(work(rx, rx2))  # noqa: RUF006
    del rx, rx2
    await asyncio.sleep(0)
    gc.collect()
    tx2.send_nowait("m")
    gc.collect()
    while not received:
        await asyncio.sleep(0)
    assert received == [(1, "m")]
    gc.collect()
    assert tx.is_closed


@pytest.mark.parametrize(
    "operation",
    [
        lambda tx, rx: rx.recv(),
        lambda tx, rx: rx.recv_batch(3),
        lambda tx, rx: tx.send(1),
        lambda tx, rx: tx.send_batch([1]),
        lambda tx, rx: tx.closed(),
        lambda tx, rx: rx.closed(),
        lambda tx, rx: select(rx, rx.clone()),
    ],
    ids=["recv", "recv_batch", "send", "send_batch", "tx closed", "rx closed", "select"],
)
async def test_tasks_that_nobody_can_wake_are_collected(no_leak, caplog, operation):
    async def forget() -> None:
        tx, rx = await channel(0)
        both = (tx, rx)

        async def wait() -> None:
            await operation(*both)

        asyncio.ensure_future(wait())  # noqa: RUF006
        await asyncio.sleep(0)

    await forget()
    gc.collect()
    assert "Task was destroyed but it is pending" in caplog.text
    no_leak()


# ------------------------------------------------------------------- loops that are closed too soon


def leave_waiting(make) -> tuple[asyncio.AbstractEventLoop, asyncio.Task[object]]:
    """A task that waits in a loop that is closed."""
    loop = asyncio.new_event_loop()

    async def main() -> asyncio.Task[object]:
        task = asyncio.ensure_future(make())
        task._log_destroy_pending = False
        await asyncio.sleep(0)
        return task

    try:
        return loop, loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_message_passes_by_a_receiver_whose_loop_is_closed(in_thread, until):
    tx, rx = blocking_channel(1)
    _, task = leave_waiting(rx.recv)
    alive = in_thread(rx.blocking_recv)
    until.true_in_thread(lambda: until.stats(rx).waiting_receivers == 2)
    tx.send_nowait("m")
    assert alive.result() == "m"
    assert not task.done()
    tx.send_nowait("n")
    assert rx.recv_nowait() == "n"


def test_a_message_for_a_receiver_whose_loop_is_closed_stays_for_the_next(until):
    tx, rx = blocking_channel(1)
    _, task = leave_waiting(rx.recv)
    _, selecting = leave_waiting(lambda: select(rx))
    tx.send_nowait("m")
    assert rx.recv_nowait() == "m"
    assert until.stats(rx).waiting_receivers == 0
    assert not task.done()
    assert not selecting.done()


def test_a_send_whose_loop_is_closed_still_sends_its_message():
    """It waits for room; nobody cancelled it."""
    tx, rx = blocking_channel(1)
    tx.send_nowait(0)
    _, task = leave_waiting(lambda: tx.send(1))
    assert rx.recv_nowait() == 0
    assert rx.recv_nowait() == 1
    assert not task.done()


def test_a_message_passes_from_closed_loop_to_closed_loop_to_a_live_one(until):
    tx, rx = blocking_channel(1)
    left = [leave_waiting(rx.recv) for _ in range(3)]

    async def main() -> object:
        task = asyncio.ensure_future(rx.recv())
        await until.receivers_wait(rx, 4)
        tx.send_nowait("m")
        return await task

    assert asyncio.run(main()) == "m"
    assert not any(task.done() for _, task in left)


def test_a_message_woken_for_a_loop_that_is_closed_before_it_runs_is_handed_on(in_thread, until):
    """A thread wakes a task, and its loop is closed before it gets to it."""
    tx, rx = blocking_channel(1)
    loop = asyncio.new_event_loop()
    tasks = []

    async def main() -> None:
        task = asyncio.ensure_future(rx.recv())
        task._log_destroy_pending = False
        tasks.append(task)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    tx.send_nowait("m")  # the loop stands still: it is to run it when it goes on
    alive = in_thread(rx.blocking_recv)
    until.true_in_thread(lambda: until.stats(rx).waiting_receivers == 1)
    loop.close()
    assert alive.result() == "m"


def test_a_loop_that_stood_still_goes_on_with_what_came_meanwhile():
    tx, rx = blocking_channel(1)
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(rx.recv())
        loop.run_until_complete(asyncio.sleep(0))
        tx.send_nowait("m")
        assert loop.run_until_complete(task) == "m"
    finally:
        loop.close()


def test_a_task_of_a_closed_loop_can_be_collected(no_leak):
    tx, rx = blocking_channel(1)
    loop, task = leave_waiting(rx.recv)
    tx.send_nowait("m")
    del loop, task
    assert rx.recv_nowait() == "m"
    del tx, rx
    no_leak()


def test_one_channel_serves_one_loop_after_another():
    tx, rx = blocking_channel(1)
    for n in range(5):

        async def main(n: int) -> object:
            task = asyncio.ensure_future(rx.recv())
            await asyncio.sleep(0)
            await tx.send(n)
            return await task

        assert asyncio.run(main(n)) == n


def test_loops_leave_nothing_behind(no_leak):
    tx, rx = blocking_channel(1)
    refs = []

    async def main(tx, rx) -> None:
        refs.append(weakref.ref(asyncio.get_running_loop()))
        task = asyncio.ensure_future(rx.recv())
        await asyncio.sleep(0)
        await asyncio.to_thread(tx.blocking_send, 1)
        await task

    for _ in range(3):
        asyncio.run(main(tx, rx))
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3
    del tx, rx
    no_leak()


# ------------------------------------------------------------------------- unclosed, development


def test_an_unclosed_handle_warns_in_development_mode_only(interpreter):
    code = (
        "from klaw_core.runtime.channels import blocking_channel\n"
        "import sys, warnings\n"
        "warnings.simplefilter('always')\n"
        "tx, rx = blocking_channel(3)\n"
        "tx.close()\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    del tx\n"
        "    del rx\n"
        "print([f'{w.category.__name__}: {w.message}' for w in caught])\n"
    )
    assert interpreter(code) == "[]"
    assert interpreter(code, "-X", "dev") == (
        "['ResourceWarning: unclosed <LocalReceiver 0/3, 1 receiver, 0 senders>']"
    )


def test_a_handle_saved_by_its_own_warning_is_closed(interpreter):
    code = (
        "from klaw_core.runtime.channels import blocking_channel\n"
        "import gc, warnings\n"
        "tx, rx = blocking_channel(3)\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    del rx\n"
        "handle = caught[0].source\n"
        "print(repr(handle), handle.is_closed, tx.is_closed)\n"
        "del caught, handle, tx\n"
    )
    assert (
        interpreter(code, "-X", "dev", stderr=".*ResourceWarning: unclosed <LocalSender .*")
        == "<LocalReceiver closed 0/3, 0 receivers, 1 sender> True True"
    )
