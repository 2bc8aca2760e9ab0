"""What only a whole process shows: its exit, Ctrl-C, a fork. Each case is an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

PRELUDE = """
import asyncio, atexit, gc, os, signal, sys, threading, time
from klaw_core import _core
from klaw_core.runtime.channels import *

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it

def waits_until(condition):
    while not condition():
        time.sleep(0)

def stats(handle):
    operation = handle.stats()
    while True:  # now and then it gives way first
        try:
            operation.send(None)
        except StopIteration as stop:
            return stop.value
"""

LEFT_BEHIND = """
@atexit.register  # registered before the code below has made anything
def _():
    gc.collect()
    gc.collect()
    print("left", sum(_core.live_objects().values()))
"""


def program(code: str) -> str:
    return PRELUDE + textwrap.dedent(code)


# A daemon thread that comes into spin() never leaves it: each turn it lets go of the GIL, and asks for it again.
IN_PYTHON = """
import pickle
is_in_python = threading.Event()
def spin(*args):
    is_in_python.set()
    while True:
        time.sleep(0)
"""

CALLS_PYTHON = {
    "wakes a loop": """
class Loop(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, *args, **kwargs):
        spin()
tx, rx = blocking_channel(1)
def wait():
    with asyncio.Runner(loop_factory=Loop) as runner:
        async def receive(): await rx.recv()
        runner.run(receive())
threading.Thread(target=wait, daemon=True).start()
waits_until(lambda: stats(rx).waiting_receivers == 1)
job = lambda: tx.send_nowait(1)
""",
    "drops a message": """
class Message: __del__ = spin
tx, rx = blocking_channel(1)
tx.send_nowait(Message())
job = rx.close
""",
    "pickles": """
class Message: __reduce__ = spin
_core.set_pickler(lambda value: (pickle.dumps(value), []), lambda data, buffers: pickle.loads(data))
job = lambda: _core.encode(Message())
""",
    "unpickles": """
class Message:
    def __reduce__(self): return spin, ()
