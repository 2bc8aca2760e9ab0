"""Channels of another process, over sockets, without Ray: a server process with brokers and a client process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

COMMON = """
import os, pickle, resource, sys, threading, time
from klaw_core import _core
from klaw_core.runtime.channels.settings import ChannelSettings

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
"""

SERVER = (
    COMMON
    + """
count = int(sys.argv[1])
endpoints, servers = [], []
for n in range(count):
    identity, secret = os.urandom(16), os.urandom(32)
    server = _core.BrokerServer(
        ChannelSettings(capacity=8, orphan_grace=0.0), epoch=1, created_at=0.0, channel=identity, secret=secret,
        unix_path="", hosts=["127.0.0.1"], port_min=0, port_max=0,
    )
    servers.append(server)
    endpoints.append((identity, secret, "", server.addresses))
sys.stdout.buffer.write(pickle.dumps(endpoints).hex().encode() + b"\\n")
sys.stdout.buffer.flush()
for line in sys.stdin:
    print(sum(server.stats().total_received for server in servers), flush=True)
"""
)

CLIENT = (
    COMMON
    + """
endpoints = pickle.loads(bytes.fromhex(sys.stdin.readline()))

def answer():
    while True:
        lookup, key = _core.next_lookup(-1)
        _core.answer_lookup(lookup, *endpoints[int(key)])

threading.Thread(target=answer, daemon=True).start()
pairs = []
for n in range(len(endpoints)):
    channel = _core.RemoteChannel(str(n), 8, None, None, node="", prefetch=0)
    pairs.append((_core.RemoteSender(channel), _core.RemoteReceiver(channel)))
"""
)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def processes():
    """A server with so many brokers, and a client of them that runs the code."""
    running = []

    def both(count: int, code: str):
        server = start(SERVER, count)
        running.append(server)
        client = start(CLIENT + textwrap.dedent(code))
        running.append(client)
        client.stdin.write(server.stdout.readline())
        client.stdin.flush()
        return server, client

    yield both
    for process in running:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


@pytest.mark.timeout(120)
def test_one_process_uses_a_thousand_channels(processes, until):
    server, client = processes(
        1000,
        """
        for n, (tx, rx) in enumerate(pairs):
            tx.blocking_send(n)
        assert [rx.blocking_recv() for tx, rx in pairs] == list(range(len(pairs)))
        threads = threading.active_count()
        system_threads = len(os.listdir("/proc/self/task"))
        print("done", threads, system_threads, flush=True)
        sys.stdin.read()
        """,
    )
    done, _threads, system_threads = said(client).split()
    assert done == "done"
    assert int(system_threads) <= 4  # the main one, the one that answers, and one for all sockets

    def all_are_received() -> bool:
        server.stdin.write("?\n")
        server.stdin.flush()
        return said(server) == "1000"

    until.true_in_thread(all_are_received)  # the last confirmation may still be under way


def switches(process: subprocess.Popen[str]) -> int:
    """How often its threads have been put to sleep."""
    total = 0
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        [line] = [line for line in status.read_text().splitlines() if line.startswith("voluntary")]
        total += int(line.split()[1])
    return total


def test_an_idle_channel_costs_a_heartbeat_a_second(processes):
    server, client = processes(
        1,
        """
        tx, rx = pairs[0]
        tx.blocking_send(1)
        assert rx.blocking_recv() == 1
        print("idle", flush=True)
        sys.stdin.read()
        """,
    )
    assert said(client) == "idle"
    time.sleep(0.2)  # what is under way ends
    before = switches(server), switches(client)
    time.sleep(3)
    after = switches(server), switches(client)
    for idle in (after[0] - before[0], after[1] - before[1]):
        assert idle <= 60, "something polls"


def test_a_computation_that_holds_the_gil_is_no_death(processes):
    """Longer than the four heartbeats after which a silent process is given up: the I/O thread needs no GIL."""
    _, client = processes(
        1,
        """
        import ctypes
        tx, rx = pairs[0]
        tx.blocking_send("before")
        ctypes.PyDLL(None).sleep(8)  # PyDLL keeps the GIL
        assert rx.blocking_recv() == "before"
        tx.blocking_send("after")
        assert rx.blocking_recv() == "after"
        print("alive", flush=True)
        sys.stdin.read()
        """,
    )
    assert said(client) == "alive"


def test_the_end_of_the_interpreter_closes_its_handles_in_an_orderly_way(processes):
    """Not only those that are collected: these are kept by a module until the end."""
    _, client = processes(
        1,
        """
        tx, rx = pairs[0]
        tx.blocking_send("last")
        _core.retire([tx._channel], 5.0)
        try:
            tx.blocking_send("too late")
        except Exception as error:
            print(type(error).__name__, error.kind, flush=True)
        """,
    )
    assert said(client) == "ChannelClosedError handle_closed"
    client.wait(timeout=20)
    assert client.returncode == 0


def test_the_end_of_the_interpreter_finds_a_task_that_still_waits(processes):
    """In a loop that nobody closed: it is woken under the GIL, as by any thread of Python's."""
    _, client = processes(
        1,
        """
        import asyncio
        tx, rx = pairs[0]
        loop = asyncio.new_event_loop()

        async def leave_waiting():
            task = asyncio.ensure_future(rx.recv())
            await asyncio.sleep(0.2)
            return task

        task = loop.run_until_complete(leave_waiting())
        _core.retire([tx._channel], 5.0)
        print("retired", flush=True)
        """,
    )
    assert said(client) == "retired"
    client.wait(timeout=20)
    assert client.returncode == 0


