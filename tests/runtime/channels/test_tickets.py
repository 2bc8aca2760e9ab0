"""Tickets: a process that knows a channel by a text joins it. The channel is in a process of its own, without Ray."""

from __future__ import annotations

import ast
import asyncio
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    ChannelReceiver,
    ChannelSender,
    blocking_broadcast,
    blocking_channel,
    blocking_oneshot,
    blocking_receiver_from_ticket,
    blocking_sender_from_ticket,
    blocking_watch,
    receiver_from_ticket,
    select,
    sender_from_ticket,
)

# Evaluates the expressions that it is asked.
MAKER = """
import os, sys, threading, time
from klaw_core import _core
from klaw_core.runtime.channels.settings import ChannelSettings

kind, way, folder = sys.argv[1:]
HANDLES = {
    "mpmc": (_core.RemoteSender, _core.RemoteReceiver),
    "oneshot": (_core.RemoteOneshotSender, _core.RemoteOneshotReceiver),
    "broadcast": (_core.RemoteBroadcastSender, _core.RemoteBroadcastReceiver),
    "watch": (_core.RemoteWatchSender, _core.RemoteWatchReceiver),
}
identity, secret = os.urandom(16), os.urandom(32)
path = folder + "/socket" if way == "unix" else ""
server = _core.BrokerServer(
    ChannelSettings(capacity=8, kind=kind, orphan_grace=0.0), initial=_core.encode("initial"), epoch=1, created_at=0.0,
    channel=identity, secret=secret, unix_path=path, hosts=["127.0.0.1"] if way == "tcp" else [],
    port_min=0, port_max=0,
)

def answer():
    while True:
        lookup, key = _core.next_lookup(-1)
        _core.answer_lookup(lookup, identity, secret, path, server.addresses)

threading.Thread(target=answer, daemon=True).start()
channel = _core.RemoteChannel("0123/" + kind, 8, "channel_jobs", "klaw", node="", prefetch=0, kind=kind)
tx, rx = (handle(channel) for handle in HANDLES[kind])
for handle in tx, rx:
    handle._open()
    handle._wait_until_opened(20)
print(repr(path or server.addresses[0]), flush=True)
for line in sys.stdin:
    try:
        answered = eval(line)
    except Exception as error:
        answered = f"{type(error).__name__}: {error}"
    print(repr(answered), flush=True)
"""

USER = """
import sys
from klaw_core.runtime.channels import blocking_receiver_from_ticket, blocking_sender_from_ticket

def without_ray():
    assert not [name for name in sys.modules if name == "ray" or name.startswith("ray.")], "Ray was loaded"
"""


