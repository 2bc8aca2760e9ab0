"""select(): one of several receivers, and nothing is taken from the others."""

from __future__ import annotations

import asyncio
import gc

import anyio
import pytest

from klaw_core.runtime.channels import (
    ChannelClosedError,
    NoReceiversError,
    RecvTimeoutError,
    blocking_broadcast,
    blocking_channel,
    blocking_oneshot,
    blocking_select,
    blocking_watch,
    select,
    select_all,
)

KINDS = [select, blocking_select]


@pytest.fixture
def two():
    (tx, rx), (tx2, rx2) = blocking_channel(2), blocking_channel(2)
    yield tx, rx, tx2, rx2
    for handle in (tx, rx, tx2, rx2):
        handle.close()


async def test_it_takes_from_the_ready_one_and_leaves_the_others(two):
    tx, rx, tx2, rx2 = two
    tx2.send_nowait("m")
    assert await select(rx, rx2) == (1, "m")
    tx.send_nowait("a")
    tx2.send_nowait("b")
    index, value = await select(rx, rx2)
    assert (index, value) in ((0, "a"), (1, "b"))
    assert len(rx) + len(rx2) == 1


async def test_unbiased_it_serves_all_that_are_ready(two):
    tx, rx, tx2, rx2 = two
    counts = [0, 0]
    for _ in range(400):
        tx.send_nowait(0) if len(rx) == 0 else None
        tx2.send_nowait(1) if len(rx2) == 0 else None
        index, value = await select(rx, rx2)
        assert index == value
        counts[index] += 1
    assert min(counts) > 40  # of 200: less is less likely than one in 10 ** 60


async def test_biased_it_prefers_the_earlier_ones(two):
    tx, rx, tx2, rx2 = two
    for _ in range(50):
        tx.send_nowait("first")
        if len(rx2) == 0:
            tx2.send_nowait("second")
        assert await select(rx, rx2, biased=True) == (0, "first")
    assert await select(rx, rx2, biased=True) == (1, "second")


async def test_one_receiver_will_do_also_several_times_and_with_its_clone(two):
    tx, rx, _tx2, _rx2 = two
    tx.send_nowait(1)
    assert await select(rx) == (0, 1)
    waiting = asyncio.ensure_future(select(rx, rx, rx.clone()))
    await asyncio.sleep(0)
    tx.send_nowait(2)
    index, value = await waiting
    assert index in (0, 1, 2)
    assert value == 2
    assert (await rx.stats()).waiting_receivers == 0


async def test_many_receivers(two):
    channels = [blocking_channel(1) for _ in range(100)]
    receivers = [rx for _tx, rx in channels]
    waiting = asyncio.ensure_future(select(*receivers))
    await asyncio.sleep(0)
    channels[73][0].send_nowait("m")
    assert await waiting == (73, "m")
    for _tx, rx in channels:
        assert (await rx.stats()).waiting_receivers == 0


async def test_two_that_become_ready_in_one_turn_give_one_message(two):
    tx, rx, tx2, rx2 = two
    waiting = asyncio.ensure_future(select(rx, rx2))
    await asyncio.sleep(0)
    tx2.send_nowait("first to come")
    tx.send_nowait("stays")
    assert await waiting == (1, "first to come")
    assert (len(rx), len(rx2)) == (1, 0)


async def test_a_loser_that_would_have_been_granted_goes_to_the_next_in_line(two):
    tx, rx, tx2, rx2 = two
    selecting = asyncio.ensure_future(select(rx, rx2))
    await asyncio.sleep(0)
    next_one = asyncio.ensure_future(rx.recv())
    await asyncio.sleep(0)
    tx2.send_nowait("for the select")
    tx.send_nowait("for the next")
    assert await next_one == "for the next"
    assert await selecting == (1, "for the select")


async def test_a_closed_receiver_is_raised_with_its_index(two):
    tx, rx, tx2, rx2 = two
    tx2.close("broken")
    for biased in (False, True):
        with pytest.raises(ChannelClosedError, match="^broken$") as caught:
            await select(rx, rx2, biased=biased)
        assert (caught.value.index, caught.value.kind) == (1, "peer_died")
    tx.send_nowait("ready, and first")
    assert await select(rx, rx2, biased=True) == (0, "ready, and first")
    rx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await select(rx, biased=True)
    assert (caught.value.index, caught.value.kind) == (0, "handle_closed")