# ------------------------------------------------------------------ a broker and its client in one process

BOTH = """
import asyncio, gc, os, pickle, tempfile, threading, time
from klaw_core import _core
from klaw_core.runtime.channels.settings import ChannelSettings

def dumps(value):
    buffers = []
    return pickle.dumps(value, protocol=5, buffer_callback=buffers.append), buffers

def loads(data, buffers):
    return pickle.loads(data, buffers=buffers)

_core.set_pickler(dumps, loads)
folder = tempfile.TemporaryDirectory()
identity, secret, path = os.urandom(16), os.urandom(32), folder.name + "/socket"

def serve(capacity=None, kind="mpmc", **content):
    return _core.BrokerServer(
        ChannelSettings(capacity=capacity, kind=kind, orphan_grace=5.0), epoch=1, created_at=0.0, channel=identity,
        secret=secret, unix_path=path, hosts=[], port_min=0, port_max=0, **content,
    )

def answer():
    while True:
        lookup, key = _core.next_lookup(-1)
        if key != "lost":
            _core.answer_lookup(lookup, identity, secret, path, [])

threading.Thread(target=answer, daemon=True).start()

def connect(key="found", **kind):
    return _core.RemoteChannel(key, None, None, None, node="", prefetch=0, **kind)
"""


@pytest.fixture
def runs(interpreter):
    """What the code prints, in a process with a broker of its own: `serve()`, and `connect()` to it."""
    return lambda code: interpreter(BOTH + textwrap.dedent(code))


def test_a_checkpoint_may_be_what_wakes_an_actors_get(runs):
    """It is taken without the GIL, and carries out what the I/O thread has left under the lock."""
    code = """
        server = serve()
        tx = _core.RemoteSender(connect())
        count = 10_000
        ended = threading.Event()

        def take_checkpoints():
            while not ended.is_set():
                server.checkpoint(False)
                time.sleep(0.0001)

        async def get_all():
            got = 0
            while got < count:
                _, messages = await server.get(1, None)
                got += len(messages)
            return got

        async def send_all():
            for n in range(count):
                await tx.send(n)

        async def main():
            threads = [threading.Thread(target=take_checkpoints) for _ in range(3)]
            for thread in threads:
                thread.start()
            got, _ = await asyncio.gather(get_all(), send_all())
            ended.set()
            for thread in threads:
                thread.join()
            print(got)

        asyncio.run(main())
    """
    assert runs(code) == "10000"


def test_what_pickling_does_to_the_list_of_a_put_changes_nothing(runs):
    code = """
        class Emptying:
            def __reduce__(self):
                items.clear()
                keep.extend(bytearray(64 * 8) for _ in range(100))  # where the list's items were
                return (int, ())

        keep = []
        items = [Emptying(), *range(1, 64)]

        async def main():
            server = serve()
            await server.put(items, None)
            _, payloads = await server.get(100, None)
            print([_core.decode(payload) for payload in payloads] == list(range(64)))

        asyncio.run(main())
    """
    assert runs(code) == "True"


