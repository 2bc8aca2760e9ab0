"""Handles from before ray.shutdown(), in a process that calls ray.init() again: a notebook's first cell, run twice."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.ray

LIMIT_S = 120.0

# Two sessions on one cluster: `old` has a pair of handles of each kind from the first one, which still work.
TWO_SESSIONS = """
import asyncio, sys
import ray
from ray import cloudpickle
from klaw_core.runtime.channels import *

name = sys.argv[1]
ray.init(address=sys.argv[2], log_to_driver=False)
old = {
    "mpmc": blocking_channel(4, backend="ray", name=name),
    "reference": blocking_channel(4, backend="ray", reference=True),
    "oneshot": blocking_oneshot(backend="ray"),
    "broadcast": blocking_broadcast(backend="ray"),
    "watch": blocking_watch("initial", backend="ray"),
}
ray.shutdown()
ray.init(address=sys.argv[2], log_to_driver=False)
fresh = blocking_channel(8, backend="ray")

@ray.remote(num_cpus=0)
def task(handle):
    return "run"

def error_of(call, *arguments):
    try:
        call(*arguments)
    except ChannelBackendErrorException as error:
        return "says so" if "from before ray.shutdown()" in str(error) else str(error)
    except Exception as error:
        return repr(error)
"""


@pytest.fixture
def in_two_sessions(ray_cluster, name):
    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", TWO_SESSIONS + textwrap.dedent(code), name, ray_cluster.address],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    return run


def test_what_takes_ray_is_an_error_that_says_so_for_a_handle_of_an_earlier_session(
    in_two_sessions,
):
    found = in_two_sessions("""
        for pair in old.values():
            for handle in pair:
                for how in (cloudpickle.dumps, ray.put, task.remote, fresh[0].blocking_send):
                    print(error_of(how, handle))
                print(error_of(asyncio.run, handle.stats()))
        tx, rx = old["reference"]
        print(error_of(tx.blocking_send, "payload"))
        print(error_of(asyncio.run, tx.send("payload")))
    """)
    assert found.splitlines() == ["says so"] * (5 * 2 * 5 + 2)


def test_all_else_goes_on_for_a_handle_of_an_earlier_session(in_two_sessions):
    found = in_two_sessions("""
        for kind in ("mpmc", "oneshot", "broadcast"):
            tx, rx = old[kind]
            tx.blocking_send(kind)
            print(rx.blocking_recv(20))
        tx, rx = old["watch"]
        tx.blocking_send("watch")
        rx.blocking_changed(20)
        print(rx.borrow())
        for tx, rx in old.values():
            tx.blocking_close()
            rx.blocking_close()
    """)
    assert found.split() == ["mpmc", "oneshot", "broadcast", "watch"]


def test_a_channel_that_is_got_anew_makes_its_older_handles_whole(in_two_sessions):
    found = in_two_sessions("""
        tx, rx = blocking_get_channel(name)
        for handle in (tx, rx, *old["mpmc"]):
            cloudpickle.loads(cloudpickle.dumps(handle)).close()
            print(asyncio.run(handle.stats()).capacity)
            print(ray.get(task.remote(handle)))
    """)
    assert found.split() == ["4", "run"] * 4


# The thread is preempted in the midst of what it does with Ray, until Ray's shutdown is over.
EXIT_BESIDE_A_HOLD = """
import atexit, sys, threading, time

atexit.register(time.sleep, 3)  # the last to run: the interpreter stops no thread before
import ray
from klaw_core.runtime.channels import blocking_channel
from klaw_core.runtime.channels.ray import holds

begun = threading.Event()

def watch(ref, hold):
    ray_itself = holds.global_worker.core_worker
    begun.set()
    time.sleep(1.5)
    ray_itself.add_object_out_of_scope_callback(ref, lambda _: None)

holds._KEPT_S = 0.0
holds._watch = watch
ray.init(address=sys.argv[1], log_to_driver=False)
tx, rx = blocking_channel(4, backend="ray")
stored = ray.put([tx])
begun.wait()
tx.blocking_close()
rx.blocking_close()
"""


def test_a_process_that_exits_while_its_pickled_handles_are_watched_ends_in_an_orderly_way(
    ray_cluster,
):
    done = subprocess.run(
        [sys.executable, "-c", EXIT_BESIDE_A_HOLD, ray_cluster.address],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
