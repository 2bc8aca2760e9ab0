"""``klaw`` against the cluster: every command as a process of its own, the corners within this one."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from klaw_core.runtime.channels import (
    blocking_channel,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_receiver_from_ticket,
    blocking_sender_from_ticket,
    delete_channel,
    list_channels,
)
from klaw_core.runtime.channels.command.app import app

pytestmark = pytest.mark.ray

KLAW = str(Path(sys.executable).with_name("klaw"))
# A shell has its background jobs ignore SIGINT, and their children inherit that.
INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
LONG_S = 60.0


@pytest.fixture
def namespace(ray_cluster: Any) -> Iterator[str]:
    """One of this test's own; its channels are deleted afterwards."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    yield chosen
    for name in list_channels(namespace=chosen):
        delete_channel(name, namespace=chosen)


@pytest.fixture
def make(namespace: str) -> Callable[..., Any]:
    def make(name: str, capacity: int = 8, **settings: Any) -> Any:
        return blocking_channel(capacity, backend="ray", name=name, namespace=namespace, **settings)

    return make


class Command:
    """Runs ``klaw`` in a namespace: by itself in this process, which is much quicker, or as one of its own."""

    def __init__(self, namespace: str, environment: dict[str, str]) -> None:
        self._options = ["--namespace", namespace]
        self.environment = environment
        self.started: list[subprocess.Popen[str]] = []

    def __call__(
        self, command: str, *arguments: str, status: int = 0, stdin: str = "", says: str = ""
    ) -> str:
        """Its output. It says nothing on stderr, but for one line that begins so."""
        done = CliRunner().invoke(app, [command, *self._options, *arguments], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return ended(done.exit_code, done.stdout, done.stderr, status, says)

    def process(
        self, command: str, *arguments: str, status: int = 0, stdin: str = "", says: str = ""
    ) -> str:
        """As calling it."""
        done = subprocess.run(
            [KLAW, command, *self._options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
            env=self.environment,
        )
        return ended(done.returncode, done.stdout, done.stderr, status, says)

    def start(self, command: str, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, KLAW, command, *self._options, *arguments],
            **({"stderr": subprocess.PIPE, "stdout": subprocess.PIPE} | streams),
            text=True,
            env=self.environment,
        )
        self.started.append(started)
        return started


def ended(found: int, out: str, err: str, status: int, says: str) -> str:
    assert found == status, err
    assert err.startswith(says)
    assert err.count("\n") == bool(says), err
    return out


@pytest.fixture
def klaw(namespace: str, child_environment: dict[str, str]) -> Iterator[Command]:
    command = Command(namespace, child_environment)
    yield command
    for started in command.started:
        started.kill()
        with started:  # its streams
            pass


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def receivers_wait(name: str, namespace: str, count: int) -> bool:
    stats = blocking_channel_stats(name, namespace=namespace)
    return stats is not None and stats.waiting_receivers == count


# ------------------------------------------------------------------------------------------- looking


def test_list_has_a_name_to_a_line(klaw: Command, make: Callable[..., Any]):
    assert klaw("list", says="klaw: namespace 'test-") == ""
    handles = make("two"), make("one")
    assert klaw.process("list") == "one\ntwo\n"
    assert json.loads(klaw("list", "--json")) == ["one", "two"]
    del handles


def test_stats_are_those_of_the_channel(klaw: Command, namespace: str, make: Callable[..., Any]):
    tx, rx = make("jobs", 4)
    tx.blocking_send_batch([1, 2, 3])
    assert rx.blocking_recv() == 1
    found = json.loads(klaw.process("stats", "jobs", "--json"))
    stats = blocking_channel_stats("jobs", namespace=namespace)
    for figure in ("queue_size", "capacity", "total_sent", "total_received", "created_at"):
        assert found[figure] == getattr(stats, figure), figure
    assert (found["name"], found["namespace"]) == ("jobs", namespace)
    assert (found["sender_count"], found["receiver_count"]) == (1, 1)
    table = dict(line.split(None, 1) for line in klaw("stats", "jobs").splitlines())
    assert table["queued"].strip() == "2 of 4"


def test_top_is_one_frame_where_stdout_is_no_terminal(klaw: Command, make: Callable[..., Any]):
    tx, _rx = make("jobs", 4)
    tx.blocking_send(1)
    for output in (klaw.process("top"), klaw("top", "--once")):
        head, row = output.splitlines()
        assert head.split()[:3] == ["CHANNEL", "QUEUED", "CAPACITY"]
        assert row.split()[:3] == ["jobs", "1", "4"]


def test_top_goes_on_in_a_terminal_until_it_is_interrupted(
    klaw: Command, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    handles = make("jobs", 4)
    ours, its = pty.openpty()
    monkeypatch.setitem(klaw.environment, "TERM", "xterm")
    top = klaw.start("top", "--interval", "0.1", stdin=its, stdout=its)
    os.close(its)
    try:
        read_until(ours, b"jobs")
        handles[0].blocking_send_batch(["a", "b", "c"])
        read_until(ours, b" 3 ")  # queued: a later frame
        top.send_signal(signal.SIGINT)
        assert top.wait(LONG_S) == 0
        assert top.stderr is not None
        assert top.stderr.read() == ""
    finally:
        os.close(ours)


def read_until(terminal: int, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], LONG_S)
        assert ready, f"never showed {wanted!r}: {seen!r}"
        with suppress(OSError):  # its end, which the next select tells
            seen += os.read(terminal, 65536)


# ------------------------------------------------------------------------------------------- sending


def test_send_takes_json_from_its_arguments(klaw: Command, make: Callable[..., Any]):
    tx, rx = make("jobs")
    klaw.process("send", "jobs", "1", '"two"', '{"three": [3.5, null]}')
    assert rx.blocking_recv_batch(8, LONG_S) == [1, "two", {"three": [3.5, None]}]
    tx.blocking_close()
    klaw("send", "jobs", "1", status=5, says="klaw: channel 'jobs' is closed")


def test_send_takes_lines_from_stdin(klaw: Command, make: Callable[..., Any]):
    _tx, rx = make("jobs")
    klaw.process("send", "jobs", "-", stdin="1\n\n[2]\n")
    klaw("send", "jobs", "-", stdin="3\nx\n4\n", status=2, says="klaw: line 2 is not JSON")
    assert [rx.blocking_recv(LONG_S) for _ in range(3)] == [1, [2], 3]


def test_send_tells_how_many_it_sent_when_there_is_no_room(klaw: Command, make: Callable[..., Any]):
    _tx, rx = make("jobs", 2)
    says = (
        "klaw: channel 'jobs': send timed out after 0.2 s: Channel full (capacity=2); 2 sent before"
    )
    klaw.process("send", "jobs", "1", "2", "3", "--timeout", "0.2", status=6, says=says)
    assert rx.blocking_recv_batch(8, LONG_S) == [1, 2]


def test_send_waits_for_the_channel_to_appear(klaw: Command, make: Callable[..., Any]):
    sending = klaw.start("send", "later", "1", "--wait", str(LONG_S))
    _tx, rx = make("later")
    assert rx.blocking_recv(LONG_S) == 1
    assert sending.communicate(timeout=LONG_S) == ("", "")


@pytest.mark.parametrize("verb", ["send", "recv"])
def test_it_waits_until_the_handles_of_the_maker_count(
    klaw: Command, ray: Any, namespace: str, monkeypatch: pytest.MonkeyPatch, verb: str
):
    """The channel is there before they are, and is not to end with this command."""
    from klaw_core.runtime.channels.ray import RayChannelActor

    options = {"name": "channel_young", "namespace": namespace, "lifetime": "detached"}
    young = RayChannelActor.options(**options).remote(8, name="young", namespace=namespace)
    assert ray.get(young.put.remote(1)) == "ok"
    handles: list[Any] = []

    def looked(name: str, **where: Any) -> Any:
        stats = blocking_channel_stats(name, **where)
        if not handles:
            handles.extend(blocking_get_channel(name, **where) or ())
        return stats

    monkeypatch.setattr("klaw_core.runtime.channels.command.app.blocking_channel_stats", looked)
    assert klaw(verb, "young", *(["2"] if verb == "send" else []), "--wait", str(LONG_S)) in (
        "",
        "1\n",
    )
    assert (handles[0].is_closed, handles[1].is_closed) == (False, False)


# ----------------------------------------------------------------------------------------- receiving


def test_recv_takes_as_many_as_it_is_asked_for(klaw: Command, make: Callable[..., Any]):
    tx, rx = make("jobs")
    tx.blocking_send_batch([1, {"a": b"\0"}, "three"])
    assert klaw.process("recv", "jobs") == "1\n"
    assert klaw("recv", "jobs", "--count", "1") == '{"a": "b\'\\\\x00\'"}\n'
    timed_out = "klaw: channel 'jobs': receive timed out after 0.2 s"
    out = klaw("recv", "jobs", "--count", "2", "--timeout", "0.2", status=6, says=timed_out)
    assert out == '"three"\n'
    assert (rx.is_closed, tx.is_closed) == (False, False)


def test_recv_follows_until_the_channel_ends(klaw: Command, make: Callable[..., Any]):
    tx, _rx = make("jobs")
    following = klaw.start("recv", "jobs", "--follow")
    for number in range(20):
        tx.blocking_send(number, LONG_S)
    tx.blocking_close()
    out, err = following.communicate(timeout=LONG_S)
    assert out.split() == [str(number) for number in range(20)]
    assert (following.returncode, err) == (0, "")


def test_recv_that_waits_for_more_than_come_says_so(klaw: Command, make: Callable[..., Any]):
    tx, _rx = make("jobs")
    tx.blocking_send(1)
    tx.blocking_close()
    says = "klaw: channel 'jobs' is closed"
    assert klaw("recv", "jobs", "--count", "2", status=5, says=says) == "1\n"


def test_a_message_that_could_not_be_printed_comes_again(klaw: Command, make: Callable[..., Any]):
    tx, rx = make("jobs")
    tx.blocking_send_batch([1, 2, 3])
    reads, writes = os.pipe()
    os.close(reads)
    receiving = klaw.start("recv", "jobs", "--follow", stdout=writes)
    os.close(writes)
    _, err = receiving.communicate(timeout=LONG_S)
    assert (receiving.returncode, err) == (1, "")
    again = [rx.blocking_recv_acked(LONG_S) for _ in range(3)]
    assert sorted(delivery.value for delivery in again) == [1, 2, 3]
    assert [delivery.value for delivery in again if delivery.redelivered] == [1]


def test_an_interrupted_recv_takes_nothing(klaw: Command, namespace: str, make: Callable[..., Any]):
    tx, rx = make("jobs")
    receiving = klaw.start("recv", "jobs", "--follow")
    wait_until(lambda: receivers_wait("jobs", namespace, 1))
    receiving.send_signal(signal.SIGINT)
    out, err = receiving.communicate(timeout=LONG_S)
    assert (receiving.returncode, out, err) == (130, "", "klaw: interrupted; 0 received before\n")
    tx.blocking_send(1)
    assert rx.blocking_recv(LONG_S) == 1


class Ours:
    """A class that the command cannot import."""


def test_a_message_that_cannot_be_read_is_told(klaw: Command, make: Callable[..., Any]):
    tx, _rx = make("jobs")
    tx.blocking_send_batch([Ours(), 2])
    says = "klaw: a message can't be read here, and is done with: ModuleNotFoundError"
    klaw.process("recv", "jobs", status=1, says=says)
    assert klaw("recv", "jobs") == "2\n"


# ------------------------------------------------------------------------------------- ending, and errors


def test_peek_leaves_what_it_shows(klaw: Command, make: Callable[..., Any]):
    tx, rx = make("jobs")
    assert klaw("peek", "jobs") == ""
    tx.blocking_send_batch([1, {"a": None}, 3])
    assert klaw.process("peek", "jobs", "--count", "2") == '1\n{"a": null}\n'
    assert klaw("peek", "jobs") == "1\n"
    assert rx.blocking_recv_batch(8, LONG_S) == [1, {"a": None}, 3]


def test_ticket_prints_what_makes_a_handle_after_the_command_has_ended(
    klaw: Command, make: Callable[..., Any]
):
    tx, rx = make("jobs")
    tickets = [klaw.process("ticket", "jobs", side).strip() for side in ("--sender", "--receiver")]
    tx.blocking_close()
    with blocking_receiver_from_ticket(tickets[1]) as receiver:
        rx.blocking_close()
        with blocking_sender_from_ticket(tickets[0]) as sender:
            sender.blocking_send("by ticket")
        assert list(receiver) == ["by ticket"]


def test_ticket_wants_one_side_and_a_channel_that_has_tickets(
    klaw: Command, make: Callable[..., Any]
):
    handles = make("jobs"), make("images", reference=True)
    for sides in [], ["--sender", "--receiver"]:
        klaw("ticket", "jobs", *sides, status=2, says="klaw: say for which side")
    klaw("ticket", "images", "--sender", status=1, says="klaw: no ticket for 'RayReferenceSender'")
    klaw("ticket", "other", "--sender", status=4, says="klaw: there is no channel 'other'")
    del handles


def test_delete_ends_those_that_wait(klaw: Command, namespace: str, make: Callable[..., Any]):
    handles = make("jobs")
    receiving = klaw.start("recv", "jobs")
    wait_until(lambda: receivers_wait("jobs", namespace, 1))
    assert klaw.process("delete", "jobs") == ""
    _, err = receiving.communicate(timeout=LONG_S)
    assert receiving.returncode == 5
    assert err.startswith("klaw: channel 'jobs' is closed (it was deleted); ")
    assert klaw("list", says="klaw: namespace") == ""
    klaw("delete", "jobs", status=4, says="klaw: there is no channel 'jobs'")
    del handles


@pytest.mark.parametrize(
    "command", [["stats"], ["peek"], ["send", "1"], ["recv"], ["delete"], ["ticket", "--sender"]]
)
def test_a_channel_of_another_namespace_is_not_found(
    klaw: Command, make: Callable[..., Any], command: list[str]
):
    handles = make("jobs")
    verb, *rest = command
    says = "klaw: there is no channel 'jobs' in namespace 'elsewhere': `klaw list` names"
    klaw(verb, "jobs", *rest, "--namespace", "elsewhere", status=4, says=says)
    del handles


def test_supervisor_starts_one_and_leaves_one_that_runs(klaw: Command, ray: Any, namespace: str):
    klaw("supervisor")
    started = ray.get_actor("klaw_supervisor", namespace=namespace)
    klaw("supervisor")
    assert ray.get_actor("klaw_supervisor", namespace=namespace)._actor_id == started._actor_id
    ray.kill(started)


def test_without_a_cluster_it_says_how_to_find_one(klaw: Command):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    says = "klaw: no Ray cluster: give --address or RAY_ADDRESS, or start one"
    for command in (["list"], ["send", "jobs", "1"]):
        klaw.process(*command, "--address", f"127.0.0.1:{port}", status=3, says=says)


def test_it_refuses_to_end_a_channel_that_nobody_else_has(klaw: Command, ray: Any, namespace: str):
    from klaw_core.runtime.channels.ray import RayChannelActor

    options = {"name": "channel_lone", "namespace": namespace, "lifetime": "detached"}
    actor = RayChannelActor.options(**options).remote(8, name="lone", namespace=namespace)
    assert ray.get(actor.put.remote(1)) == "ok"
    klaw("send", "lone", "2", status=8, says="klaw: it has no other sender")
    klaw("recv", "lone", status=8, says="klaw: it has no other receiver")
    klaw("send", "lone", "2", "--alone")
    assert klaw("recv", "lone", "--alone", "--follow") == "1\n2\n"
    klaw("recv", "lone", status=5, says="klaw: channel 'lone' is closed")


def test_a_persistent_channel_needs_nobody_else(klaw: Command, make: Callable[..., Any]):
    for handle in make("kept", persistent=True):
        handle.blocking_close()
    klaw("send", "kept", "1", "2")
    assert klaw("recv", "kept") == "1\n"
    assert klaw("recv", "kept") == "2\n"