def test_a_message_may_close_the_receive_that_unpickles_it(runs):
    code = """
        server = serve()
        channel = connect()
        tx, rx = _core.RemoteSender(channel), _core.RemoteReceiver(channel)
        keep = []

        class Closing:
            def __reduce__(self):
                return (close, ())

        def close():
            receiving.close()
            for _ in range(300):  # where what it had received was
                keep.append((bytearray(400), _core.encode({"k": [1, 2, "x" * 50]})))
            return 1

        async def main():
            global receiving
            messages = [1, {"k": ["a" * 300] * 8}] * 2
            for _ in range(10):
                await tx.send_batch([Closing(), messages[1]] * 2)
                receiving = rx.recv_batch(4)
                assert await receiving == messages
            print("received")

        asyncio.run(main())
    """
    assert runs(code) == "received"


def test_an_upgrade_that_waits_goes_with_its_loop_also_when_its_handle_is_collected_first(runs):
    code = """
        gc.disable()
        weak = _core.RemoteSender(connect("lost")).downgrade()
        loop = asyncio.new_event_loop()

        async def leave_waiting():
            upgrade = weak.upgrade()
            gc.collect()  # the handle is older than the task, from here on
            task = asyncio.ensure_future(upgrade)
            task._log_destroy_pending = False
            del upgrade
            await asyncio.sleep(0)

        loop.run_until_complete(leave_waiting())
        loop.close()
        del loop
        print(_core.live_objects()["operations"])
        gc.collect()
        print(_core.live_objects()["operations"])
    """
    assert runs(code) == "1\n0"


def test_a_value_of_a_watch_that_two_threads_decode_is_one_object(runs):
    code = """
        other = []

        class Value:
            def __getstate__(self):
                return {"a": 1}

            def __setstate__(self, state):
                if not other:  # another thread comes meanwhile, and is done first
                    other.append(None)
                    thread = threading.Thread(target=lambda: other.append(rx.borrow()))
                    thread.start()
                    thread.join()

        server = serve(1, kind="watch", initial=_core.encode(Value()))
        rx = _core.RemoteWatchReceiver(connect(kind="watch"))
        rx._open()
        rx._wait_until_opened(10)
        print(rx.borrow() is other[1], rx.borrow() is other[1])
    """
    assert runs(code) == "True True"


# ------------------------------------------------------------------ a receiver that dies of what it unpickles

VICTIM = """
import asyncio, pickle, sys, threading
from klaw_core import _core
from klaw_core.runtime.channels import blocking_select, select, select_all

kind, receiver, path, identity, secret = sys.argv[1:]

def answer():
    while True:
        lookup, _ = _core.next_lookup(-1)
        _core.answer_lookup(lookup, bytes.fromhex(identity), bytes.fromhex(secret), path, [])

threading.Thread(target=answer, daemon=True).start()
_core.set_pickler(pickle.dumps, lambda data, buffers: pickle.loads(data, buffers=buffers))
rx = getattr(_core, receiver)(_core.RemoteChannel("found", None, None, None, node="", prefetch=0, kind=kind))
"""

WITH_VICTIM = """
import subprocess, sys

class Deadly:
    def __reduce__(self):
        die = "os.kill(os.getpid(), 9)"
        return (eval, (f"(lambda os: {die} if 'DIES' in os.environ else 'decoded')(__import__('os'))",))

def die_receiving(kind, receiver, code):
    arguments = [sys.executable, "-c", code, kind, receiver, path, identity.hex(), secret.hex()]
    victim = subprocess.run(arguments, env={**os.environ, "DIES": ""}, timeout=20)
    assert victim.returncode == -9, victim.returncode
"""

WAYS_TO_DIE = {
    "recv": "await rx.recv()",
    "try_recv": "while (await rx.try_recv()).is_err(): pass",
    "async for": "async for _ in rx: pass",
    "select": "await select(rx)",
    "select_all": "async for _ in select_all(rx): pass",
    "recv_acked": "await rx.recv_acked()",
    "acked": "async for _ in rx.acked(): pass",
    "recv_batch": "await rx.recv_batch(4)",
    "try_recv_batch": "while (await rx.try_recv_batch(4)).is_err(): pass",
    "blocking_recv": "rx.blocking_recv()",
    "for": "for _ in rx: pass",
    "blocking_select": "blocking_select(rx)",
    "blocking_recv_acked": "rx.blocking_recv_acked()",
    "blocking_recv_batch": "rx.blocking_recv_batch(4)",
}
ONESHOT_WAYS = (
    "recv",
    "try_recv",
    "async for",
    "select",
    "blocking_recv",
    "for",
    "blocking_select",
)