async def test_a_receiver_that_closes_while_it_waits_is_raised_with_its_index(two):
    tx, rx, _tx2, rx2 = two
    waiting = asyncio.ensure_future(select(rx, rx2))
    await asyncio.sleep(0)
    rx2.close()
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert (caught.value.index, caught.value.kind) == (1, "handle_closed")
    waiting = asyncio.ensure_future(select(rx))
    await asyncio.sleep(0)
    tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        await waiting
    assert (caught.value.index, caught.value.kind) == (0, "ended")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("timeout", [None, 0, 5.0])
def test_a_value_wins_over_an_end_of_whatever_flavour(kind, timeout, two, drive):
    tx, rx, _tx2, rx2 = two
    one = blocking_oneshot[str]()
    many = blocking_broadcast[str](2)
    latest = blocking_watch[str]("initial")
    ended = [one[1], many[1], latest[1]]
    for sender, _ in (one, many, latest):
        sender.close()
    for n in range(40):
        tx.send_nowait(n)
        selected = kind(*ended, rx, rx2, timeout=timeout)
        assert (selected if kind is blocking_select else drive(selected)) == (3, n)
    with pytest.raises(ChannelClosedError) as caught:
        drive(select(rx, *ended, rx2, timeout=timeout))
    assert caught.value.index in (1, 2, 3)


async def test_a_closed_receiver_is_drained_first(two):
    tx, rx, _tx2, rx2 = two
    tx.send_nowait("left")
    tx.close()
    assert await select(rx, rx2) == (0, "left")
    with pytest.raises(ChannelClosedError):
        await select(rx, rx2)


async def test_out_of_time_is_the_built_in_timeout_error(two):
    tx, rx, _tx2, rx2 = two
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError) as caught:
            await select(rx, rx2, timeout=timeout)
        assert type(caught.value) is TimeoutError
        assert not isinstance(caught.value, RecvTimeoutError)
    for receiver in (rx, rx2):
        assert (await receiver.stats()).waiting_receivers == 0
    tx.send_nowait("m")
    assert await select(rx, rx2, timeout=0) == (0, "m")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_without_receivers_it_is_an_error_at_the_call(kind):
    with pytest.raises(NoReceiversError):
        kind()
    with pytest.raises(NoReceiversError):
        kind(timeout=1, biased=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_something_else_than_a_receiver_is_a_type_error_at_the_call(kind, two):
    tx, rx, _tx2, _rx2 = two
    for other in (tx, None, 5, rx.recv, [rx], LookAlike()):
        with pytest.raises(TypeError, match=r"^select\(\) takes receivers of channels, not "):
            kind(rx, other)
    with pytest.raises(TypeError):
        kind(rx, timeut=5)


class LookAlike:
    async def recv(self) -> None: ...


async def test_it_can_be_cancelled_by_asyncio_and_anyio(two):
    tx, rx, tx2, rx2 = two
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(select(rx, rx2), 0.001)
    with anyio.move_on_after(0.001) as scope:
        await select(rx, rx2)
    assert scope.cancelled_caught
    async with asyncio.TaskGroup() as group:
        selecting = group.create_task(select(rx, rx2))
        group.create_task(tx2.send("m"))
    assert selecting.result() == (1, "m")
    assert len(rx) == 0
    tx.send_nowait(1)
    assert await select(rx, rx2) == (0, 1)


async def test_cancelled_after_its_wake_up_it_hands_on(two):
    _tx, rx, tx2, rx2 = two
    selecting = asyncio.ensure_future(select(rx, rx2))
    await asyncio.sleep(0)
    tx2.send_nowait("m")
    selecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await selecting
    assert rx2.recv_nowait() == "m"


async def test_it_keeps_its_receivers_open_until_it_is_done(two):
    tx, rx = blocking_channel(1)
    tx2, rx2 = blocking_channel(1)
    selecting = asyncio.ensure_future(select(rx, rx2))
    await asyncio.sleep(0)
    del rx, rx2
    gc.collect()
    assert not tx.is_closed
    tx2.send_nowait("m")
    assert await selecting == (1, "m")
    del selecting
    gc.collect()
    assert tx.is_closed


async def test_rendezvous_channels_meet_it():
    channels = [blocking_channel(0) for _ in range(3)]
    receivers = [rx for _tx, rx in channels]
    selecting = asyncio.ensure_future(select(*receivers))
    await asyncio.sleep(0)
    channels[2][0].send_nowait("m")
    assert await selecting == (2, "m")
    sending = asyncio.ensure_future(channels[1][0].send("n"))
    await asyncio.sleep(0)
    assert await select(*(rx for _tx, rx in channels)) == (1, "n")
    await sending


async def test_match_tells_the_branches_apart(two):
    tx, rx, _tx2, rx2 = two
    tx.send_nowait(5)
    match await select(rx, rx2):
        case (0, number):
            assert number == 5
        case (1, _):
            pytest.fail("the other one was empty")


def test_a_thread_selects_with_a_timeout(two):
    tx, rx, _tx2, rx2 = two
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError) as caught:
            blocking_select(rx, rx2, timeout=timeout)
        assert type(caught.value) is TimeoutError
    tx.send_nowait("m")
    assert blocking_select(rx, rx2, timeout=0) == (0, "m")
    tx.close()
    with pytest.raises(ChannelClosedError) as caught:
        blocking_select(rx, rx2)
    assert caught.value.index == 0