class Process:
    def __init__(self, code: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip

    def said(self) -> Any:
        return ast.literal_eval(self.process.stdout.readline().strip())

    def ask(self, expression: str) -> Any:
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.said()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def started() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(code: str, *arguments: str, **options: Any) -> Process:
        processes.append(Process(code, *arguments, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def folder() -> Iterator[str]:
    """For sockets: the names of pytest's own folders are too long."""
    with tempfile.TemporaryDirectory(prefix="klaw-") as name:
        yield name


@pytest.fixture
def make(folder, started) -> Callable[..., Process]:
    """A process with a channel, and a handle of each side: ``tx`` and ``rx``."""

    def make(kind: str = "mpmc", way: str = "unix") -> Process:
        maker = started(MAKER, kind, way, tempfile.mkdtemp(dir=folder))
        maker.address = maker.said()
        return maker

    return make


# ---------------------------------------------------------------------------------------- joining


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_both_sides_join_by_a_ticket(make, way, until):
    maker = make(way=way)
    tx = await sender_from_ticket(maker.ask("tx.ticket()"))
    rx = await receiver_from_ticket(maker.ask("rx.ticket()"))
    assert isinstance(tx, ChannelSender)
    assert isinstance(rx, ChannelReceiver)
    async with tx, rx:
        maker.ask("rx.blocking_close()")
        await tx.send({"by": "ticket"})
        assert await rx.recv() == {"by": "ticket"}
        maker.ask("tx.blocking_close()")
        await until.true(
            lambda: (
                maker.ask("server.stats().sender_count, server.stats().receiver_count") == (1, 1)
            )
        )


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_both_sides_join_by_a_ticket_blocking(make, way):
    maker = make(way=way)
    with (
        blocking_sender_from_ticket(maker.ask("tx.ticket()")) as tx,
        blocking_receiver_from_ticket(maker.ask("rx.ticket()")) as rx,
    ):
        maker.ask("rx.blocking_close()")
        tx.blocking_send(b"by ticket")
        assert rx.blocking_recv() == b"by ticket"


async def test_a_oneshot_joins_by_tickets(make):
    maker = make("oneshot")
    tx: Any = await sender_from_ticket(maker.ask("tx.ticket()"))
    rx: Any = await receiver_from_ticket(maker.ask("rx.ticket()"))
    await tx.send("once")
    assert await rx.recv() == "once"
    tx.close()
    rx.close()


async def test_a_broadcasts_receiver_gets_what_is_sent_from_its_tickets_making_on(make):
    maker = make("broadcast")
    maker.ask("tx.blocking_send('before')")
    text = maker.ask("rx.ticket()")
    maker.ask("tx.blocking_send('meanwhile')")
    rx: Any = await receiver_from_ticket(text)
    tx: Any = await sender_from_ticket(maker.ask("tx.ticket()"))
    await tx.send("after")
    assert [await rx.recv(), await rx.recv()] == ["meanwhile", "after"]
    for handle in tx, rx, rx.resubscribe():
        handle.close()


async def test_a_watch_joins_by_tickets(make):
    maker = make("watch")
    rx: Any = await receiver_from_ticket(maker.ask("rx.ticket()"))
    tx: Any = await sender_from_ticket(maker.ask("tx.ticket()"))
    assert rx.borrow() == tx.borrow() == "initial"
    await tx.send("newer")
    assert await rx.wait_for(lambda value: value == "newer") == "newer"
    tx.close()
    rx.close()


async def test_values_that_are_pickled_travel(make):
    maker = make()
    tx = await sender_from_ticket(maker.ask("tx.ticket()"))
    rx = await receiver_from_ticket(maker.ask("rx.ticket()"))
    maker.ask("rx.blocking_close()")
    values = [{1, 2}, ValueError("why"), bytearray(100_000)]
    for value in values:
        await tx.send(value)
    received = [await rx.recv() for _ in values]
    assert (received[0], received[2]) == (values[0], values[2])
    assert repr(received[1]) == repr(values[1])
    tx.close()
    rx.close()


async def test_select_takes_a_receiver_from_a_ticket_beside_a_local_one(make):
    maker = make()
    rx = await receiver_from_ticket(maker.ask("rx.ticket()"), prefetch=0)
    maker.ask("rx.blocking_close()")
    local_tx, local_rx = blocking_channel(1)
    maker.ask("tx.blocking_send('remote')")
    assert await select(local_rx, rx) == (1, "remote")
    for handle in rx, local_tx, local_rx:
        handle.close()


async def test_a_handle_from_a_ticket_is_cloned_and_gives_tickets_itself(make):
    maker = make()
    first = await sender_from_ticket(maker.ask("tx.ticket()"))
    clone = first.clone()
    second = await sender_from_ticket(clone.ticket())
    await second.send("a ticket's ticket")
    await clone.send("a clone")
    assert maker.ask("[rx.blocking_recv(), rx.blocking_recv()]") == ["a ticket's ticket", "a clone"]
    assert first.same_channel(second)
    for handle in first, clone, second:
        handle.close()


def test_a_process_without_ray_joins_by_a_ticket(make, started):
    maker = make()
    user = started(
        USER
        + """
with blocking_sender_from_ticket(sys.argv[1]) as tx, blocking_receiver_from_ticket(sys.argv[2]) as rx:
    tx.blocking_send("from without")
    without_ray()
    print(repr(rx.blocking_recv()), flush=True)
""",
        maker.ask("tx.ticket()"),
        maker.ask("rx.ticket()"),
    )
    maker.ask("rx.blocking_close()")
    assert user.said() == "from without"
    assert user.process.wait(timeout=20) == 0


# ----------------------------------------------------------------------------------------- counting


async def test_a_ticket_counts_from_the_time_that_it_is_made(make, until):
    maker = make()
    text = maker.ask("tx.ticket()")
    assert maker.ask("server.stats().sender_count") == 2
    maker.ask("tx.blocking_close()")
    tx = await sender_from_ticket(text)
    await until.true(lambda: maker.ask("server.stats().sender_count") == 1)
    await tx.close()
    assert "closed" in maker.ask("rx.blocking_recv()").lower()


def test_a_user_that_is_killed_releases_its_handle(make, started, until):
    maker = make()
    user = started(
        USER
        + """
tx = blocking_sender_from_ticket(sys.argv[1])
print(repr("ready"), flush=True)
sys.stdin.read()
""",
        maker.ask("tx.ticket()"),
    )
    assert user.said() == "ready"
    assert maker.ask("server.stats().sender_count") == 2
    user.kill()
    until.true_in_thread(lambda: maker.ask("server.stats().sender_count") == 1)


def test_a_user_that_ends_closes_what_it_has(make, started, until):
    maker = make()
    user = started(
        USER + "tx = blocking_sender_from_ticket(sys.argv[1])\ntx.blocking_send('last')\n",
        maker.ask("tx.ticket()"),
    )
    assert user.process.wait(timeout=20) == 0
    assert maker.ask("rx.blocking_recv()") == "last"
    until.true_in_thread(lambda: maker.ask("server.stats().sender_count") == 1)


# ------------------------------------------------------------------------------------------ errors


async def test_a_ticket_is_used_once(make, until):
    maker = make()
    text = maker.ask("tx.ticket()")
    tx = await sender_from_ticket(text)
    for _ in range(2):
        with pytest.raises(ChannelBackendErrorException, match="this ticket was used before"):
            await sender_from_ticket(text)
    await tx.close()
    with pytest.raises(ChannelBackendErrorException, match="this ticket was used before"):
        await sender_from_ticket(text)
    await until.true(lambda: maker.ask("server.stats().sender_count") == 1)


def test_an_error_names_the_channel(make):
    maker = make()
    text = maker.ask("tx.ticket()")
    blocking_sender_from_ticket(text).blocking_close()
    with pytest.raises(ChannelBackendErrorException) as caught:
        blocking_sender_from_ticket(text)
    assert (caught.value.actor_name, caught.value.namespace) == ("channel_jobs", "klaw")


async def test_a_ticket_for_the_other_side_stays_unused(make):
    maker = make()
    text = maker.ask("rx.ticket()")
    with pytest.raises(ValueError, match=r"for a receiver: use receiver_from_ticket\(\)"):
        await sender_from_ticket(text)
    with pytest.raises(ValueError, match=r"for a sender: use sender_from_ticket\(\)"):
        await receiver_from_ticket(maker.ask("tx.ticket()"))
    await (await receiver_from_ticket(text)).close()


async def test_a_text_that_is_no_ticket_is_told_from_one_that_is_damaged(make):
    text = make().ask("tx.ticket()")
    for other in ("", "jobs", "klaw"):
        with pytest.raises(ValueError, match="not a ticket"):
            await sender_from_ticket(other)
    for damaged in (text[:-1], text[:40], text.swapcase().replace("KLAW1-", "klaw1-"), text + "A"):
        with pytest.raises(ValueError, match="cut off or changed"):
            await sender_from_ticket(damaged)
    with pytest.raises(ValueError, match="a form that this version of klaw does not know"):
        await sender_from_ticket(text.replace("klaw1-", "klaw2-"))
    wrong: Any = b"klaw1-"
    with pytest.raises(TypeError, match="text"):
        await sender_from_ticket(wrong)


async def test_the_ticket_of_a_closed_handle_is_an_error(make):
    tx = await sender_from_ticket(make().ask("tx.ticket()"))
    await tx.close()
    with pytest.raises(ChannelClosedError):
        tx.ticket()


@pytest.mark.parametrize("way", ["unix", "tcp"])
@pytest.mark.timeout(90)
async def test_a_broker_that_is_gone_is_named_with_its_address_and_what_is_missing(make, way):
    maker = make(way=way)
    text = maker.ask("tx.ticket()")
    tx = await sender_from_ticket(maker.ask("tx.ticket()"))
    maker.kill()
    errors = await asyncio.gather(
        tx.send("into the void"), sender_from_ticket(text), return_exceptions=True
    )
    for error in errors:
        assert isinstance(error, ChannelBackendErrorException)
        assert maker.address in str(error)
        assert "came by a ticket" in str(error)
    tx.close()


async def test_what_a_handle_from_a_ticket_can_not_do_says_why(make):
    tx = await sender_from_ticket(make().ask("tx.ticket()"))
    with pytest.raises(TypeError, match="came by a ticket; give the other process a ticket"):
        pickle.dumps(tx)
    with pytest.raises(ChannelBackendErrorException, match="no statistics"):
        await tx.stats()
    tx.close()
    for kind in ("broadcast", "watch"):
        sender: Any = await sender_from_ticket(make(kind).ask("tx.ticket()"))
        with pytest.raises(ChannelBackendErrorException, match="gives no receiver"):
            sender.subscribe()
        sender.close()


def test_a_forked_child_can_not_use_its_parents_ticket(make, started):
    maker = make()
    user = started(
        USER
        + """
import os
tx = blocking_sender_from_ticket(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        tx.blocking_send("from the child")
    except Exception as error:
        print(repr(str(error)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
tx.blocking_send("from the parent")
print(repr("sent"), flush=True)
""",
        maker.ask("tx.ticket()"),
    )
    assert "this ticket was used before" in user.said()
    assert user.said() == "sent"
    assert maker.ask("rx.blocking_recv()") == "from the parent"


async def test_the_blocking_twins_refuse_an_event_loop(make):
    maker = make()
    with pytest.raises(RuntimeError, match="await sender_from_ticket"):
        blocking_sender_from_ticket(maker.ask("tx.ticket()"))
    with pytest.raises(RuntimeError, match="await receiver_from_ticket"):
        blocking_receiver_from_ticket(maker.ask("rx.ticket()"))


def test_a_local_handle_has_no_ticket():
    for pair in (blocking_channel(1), blocking_oneshot(), blocking_broadcast(), blocking_watch(0)):
        for handle in pair:
            with pytest.raises(TypeError, match="a local channel lives in one process"):
                handle.ticket()
            handle.close()


def test_a_cancelled_joining_closes_its_handle(make, until):
    maker = make()
    text = maker.ask("tx.ticket()")
    maker.process.send_signal(signal.SIGSTOP)  # no answer comes meanwhile
    os.waitpid(maker.process.pid, os.WUNTRACED)  # each of its threads has stopped

    async def cancel() -> None:
        task = asyncio.ensure_future(sender_from_ticket(text))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    maker.process.send_signal(signal.SIGCONT)
    until.true_in_thread(lambda: maker.ask("server.stats().sender_count") == 1)


def test_tls_that_the_channel_wants_and_this_process_lacks_is_named(monkeypatch):
    from klaw_core.runtime.channels import tickets

    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with pytest.raises(RuntimeError, match="set RAY_USE_TLS=1"):
        tickets._tls_for("")
    assert tickets._tls_for(os.fspath(__file__)) is None