def victim_by(way: str) -> str:
    code = WAYS_TO_DIE[way]
    if "await" in code or "async" in code:
        code = f"async def main():\n    {code}\nasyncio.run(main())"
    return VICTIM + code


@pytest.mark.parametrize("way", WAYS_TO_DIE)
def test_what_a_receiver_dies_of_while_it_is_unpickled_goes_to_another(runs, way):
    messages = '["first", "second", Deadly(), "last"]' if "batch" in way else '[Deadly(), "last"]'
    code = f"""
        server = serve()
        channel = connect()
        tx, rx = _core.RemoteSender(channel), _core.RemoteReceiver(channel)
        rx._open()
        messages = {messages}
        tx.blocking_send_batch(messages)
        die_receiving("mpmc", "RemoteReceiver", {victim_by(way)!r})
        print(*(rx.blocking_recv(20) for _ in messages))
        while {"acked" not in way} and server.stats().in_flight > 0:
            time.sleep(0.001)  # it is about to hear of the last one
        print(server.stats().total_received == len(messages), server.stats().redelivered > 0)
    """
    expected = "first second decoded last" if "batch" in way else "decoded last"
    if "acked" in way:
        assert runs(WITH_VICTIM + textwrap.dedent(code)).startswith(expected)
    else:
        assert runs(WITH_VICTIM + textwrap.dedent(code)) == f"{expected}\nTrue True"


@pytest.mark.parametrize("way", ONESHOT_WAYS)
def test_a_oneshots_value_that_a_receiver_dies_of_goes_to_another(runs, way):
    code = f"""
        server = serve(1, kind="oneshot")
        channel = connect(kind="oneshot")
        tx, rx = _core.RemoteOneshotSender(channel), _core.RemoteOneshotReceiver(channel)
        rx._open()
        tx.blocking_send(Deadly())
        die_receiving("oneshot", "RemoteOneshotReceiver", {victim_by(way)!r})
        print(rx.blocking_recv(20))
    """
    assert runs(WITH_VICTIM + textwrap.dedent(code)) == "decoded"


def test_a_message_may_use_the_handle_that_unpickles_it(runs):
    """It receives the next one there, fails, closes the handle: each is taken once, and nothing is out at the end."""
    code = """
        def soon(condition):
            while not condition(server.stats()):
                time.sleep(0.001)

        class Calling:
            def __init__(self, function):
                self.function = function

            def __reduce__(self):
                return (self.function, ())

        def receive_next():
            return ("outer", rx.blocking_recv(10))

        def fail_after_next():
            rx.blocking_recv_batch(2)
            raise ValueError("unreadable")

        def close():
            rx.close()
            soon(lambda stats: stats.receiver_count == 1)  # so the broker has heard of it, and waits
            assert server.stats().in_flight == 1, server.stats()
            return "closed"

        server = serve()
        channel = connect()
        tx, rx, other = _core.RemoteSender(channel), _core.RemoteReceiver(channel), _core.RemoteReceiver(channel)
        other._open()
        tx.blocking_send_batch([Calling(receive_next), "inner", Calling(fail_after_next), 1, 2, Calling(close), "left"])
        print(rx.blocking_recv(10))
        try:
            rx.blocking_recv(10)
        except ValueError as error:
            print(error)
        print(rx.blocking_recv(10))
        print(other.blocking_recv(10))
        soon(lambda stats: stats.in_flight == 0)
        print(server.stats().total_received, server.stats().redelivered)
    """
    assert runs(code) == "('outer', 'inner')\nunreadable\nclosed\nleft\n7 0"


def test_a_task_that_a_message_cancels_while_it_is_unpickled_has_received_it(runs):
    code = """
        class Cancelling:
            def __reduce__(self):
                return (cancel, ())

        def cancel():
            task.cancel()
            return "received"

        async def receive():
            print(await rx.recv())
            await asyncio.sleep(10)

        async def main():
            global task
            task = asyncio.ensure_future(receive())
            await tx.send_batch([Cancelling(), "next"])
            await asyncio.wait([task])
            print(task.cancelled(), await rx.recv())

        server = serve()
        channel = connect()
        tx, rx = _core.RemoteSender(channel), _core.RemoteReceiver(channel)
        asyncio.run(main())
    """
    assert runs(code) == "received\nTrue next"
