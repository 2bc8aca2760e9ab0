"""Tickets of channels on a Ray cluster, used by processes that have nothing of Ray in them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    blocking_broadcast,
    blocking_channel,
    blocking_oneshot,
    blocking_sender_from_ticket,
    blocking_watch,
    channel,
    channel_stats,
    sender_from_ticket,
)

pytestmark = pytest.mark.ray

LONG_S = 60.0

USER = """
import sys
from klaw_core.runtime.channels import blocking_receiver_from_ticket, blocking_sender_from_ticket

{code}
assert not [name for name in sys.modules if name == "ray" or name.startswith("ray.")], "Ray was loaded"
"""


def run_without_ray(code: str, *tickets: str) -> str:
    """What the code prints, in a process that does not even know where the cluster is."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", USER.format(code=textwrap.dedent(code)), *tickets],
        env=environment, capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ECHO = """
with blocking_receiver_from_ticket(sys.argv[1]) as rx, blocking_sender_from_ticket(sys.argv[2]) as tx:
    tx.blocking_send(rx.blocking_recv())
"""


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_process_without_ray_joins_a_channel_on_either_node(ray, placed, where):
    there_tx, there_rx = blocking_channel(4, backend="ray", actor_options=placed(where))
    back_tx, back_rx = blocking_channel(4, backend="ray", actor_options=placed(where))
    with there_tx, back_rx:
        tickets = there_rx.ticket(), back_tx.ticket()
        there_rx.blocking_close()
        back_tx.blocking_close()
        there_tx.blocking_send({"by": "ticket"})
        run_without_ray(ECHO, *tickets)
        assert list(back_rx) == [{"by": "ticket"}]


def test_a_task_uses_the_ticket_of_its_driver(ray):
    tx, rx = blocking_channel(4, backend="ray")

    @ray.remote(num_cpus=0)
    def send(text: str) -> None:
        with blocking_sender_from_ticket(text) as sender:
            sender.blocking_send("from a task")

    text = tx.ticket()
    tx.blocking_close()
    ray.get(send.remote(text), timeout=LONG_S)
    assert list(rx) == ["from a task"]
    rx.close()


def test_the_other_flavours_give_tickets(ray):
    once_tx, once_rx = blocking_oneshot(backend="ray")
    run_without_ray(
        "blocking_sender_from_ticket(sys.argv[1]).blocking_send('once')", once_tx.ticket()
    )
    assert once_rx.blocking_recv() == "once"
    all_tx, all_rx = blocking_broadcast(4, backend="ray")
    run_without_ray(
        "blocking_sender_from_ticket(sys.argv[1]).blocking_send('to all')", all_tx.ticket()
    )
    assert all_rx.blocking_recv() == "to all"
    watch_tx, watch_rx = blocking_watch("initial", backend="ray")
    text = watch_rx.ticket()
    assert (
        run_without_ray("print(blocking_receiver_from_ticket(sys.argv[1]).borrow())", text)
        == "initial"
    )
    handles: list[Any] = [once_tx, once_rx, all_tx, all_rx, watch_tx, watch_rx]
    for handle in handles:
        handle.close()


async def test_a_ticket_of_a_named_channel_counts_there_and_names_it_in_errors(ray, name):
    tx, rx = await channel(4, backend="ray", name=name)
    text = tx.ticket()
    async with await sender_from_ticket(text):
        stats = await channel_stats(name)
        assert stats is not None
        assert stats.sender_count == 2
    with pytest.raises(ChannelBackendErrorException, match="used before") as caught:
        await sender_from_ticket(text)
    assert caught.value.actor_name == f"channel_{name}"
    tx.close()
    rx.close()


def test_a_reference_channel_gives_no_ticket(ray):
    tx, rx = blocking_channel(4, backend="ray", reference=True)
    for handle in tx, rx:
        with pytest.raises(TypeError, match="payloads are in Ray's object store"):
            handle.ticket()
        handle.close()