async def test_selects_of_several_tasks_are_served_in_order_of_arrival(two, until):
    tx, rx, tx2, rx2 = two
    waiting = []
    for n in range(4):
        waiting.append(asyncio.ensure_future(select(rx, rx2)))
        await until.receivers_wait(rx2, n + 1)
    tx.send_nowait("a")
    tx2.send_nowait("b")
    tx2.send_nowait("c")
    tx.send_nowait("d")
    assert await asyncio.gather(*waiting) == [(0, "a"), (1, "b"), (1, "c"), (0, "d")]


# -------------------------------------------------------------------------------------- select_all


async def test_all_are_received_until_the_last_has_ended(two):
    tx, rx, tx2, rx2 = two

    async def receive():
        return [pair async for pair in select_all(rx, rx2)]

    receiving = asyncio.ensure_future(receive())
    await tx2.send("a")
    await tx2.close()
    await asyncio.sleep(0)
    await tx.send(1)
    await tx.send(2)
    await tx.close()
    assert await receiving == [(1, "a"), (0, 1), (0, 2)]


def test_a_thread_receives_all(two):
    tx, rx, tx2, rx2 = two
    tx2.send_nowait("a")
    tx2.close()
    tx.send_nowait(1)
    tx.close()
    assert list(select_all(rx, rx2, biased=True)) == [(0, 1), (1, "a")]


async def test_an_end_that_is_not_orderly_names_its_receiver_and_the_rest_goes_on(two):
    tx, rx, tx2, rx2 = two
    tx.close()
    tx2.send_nowait("a")
    tx2.close("broken")
    both = select_all(rx, rx2)
    assert await anext(both) == (1, "a")
    with pytest.raises(ChannelClosedError, match="broken") as caught:
        await anext(both)
    assert caught.value.index == 1
    with pytest.raises(StopAsyncIteration):
        await anext(both)


async def test_a_cancelled_iteration_has_taken_nothing(two):
    tx, rx, _, rx2 = two
    both = select_all(rx, rx2)
    waiting = asyncio.ensure_future(anext(both))
    await asyncio.sleep(0)
    tx.send_nowait("m")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await anext(both) == (0, "m")


def test_select_all_of_nothing_is_an_error_at_the_call():
    with pytest.raises(NoReceiversError):
        select_all()


def test_select_all_of_something_else_than_a_receiver_is_an_error_at_the_call(two):
    tx, rx, _tx2, _rx2 = two
    with pytest.raises(TypeError, match=r"^select\(\) takes receivers of channels, not "):
        select_all(rx, tx)


@pytest.fixture
def a_great_many():
    """Receivers of channels that have ended, each with its number to give. In quadratic time they take minutes."""
    channels = [blocking_channel(1) for _ in range(30_000)]
    for n, (tx, _rx) in enumerate(channels):
        tx.send_nowait(n)
        tx.close()
    return [rx for _tx, rx in channels]


@pytest.mark.parametrize("biased", [False, True])
async def test_a_great_many_receivers_are_drained_in_linear_time(a_great_many, biased):
    received = [pair async for pair in select_all(*a_great_many, biased=biased)]
    assert sorted(received) == [(n, n) for n in range(len(a_great_many))]


@pytest.mark.parametrize("biased", [False, True])
def test_a_thread_drains_a_great_many_receivers_in_linear_time(a_great_many, biased):
    received = list(select_all(*a_great_many, biased=biased))
    assert sorted(received) == [(n, n) for n in range(len(a_great_many))]