_core.set_pickler(lambda value: (pickle.dumps(value), []), lambda data, buffers: pickle.loads(data))
job = lambda: _core.decode(_core.encode(Message()))
""",
}

START_IN_PYTHON = """
threading.Thread(target=job, daemon=True).start()
is_in_python.wait()
print("end")
"""


# ------------------------------------------------------------------------------- exit


@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "ignore")], ids=["", "dev"])
class TestAtExit:
    def test_with_handles_that_are_open(self, interpreter, options):
        assert (
            interpreter(
                program("tx, rx = blocking_channel(3); tx.send_nowait(tx); print('end')"), *options
            )
            == "end"
        )

    def test_with_a_channel_that_holds_itself(self, interpreter, options):
        code = "tx, rx = blocking_channel(3); tx.send_nowait((tx, rx)); del tx, rx; print('end')"
        assert interpreter(program(code), *options) == "end"

    def test_with_operations_that_never_began(self, interpreter, options):
        code = "tx, rx = blocking_channel(3); a = tx.send(1); b = rx.recv(); c = select(rx); print('end')"
        stderr = ".*" if options == () else ""  # Python itself warns of them
        assert interpreter(program(code), *options, stderr=stderr) == "end"

    def test_with_tasks_that_wait(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(0)
            async def main():
                operations = rx.recv(), select(rx), rx.closed(), rx.recv(timeout=1000)
                tasks = [asyncio.ensure_future(operation) for operation in operations]
                await asyncio.sleep(0)
                print(stats(rx).waiting_receivers)
            asyncio.run(main())
            print(stats(rx).waiting_receivers)
        """
        assert interpreter(program(code), *options) == "3\n0"

    def test_with_tasks_that_wait_in_a_loop_that_is_never_closed(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(0)
            loop = asyncio.new_event_loop()
            tasks = [loop.create_task(op) for op in (rx.recv(), select(rx), rx.recv(timeout=1000), tx.closed())]
            for task in tasks:
                task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))
            print(stats(rx).waiting_receivers)
        """
        assert interpreter(program(code), *options, stderr=".*") == "3"

    def test_with_tasks_that_wait_in_a_loop_that_was_closed(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(0)
            loop = asyncio.new_event_loop()
            task = loop.create_task(rx.recv())
            task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            print(stats(rx).waiting_receivers)
        """
        assert interpreter(program(code), *options) == "1"

    def test_with_daemon_threads_that_block(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(0)
            tx2, rx2 = blocking_channel(0)
            jobs = [rx.blocking_recv, lambda: rx.blocking_recv(timeout=1000), lambda: list(rx),
                    lambda: blocking_select(rx), lambda: tx2.blocking_send(1), lambda: rx.blocking_recv_batch(2)]
            for job in jobs:
                threading.Thread(target=job, daemon=True).start()
            waits_until(lambda: stats(rx).waiting_receivers == 5 and stats(rx2).waiting_senders == 1)
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_with_daemon_threads_that_are_woken_by_the_exit(self, interpreter, options):
        """The last sender goes with the interpreter, which wakes those who wait: they may run no Python any more."""
        code = """
            tx, rx = blocking_channel(0)
            rxs = [rx.clone() for _ in range(4)]
            for r in rxs:
                threading.Thread(target=r.blocking_recv, daemon=True).start()
            waits_until(lambda: stats(rx).waiting_receivers == 4)
            del rx, rxs, r
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_with_a_daemon_thread_whose_loop_waits(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(0)
            async def wait(): await rx.recv()
            threading.Thread(target=lambda: asyncio.run(wait()), daemon=True).start()
            waits_until(lambda: stats(rx).waiting_receivers == 1)
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_with_daemon_threads_in_the_middle_of_their_work(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(1)
            def produce():
                while True: tx.blocking_send(1)
            def consume():
                while True: rx.blocking_recv()
            for job in (produce, produce, consume, consume):
                threading.Thread(target=job, daemon=True).start()
            waits_until(lambda: stats(rx).total_received > 1000)
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_with_daemon_threads_in_the_middle_of_their_work_when_it_takes_time(
        self, interpreter, options
    ):
        """Threads that ask for the GIL while the interpreter goes down, and lets go of it in between."""
        code = """
            class Slow:
                sleep = time.sleep
                def __del__(self):
                    for _ in range(20):
                        Slow.sleep(0.001)
                    Slow.sleep = None
            class Keep: slow = Slow()
            tx, rx = blocking_channel(1)
            tx2, rx2 = blocking_channel(0)
            def produce():
                while True: tx.blocking_send(Keep)
            def consume():
                while True: rx.blocking_recv()
            for job in (produce, produce, consume, consume, rx2.blocking_recv, rx2.blocking_recv):
                threading.Thread(target=job, daemon=True).start()
            waits_until(lambda: stats(rx).total_received > 100)
            del rx2
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    @pytest.mark.parametrize("job", CALLS_PYTHON.values(), ids=CALLS_PYTHON)
    def test_with_a_daemon_thread_in_pythons_code_that_was_called_from_ours(
        self, interpreter, options, job
    ):
        """Where it asks for the GIL again, Python would unwind it through frames that can't be unwound."""
        assert interpreter(program(IN_PYTHON + job + START_IN_PYTHON), *options) == "end"

    def test_with_daemon_threads_that_wake_each_others_loops(self, interpreter, options):
        code = """
            sys.setswitchinterval(1e-6)
            tx, rx = blocking_channel(10)
            def produce():
                while True:
                    try: tx.send_nowait(1)
                    except ChannelFullError: pass
            async def consume():
                async for _ in rx: pass
            for job in (lambda: asyncio.run(consume()), produce, produce):
                threading.Thread(target=job, daemon=True).start()
            waits_until(lambda: stats(rx).total_received > 100)
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_with_permits_deliveries_and_delays(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(4)
            for n in range(3): tx.send_nowait(n)
            held = [tx.blocking_reserve(), rx.blocking_recv_acked(), tx.downgrade()]
            rx.blocking_recv_acked().nack(1000)
            rx.blocking_recv_acked().nack(0.001)
            print("end")
        """
        assert interpreter(program(code), *options) == "end"

    def test_when_messages_close_other_channels(self, interpreter, options):
        code = """
            tx, rx = blocking_channel(3)
            tx2, rx2 = blocking_channel(3)
            class Closer:
                def __del__(self): tx2.close()
            tx.send_nowait(Closer())
            print("end")
        """
        assert interpreter(program(code), *options) == "end"


def test_at_exit_nothing_is_left_of_what_was_closed_and_dropped(interpreter):
    code = """
        def main():
            tx, rx = blocking_channel(3)
            tx.send_nowait((tx, rx))
            async def use():
                tasks = [asyncio.ensure_future(rx2.recv()) for _ in range(3)]
                await asyncio.sleep(0)
                tx2.send_nowait(1)
            tx2, rx2 = blocking_channel(1)
            asyncio.run(use())
        main()
    """
    assert interpreter(PRELUDE + LEFT_BEHIND + textwrap.dedent(code)) == "left 0"


def test_unclosed_handles_are_told_in_development_mode(interpreter):
    code = "tx, rx = blocking_channel(3); del tx; print('end')"
    expected = r".*ResourceWarning: unclosed <LocalSender 0/3, 1 sender, 1 receiver>.*"
    assert interpreter(program(code), "-X", "dev", stderr=expected) == "end"
    closed = "tx, rx = blocking_channel(3); tx.close(); rx.close(); print('end')"
    assert interpreter(program(closed), "-X", "dev") == "end"


# ------------------------------------------------------------------------------- Ctrl-C

BLOCKING = {
    "recv": "rx.blocking_recv()",
    "recv, timed": "rx.blocking_recv(timeout=1000)",
    "recv_batch": "rx.blocking_recv_batch(3)",
    "send": "full_tx.blocking_send('lost')",
    "send_batch": "full_tx.blocking_send_batch(['lost'])",
    "select": "blocking_select(rx, other_rx)",
    "iteration": "[message for message in rx]",
}


@pytest.fixture(
    params=[signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"]
)
def job(request: pytest.FixtureRequest) -> Iterator[None]:
    """A shell's background job ignores SIGINT, and so do its children, unless they reset it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("call", BLOCKING.values(), ids=BLOCKING)
def test_ctrl_c_ends_a_blocking_call_and_the_channel_goes_on(call, child_environment):
    code = f"""
        tx, rx = blocking_channel(1)
        other_tx, other_rx = blocking_channel(1)
        full_tx, full_rx = blocking_channel(1)
        full_tx.send_nowait("kept")

        def tell_when_it_waits():
            waits_until(lambda: stats(rx).waiting_receivers + stats(full_rx).waiting_senders > 0)
            print("waits", flush=True)

        threading.Thread(target=tell_when_it_waits).start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted")
        assert stats(rx).waiting_receivers == stats(other_rx).waiting_receivers == stats(full_rx).waiting_senders == 0
        assert full_rx.recv_nowait() == "kept" and len(full_rx) == 0
        tx.blocking_send("m")
        assert rx.blocking_recv() == "m"
        print("end")
    """
    with subprocess.Popen(
        [sys.executable, "-c", program(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment,
    ) as child:
        try:
            assert child.stdout.readline() == "waits\n", child.stderr.read()
            os.kill(child.pid, signal.SIGINT)
            out, err = child.communicate(timeout=30)
        finally:
            child.kill()
    assert (child.returncode, out, err) == (0, "interrupted\nend\n", "")


@pytest.mark.usefixtures("job")
def test_ctrl_c_that_another_thread_gets_ends_the_wait_of_the_main_thread(interpreter):
    """The kernel gives a signal to any thread; Python handles it in the main one, which sleeps."""
    code = """
        tx, rx = blocking_channel(1)
        def poke():
            waits_until(lambda: stats(rx).waiting_receivers == 1)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            done.wait()
        done = threading.Event()
        threading.Thread(target=poke).start()
        try:
            rx.blocking_recv()
        except KeyboardInterrupt:
            print("interrupted")
        done.set()
    """
    assert interpreter(program(code)) == "interrupted"


@pytest.mark.usefixtures("job")
def test_ctrl_c_that_is_not_caught_ends_the_process_as_usual(child_environment):
    code = """
        tx, rx = blocking_channel(1)
        def tell_when_it_waits():
            waits_until(lambda: stats(rx).waiting_receivers)
            print("waits", flush=True)
        threading.Thread(target=tell_when_it_waits).start()
        rx.blocking_recv()
    """
    with subprocess.Popen(
        [sys.executable, "-c", program(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment,
    ) as child:
        try:
            assert child.stdout.readline() == "waits\n"
            os.kill(child.pid, signal.SIGINT)
            _out, err = child.communicate(timeout=30)
        finally:
            child.kill()
    assert child.returncode == -signal.SIGINT
    assert err.strip().endswith("KeyboardInterrupt")


def test_a_signal_whose_handler_does_not_raise_leaves_the_wait_alone(interpreter):
    code = """
        tx, rx = blocking_channel(1)
        handled = []
        def handle(*args):
            handled.append(1)
            if len(handled) < 5:
                os.kill(os.getpid(), signal.SIGUSR1)
            else:
                threading.Thread(target=tx.blocking_send, args=("m",)).start()
        signal.signal(signal.SIGUSR1, handle)
        def poke():
            waits_until(lambda: stats(rx).waiting_receivers == 1)
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=poke).start()
        print(rx.blocking_recv(), len(handled))
    """
    assert interpreter(program(code)) == "m 5"


def test_a_signal_handler_may_use_the_channel_it_interrupts(interpreter):
    code = """
        tx, rx = blocking_channel(1)
        signal.signal(signal.SIGUSR1, lambda *args: tx.send_nowait("from the handler"))
        def poke():
            waits_until(lambda: stats(rx).waiting_receivers == 1)
            os.kill(os.getpid(), signal.SIGUSR1)
        threading.Thread(target=poke).start()
        print(rx.blocking_recv())
    """
    assert interpreter(program(code)) == "from the handler"


@pytest.mark.usefixtures("job")
def test_ctrl_c_ends_an_event_loop_that_waits(child_environment):
    code = """
        tx, rx = blocking_channel(1)
        async def main():
            asyncio.get_running_loop().call_soon(lambda: print("waits", flush=True))
            await rx.recv()
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", stats(rx).waiting_receivers)
    """
    with subprocess.Popen(
        [sys.executable, "-c", program(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment,
    ) as child:
        try:
            assert child.stdout.readline() == "waits\n"
            os.kill(child.pid, signal.SIGINT)
            out, err = child.communicate(timeout=30)
        finally:
            child.kill()
    assert (child.returncode, out, err) == (0, "interrupted 0\n", "")


def test_ctrl_c_while_the_thread_of_delays_starts_leaves_the_delivery_and_later_delays_alone(
    interpreter,
):
    code = """
        go = threading.Event()
        class Late(threading.Thread):
            def start(self):
                super().start()
                raise KeyboardInterrupt
            def run(self):
                go.wait()
                super().run()
        tx, rx = blocking_channel(1)
        tx.send_nowait("m")
        delivery = rx.blocking_recv_acked()
        thread, threading.Thread = threading.Thread, Late
        try:
            delivery.nack(0.001)
        except KeyboardInterrupt:
            print("interrupted")
        threading.Thread = thread
        go.set()
        time.sleep(0.05)  # the thread that was given up begins to wait meanwhile
        delivery.nack(0.001)
        print(rx.blocking_recv())
    """
    assert interpreter(program(code)) == "interrupted\nm"


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "__import__"), ("klaw_core.runtime.errors", "AlreadySent")]
)
def test_ctrl_c_while_the_classes_are_loaded_comes_out_of_the_call_that_needs_them(
    interpreter, module: str, name: str
):
    code = f"""
        import importlib
        from klaw_core import _core
        tx, rx = _core.local_channel(None)
        module = importlib.import_module({module!r})
        original = module.{name}
        def interrupted(*args):
            raise KeyboardInterrupt
        for n in range(2):
            operation = tx.try_send(n)
            module.{name} = original if n else interrupted
            try:
                operation.send(None)
            except KeyboardInterrupt:
                print("interrupted")
            except StopIteration as stop:
                print(stop.value)
    """
    assert interpreter(textwrap.dedent(code)) == "interrupted\nOk(None)"


# ------------------------------------------------------------------------------- fork

FORKED = """
import warnings
def in_child(function):
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork beside threads
        pid = os.fork()
    if pid == 0:
        function()
        sys.stdout.flush()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_in_a_forked_child_local_handles_raise_and_the_parent_goes_on(interpreter):
    code = """
        tx, rx = blocking_channel(3)
        tx.send_nowait("kept")
        def child():
            calls = [lambda: tx.send(1), lambda: tx.send_nowait(1), lambda: tx.blocking_send(1), lambda: tx.try_send(1),
                     lambda: rx.recv(), rx.recv_nowait, rx.blocking_recv, lambda: rx.recv_batch(1), lambda: next(rx),
                     lambda: rx.__anext__(), lambda: len(rx), tx.clone, tx.close, rx.close, tx.stats, rx.closed,
                     tx.blocking_close, lambda: tx.is_closed, lambda: tx.capacity, tx.__enter__, tx.__aenter__,
                     lambda: select(rx), lambda: blocking_select(rx)]
            for n, call in enumerate(calls):
                try:
                    call()
                except RuntimeError as error:
                    assert "belongs to the parent process" in str(error), error
                else:
                    raise AssertionError(n)
            print(tx, bool(rx))
            new_tx, new_rx = blocking_channel(1)
            asyncio.run(new_tx.send("new"))
            print(new_rx.blocking_recv())
        in_child(child)
        print(rx.recv_nowait(), tx)
    """
    assert interpreter(PRELUDE + FORKED + textwrap.dedent(code), "-W", "error").splitlines() == [
        "<LocalSender of another process> True",
        "new",
        "kept <LocalSender 0/3, 1 sender, 1 receiver>",
    ]


def test_in_a_forked_child_permits_and_deliveries_are_the_parents(interpreter):
    code = """
        tx, rx = blocking_channel(4)
        tx.send_nowait(1)
        tx.send_nowait(2)
        permit, weak, m = tx.blocking_reserve(), tx.downgrade(), rx.blocking_recv_acked()
        rx.blocking_recv_acked().nack(0.01)
        def child():
            global permit, m
            for call, why in ((lambda: permit.send(1), "belongs to the parent"),
                              (weak.blocking_upgrade, "belongs to the parent"),
                              (m.ack, "taken by the parent"), (m.nack, "taken by the parent")):
                try:
                    call()
                except RuntimeError as error:
                    assert why in str(error), error
                else:
                    raise AssertionError(why)
            permit.release()
            del permit, m
            gc.collect()
            new_tx, new_rx = blocking_channel(1)
            new_tx.send_nowait("new")
            new_rx.blocking_recv_acked().nack(0.01)
            print(new_rx.blocking_recv())
        in_child(child)
        permit.send(3)
        m.ack()
        print(rx.blocking_recv(), rx.blocking_recv(), stats(rx).in_flight)
    """
    said = interpreter(PRELUDE + FORKED + textwrap.dedent(code)).splitlines()
    assert said[0] == "new"
    assert sorted(said[1].split()) == ["0", "2", "3"]


def test_a_forked_child_may_drop_what_its_parent_waits_on(interpreter):
    code = """
        tx, rx = blocking_channel(0)
        async def main():
            tasks = [asyncio.ensure_future(op) for op in (rx.recv(), select(rx), rx.recv(timeout=1000))]
            await asyncio.sleep(0)
            pending = rx.recv()
            def child():
                global tx, rx
                nonlocal tasks, pending
                try:
                    pending.send(None)
                except RuntimeError as error:
                    assert "before a fork" in str(error)
                pending.close()
                for task in tasks:
                    task._log_destroy_pending = False
                del tasks, pending, tx, rx, task
                gc.collect()
                print("dropped")
                sys.stdout.flush()
                os._exit(0)
            in_child(child)
            pending.close()
            for n in range(3):
                await tx.send(n)
            print(await asyncio.gather(*tasks))
        asyncio.run(main())
    """
    assert interpreter(PRELUDE + FORKED + textwrap.dedent(code)).splitlines() == [
        "dropped",
        "[0, (0, 1), 2]",
    ]


def test_a_forked_child_exits_well_beside_threads_that_wait_in_the_parent(interpreter):
    code = """
        tx, rx = blocking_channel(0)
        job = threading.Thread(target=lambda: print(rx.blocking_recv()))
        job.start()
        waits_until(lambda: stats(rx).waiting_receivers == 1)
        in_child(lambda: print("child"))
        tx.blocking_send("parent")
        job.join()
    """
    assert interpreter(PRELUDE + FORKED + textwrap.dedent(code)) == "child\nparent"


def test_multiprocessing_by_fork_refuses_handles_with_a_clear_error(interpreter):
    code = """
        import multiprocessing
        tx, rx = blocking_channel(1)
        def child():
            try:
                tx.send_nowait(1)
            except RuntimeError as error:
                sys.exit(5 if "backend='ray'" in str(error) else 6)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        print(process.exitcode)
        tx.send_nowait(1)
        print(rx.recv_nowait())
    """
    assert interpreter(program(code)) == "5\n1"
