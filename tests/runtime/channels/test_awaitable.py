"""The awaitable: a coroutine written in C++, wherever asyncio and anyio take one, and driven by hand."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import copy
import gc
import inspect
import pickle
import warnings
import weakref

import anyio
import anyio.lowlevel
import pytest
import uvloop

from klaw_core.runtime.channels import (
    ChannelClosedError,
    RecvTimeoutError,
    blocking_channel,
    select,
)

runners = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])

ALREADY_AWAITED = "^cannot reuse already awaited coroutine$"


@pytest.fixture
def pair():
    tx, rx = blocking_channel(1)
    yield tx, rx
    tx.close()
    rx.close()


# ------------------------------------------------------------------------------- where asyncio waits


async def test_create_task_takes_it(pair):
    tx, rx = pair
    receiving = asyncio.create_task(rx.recv(), name="receiving")
    assert receiving.get_coro().__qualname__ == "LocalReceiver.recv"
    await asyncio.create_task(tx.send("m"))
    assert await receiving == "m"


async def test_gather_takes_it(pair):
    tx, rx = pair
    assert await asyncio.gather(rx.recv(), rx.recv(), tx.send(1), tx.send(2)) == [1, 2, None, None]


async def test_wait_for_takes_it(pair):
    tx, rx = pair
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rx.recv(), 0.001)
    await tx.send("m")
    assert await asyncio.wait_for(rx.recv(), 60) == "m"


async def test_wait_for_that_runs_out_loses_nothing(pair):
    tx, rx = pair
    for n in range(20):
        receiving = asyncio.create_task(asyncio.wait_for(rx.recv(), 0.0005))
        await asyncio.sleep(0.0005)
        tx.send_nowait(n)
        try:
            assert await receiving == n
        except TimeoutError:
            assert rx.recv_nowait() == n


async def test_timeout_cancels_it(pair):
    tx, rx = pair
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await rx.recv()
    assert (await rx.stats()).waiting_receivers == 0
    await tx.send("m")
    async with asyncio.timeout(60):
        assert await rx.recv() == "m"


async def test_shield_and_wait_take_it(pair):
    tx, rx = pair
    receiving = asyncio.ensure_future(asyncio.shield(rx.recv()))
    sending = asyncio.create_task(tx.send("m"))
    done, pending = await asyncio.wait([receiving, sending])
    assert (done, pending) == ({receiving, sending}, set())
    assert receiving.result() == "m"


async def test_as_completed_takes_it(pair):
    tx, rx = pair
    tx.send_nowait("m")
    assert [await done for done in asyncio.as_completed([rx.recv()])] == ["m"]


async def test_a_task_group_takes_it(pair):
    tx, rx = pair
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(rx.recv())
        group.create_task(tx.send("m"))
    assert receiving.result() == "m"


async def test_a_failing_task_group_cancels_it(pair):
    _tx, rx = pair

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(rx.recv())
            group.create_task(fail())
    assert receiving.cancelled()
    assert isinstance(caught.value.exceptions[0], ValueError)
    assert (await rx.stats()).waiting_receivers == 0


@runners
def test_run_takes_it(pair, run):
    tx, rx = pair
    tx.send_nowait("m")
    assert run(rx.recv()) == "m"
    assert run(tx.send("n")) is None
    assert run(rx.try_recv()).unwrap() == "n"


@runners
def test_run_ends_one_that_waits_for_ever(pair, run):
    _tx, rx = pair

    async def main() -> None:
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await rx.recv()

    with pytest.raises(asyncio.CancelledError):
        run(main())
    assert "waiting" not in repr(rx)


def test_run_coroutine_threadsafe_takes_it(pair, in_thread):
    tx, rx = pair
    loop = asyncio.new_event_loop()
    thread = in_thread(loop.run_forever)
    try:
        receiving = asyncio.run_coroutine_threadsafe(rx.recv(), loop)
        asyncio.run_coroutine_threadsafe(tx.send("m"), loop).result(30)
        assert receiving.result(30) == "m"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.result()
        loop.close()


async def test_it_runs_in_the_context_of_its_task(pair):
    tx, rx = pair
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def receive(name: str) -> str:
        variable.set(name)
        await rx.recv()
        return variable.get()

    tasks = [asyncio.create_task(receive(name)) for name in "ab"]
    await tx.send(1)
    await tx.send(2)
    assert await asyncio.gather(*tasks) == ["a", "b"]


def test_asyncio_debug_mode_finds_nothing_wrong(pair, in_thread, caplog):
    tx, rx = pair
    back_tx, back_rx = blocking_channel(1)

    async def main() -> None:
        task = asyncio.create_task(rx.recv(), name="waits")
        await asyncio.sleep(0)
        assert "LocalReceiver.recv" in repr(task)
        task.print_stack()
        in_thread(tx.blocking_send, "from a thread")
        assert await task == "from a thread"
        job = in_thread(back_rx.blocking_recv)
        await back_tx.send(1)
        assert await job.awaited() == 1
        with pytest.raises(RecvTimeoutError):
            await rx.recv(timeout=0.001)
        async with asyncio.TaskGroup() as group:
            group.create_task(tx.send(1))
            group.create_task(select(rx, back_rx))
        await asyncio.wait_for(tx.send(1), 1)

    asyncio.run(main(), debug=True)
    assert [record.msg for record in caplog.records if "took" not in record.msg] == []
    back_tx.close()
    back_rx.close()


# ------------------------------------------------------------------------------------------- anyio


async def test_fail_after_cancels_it(pair):
    tx, rx = pair
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.001):
            await rx.recv()
    await tx.send("m")
    with anyio.fail_after(60):
        assert await rx.recv() == "m"


async def test_move_on_after_cancels_it(pair):
    tx, rx = pair
    with anyio.move_on_after(0.001) as scope:
        await rx.recv()
    assert scope.cancelled_caught
    tx.send_nowait(1)
    with anyio.move_on_after(0.001) as scope:
        await tx.send("no room")
    assert scope.cancelled_caught
    assert (await rx.stats()).waiting_senders == 0
    assert await rx.recv() == 1


async def test_start_soon_takes_its_function(pair):
    tx, rx = pair
    async with anyio.create_task_group() as group:
        group.start_soon(rx.recv)
        group.start_soon(tx.send, 1)
    assert len(rx) == 0
    async with anyio.create_task_group() as group:
        group.start_soon(rx.recv)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert (await rx.stats()).waiting_receivers == 0


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_anyio_run_takes_its_function(pair, use_uvloop):
    tx, rx = pair
    tx.send_nowait("m")
    assert anyio.run(rx.recv, backend_options={"use_uvloop": use_uvloop}) == "m"


async def test_an_anyio_cancel_scope_that_was_cancelled_takes_no_message(pair):
    tx, rx = pair
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        await rx.recv()
    await tx.send("m")
    assert await rx.recv() == "m"


# ------------------------------------------------------------------------------- what kind of thing


def test_it_is_a_coroutine_to_asyncio_and_to_collections_abc(pair):
    tx, rx = pair
    operations = [
        tx.send(1),
        tx.try_send(1),
        tx.send_batch([1]),
        tx.try_send_batch([1]),
        rx.recv(),
        rx.try_recv(),
        rx.recv_batch(1),
        rx.try_recv_batch(1),
        rx.__anext__(),
        rx.closed(),
        tx.stats(),
        select(rx),
        tx.__aenter__(),
        tx.close(),
    ]
    for operation in operations:
        assert isinstance(operation, collections.abc.Coroutine)
        assert isinstance(operation, collections.abc.Awaitable)
        assert asyncio.iscoroutine(operation)
        assert inspect.isawaitable(operation)
        operation.close()
    assert len(rx) == 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda tx, rx: tx.send(1), "LocalSender.send"),
        (lambda tx, rx: tx.try_send(1), "LocalSender.try_send"),
        (lambda tx, rx: tx.send_batch([1]), "LocalSender.send_batch"),
        (lambda tx, rx: tx.try_send_batch([1]), "LocalSender.try_send_batch"),
        (lambda tx, rx: rx.recv(), "LocalReceiver.recv"),
        (lambda tx, rx: rx.try_recv(), "LocalReceiver.try_recv"),
        (lambda tx, rx: rx.recv_batch(1), "LocalReceiver.recv_batch"),
        (lambda tx, rx: rx.try_recv_batch(1), "LocalReceiver.try_recv_batch"),
        (lambda tx, rx: rx.__anext__(), "LocalReceiver.__anext__"),
        (lambda tx, rx: select(rx), "select"),
        (lambda tx, rx: rx.closed(), "closed"),
        (lambda tx, rx: rx.stats(), "stats"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_forgotten_await_warns_with_its_name(pair, recorded_warnings, make, name):
    with recorded_warnings() as messages:
        make(*pair)
    assert messages == [f"RuntimeWarning: coroutine '{name}' was never awaited"]
    assert len(pair[1]) == 0


def test_one_that_was_begun_or_closed_does_not_warn(pair, recorded_warnings, drive):
    tx, rx = pair
    with recorded_warnings() as messages:
        tx.send(1).close()
        drive(tx.send(1))
        assert drive(rx.recv()) == 1
        with pytest.raises(ValueError, match="thrown"):
            rx.recv().throw(ValueError("thrown"))
        gc.collect()
    assert messages == []


def test_a_forgotten_one_in_a_cycle_warns_when_it_is_collected(recorded_warnings, no_leak):
    def leave_a_cycle() -> None:
        tx, rx = blocking_channel(1)
        message = []
        message.append(tx.send(message))
        rx.close()

    leave_a_cycle()
    with recorded_warnings() as messages:
        gc.collect()
    assert messages == ["RuntimeWarning: coroutine 'LocalSender.send' was never awaited"]
    no_leak()


def test_a_warning_that_is_an_error_is_reported_not_raised(pair, monkeypatch):
    reported = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: reported.append(args.exc_type))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair[1].recv()
    assert reported == [RuntimeWarning]


def test_it_cannot_be_made_copied_pickled_or_subclassed(pair):
    operation = pair[1].recv()
    kind = type(operation)
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        copy.copy(operation)
    with pytest.raises(TypeError):
        pickle.dumps(operation)
    with pytest.raises(TypeError):
        type("Sub", (kind,), {})
    operation.close()


async def test_repr_tells_its_state(pair):
    tx, rx = pair
    operation = rx.recv()
    assert repr(operation) == "<Operation LocalReceiver.recv, not awaited yet>"
    task = asyncio.ensure_future(operation)
    await asyncio.sleep(0)
    assert repr(operation) == "<Operation LocalReceiver.recv, waiting>"
    await tx.send(1)
    await task
    assert repr(operation) == "<Operation (over), done>"
    assert operation.__qualname__ == "Operation"


# --------------------------------------------------------------------------------- awaited once only


async def test_awaiting_twice_is_a_runtime_error(pair):
    tx, rx = pair
    await tx.send("m")
    operation = rx.recv()
    assert await operation == "m"
    with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
        await operation
    closing = tx.close()
    await closing
    with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
        await closing


async def test_awaiting_one_that_another_task_awaits_is_a_runtime_error_and_disturbs_nobody(pair):
    tx, rx = pair
    operation = rx.recv()

    async def wait() -> object:
        return await operation

    first = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="^coroutine is being awaited already$"):
        await wait()
    await tx.send("m")
    assert await first == "m"


async def test_nothing_happens_before_it_is_awaited(pair):
    tx, rx = pair
    sending = tx.send(1)
    assert len(rx) == 0
    receiving = rx.recv()
    await sending
    assert len(rx) == 1
    assert await receiving == 1
    late = tx.send(2)
    rx.close()
    with pytest.raises(ChannelClosedError):
        await late


# ------------------------------------------------------------------------------------ driven by hand


def test_a_ready_one_needs_no_event_loop(pair):
    tx, rx = pair
    with pytest.raises(StopIteration) as stop:
        tx.send("m").send(None)
    assert stop.value.value is None
    with pytest.raises(StopIteration) as stop:
        next(iter(rx.recv().__await__()))
    assert stop.value.value == "m"


@pytest.mark.parametrize(
    "value", [(), (1, 2), (1,), None, StopIteration(5), ValueError("x")], ids=repr
)
def test_the_result_is_one_value_also_when_it_is_a_tuple_or_an_exception(pair, value):
    tx, rx = pair
    tx.send_nowait(value)
    with pytest.raises(StopIteration) as stop:
        rx.recv().send(None)
    assert stop.value.value is value
    assert stop.value.args == (value,)


def test_one_that_has_to_wait_without_a_loop_is_a_clear_error(pair, long_s):
    tx, rx = pair
    message = r"LocalReceiver\.recv\(\) has to wait, but no asyncio event loop runs here.*not on trio.*blocking_ twin"
    for operation in (rx.recv(), rx.recv(timeout=long_s)):
        with pytest.raises(RuntimeError, match=message):
            operation.send(None)
        with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
            operation.send(None)
    with pytest.raises(RuntimeError, match=r"select\(\) has to wait"):
        select(rx).send(None)
    tx.send_nowait(1)
    with pytest.raises(RuntimeError, match=r"LocalSender\.send\(\) has to wait"):
        tx.send(2).send(None)
    assert repr(rx) == "<LocalReceiver 1/1, 1 receiver, 1 sender>"
    assert rx.recv_nowait() == 1


def test_trying_needs_no_loop_ever(pair, drive):
    tx, rx = pair
    assert drive(rx.try_recv()).is_err()
    with pytest.raises(RecvTimeoutError):
        drive(rx.recv(timeout=0))
    assert drive(tx.try_send(1)).is_ok()
    assert drive(tx.try_send(2)).is_err()


def test_its_first_value_must_be_none(pair):
    tx, rx = pair
    operation = tx.send("m")
    with pytest.raises(TypeError, match="^can't send non-None value to a just-started coroutine$"):
        operation.send(1)
    with pytest.raises(StopIteration):
        operation.send(None)
    assert len(rx) == 1


def test_what_is_thrown_in_comes_out_and_ends_it(pair):
    tx, rx = pair
    for arguments, kind in [
        ((ValueError("v"),), ValueError),
        ((ValueError,), ValueError),
        ((ValueError, "v"), ValueError),
        ((ValueError, ValueError("v"), None), ValueError),
        ((KeyboardInterrupt(),), KeyboardInterrupt),
        ((GeneratorExit,), GeneratorExit),
        ((StopIteration(1),), StopIteration),
    ]:
        operation = tx.send("m")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with pytest.raises(kind):
                operation.throw(*arguments)
        with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
            operation.send(None)
        with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
            operation.throw(ValueError)
    assert len(rx) == 0


def test_throwing_nonsense_is_a_type_error(pair):
    operation = pair[1].recv()
    for arguments in [(), (5,), ("x",), (int,), (ValueError, None, 5), (1, 2, 3, 4)]:
        with pytest.raises(TypeError):
            operation.throw(*arguments)
    operation.close()


async def test_a_waiting_one_can_be_driven_by_hand_in_a_loop(pair):
    tx, rx = pair
    operation = rx.recv()
    future = operation.send(None)
    assert asyncio.isfuture(future)
    assert not future.done()
    tx.send_nowait((1, 2))
    assert future.done()
    with pytest.raises(StopIteration) as stop:
        operation.send(None)
    assert stop.value.value == (1, 2)


async def test_closing_a_waiting_one_leaves_the_line(pair):
    tx, rx = pair
    operation = rx.recv()
    operation.send(None)
    assert (await rx.stats()).waiting_receivers == 1
    operation.close()
    assert (await rx.stats()).waiting_receivers == 0
    operation.close()
    tx.send_nowait("m")
    assert rx.recv_nowait() == "m"


async def test_closing_a_woken_one_hands_its_message_on(pair):
    tx, rx = pair
    operation = rx.recv()
    operation.send(None)
    next_one = asyncio.ensure_future(rx.recv())
    await asyncio.sleep(0)
    tx.send_nowait("m")
    operation.close()
    assert await next_one == "m"


async def test_throwing_into_a_woken_one_hands_its_message_on(pair):
    tx, rx = pair
    operation = rx.recv()
    operation.send(None)
    tx.send_nowait("m")
    with pytest.raises(ValueError, match="thrown"):
        operation.throw(ValueError("thrown"))
    assert rx.recv_nowait() == "m"


async def test_dropping_a_woken_one_hands_its_message_on(pair):
    tx, rx = pair
    operation = rx.recv()
    future = operation.send(None)
    tx.send_nowait("m")
    del operation, future
    gc.collect()
    assert rx.recv_nowait() == "m"


async def test_a_future_that_others_complete_does_not_end_the_wait(pair):
    """Somebody else completes the future that a task waits for: it waits on, for a new one."""
    tx, rx = pair
    operation = rx.recv()
    operation.send(None).set_result("not from the channel")
    future = operation.send(None)
    assert not future.done()
    tx.send_nowait("m")
    assert future.done()
    with pytest.raises(StopIteration) as stop:
        operation.send(None)
    assert stop.value.value == "m"


async def test_a_future_that_others_cancel_cancels_it(pair):
    tx, rx = pair
    operation = rx.recv()
    operation.send(None).cancel()
    tx.send_nowait("m")
    with pytest.raises(asyncio.CancelledError):
        operation.throw(asyncio.CancelledError())
    assert rx.recv_nowait() == "m"


async def test_anext_with_a_default_takes_it(pair):
    tx, rx = pair
    tx.send_nowait("m")
    assert await anext(rx, "the end") == "m"
    tx.close()
    assert await anext(rx, "the end") == "the end"
    with pytest.raises(StopAsyncIteration):
        await anext(rx)


async def test_what_its_await_method_gives_can_be_yielded_from(pair):
    tx, rx = pair

    class Received:
        def __await__(self):
            first = yield from rx.recv().__await__()
            second = yield from rx.recv().__await__()
            return first, second

    await tx.send(1)
    receiving = asyncio.ensure_future(awaited(Received()))
    await tx.send(2)
    assert await receiving == (1, 2)
    receiving = asyncio.ensure_future(awaited(Received()))
    await asyncio.sleep(0)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert (await rx.stats()).waiting_receivers == 0
    iterator = rx.recv().__await__()
    with pytest.raises(ValueError, match="thrown"):
        iterator.throw(ValueError("thrown"))
    iterator.close()
    with pytest.raises(RuntimeError, match=ALREADY_AWAITED):
        iterator.send(None)


async def awaited(awaitable):
    return await awaitable


async def test_a_forgotten_await_in_a_loop_is_a_type_error(pair, recorded_warnings):
    tx, rx = pair
    tx.send_nowait(1)
    with recorded_warnings():
        for use in (list, iter, tuple, tx.send_batch):
            with pytest.raises(TypeError, match="iterable"):
                use(rx.recv_batch(1))
    assert len(rx) == 1


async def test_used_in_an_async_generator_and_awaited_in_a_plain_awaitable(pair):
    tx, rx = pair

    async def doubled():
        async for message in rx:
            yield message * 2

    class Awaitable:
        def __await__(self):
            return tx.send(21).__await__()

    await Awaitable()
    generator = doubled()
    assert await anext(generator) == 42
    await generator.aclose()


async def test_many_ready_operations_in_a_row_do_not_overflow(pair):
    tx, rx = pair
    for n in range(200_000):
        await tx.send(n)
        assert await rx.recv() == n


# ------------------------------------------------------------------------------------------- memory


async def test_an_operation_holds_its_message_no_longer_than_it_must(pair):
    tx, rx = pair

    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    operation = tx.send(thing)
    del thing
    assert gone() is not None
    operation.close()
    assert gone() is None
    await tx.send(Thing())
    received = await rx.recv()
    gone = weakref.ref(received)
    del received
    assert gone() is None


async def test_a_cancelled_task_does_not_keep_the_handle(pair):
    tx, rx = blocking_channel(1)
    gone = weakref.ref(rx)
    task = asyncio.ensure_future(rx.recv())
    await asyncio.sleep(0)
    del rx
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    assert gone() is None
    assert tx.is_closed


async def test_operations_leave_nothing_behind(no_leak):
    tx, rx = blocking_channel(1)
    for n in range(300):
        receiving = asyncio.ensure_future(rx.recv())
        await asyncio.sleep(0)
        await tx.send(n)
        assert await receiving == n
        cancelled = asyncio.ensure_future(rx.recv(timeout=1000))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
    tx.close()
    del tx, rx, receiving, cancelled
    no_leak()
