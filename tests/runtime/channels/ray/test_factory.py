"""Making and finding Ray channels: names, settings, errors, lifetime."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import pytest

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    blocking_broadcast,
    blocking_channel,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_get_receiver,
    blocking_get_sender,
    blocking_oneshot,
    blocking_peek_channel,
    blocking_watch,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    oneshot,
    peek_channel,
)

pytestmark = pytest.mark.ray


async def test_a_named_channel_is_found_by_others(ray_cluster, name):
    tx, _rx = await channel(4, backend="ray", name=name)
    found_tx, found_rx = await get_channel(name)
    await tx.send("a")
    assert await found_rx.recv() == "a"
    await found_tx.send("b")
    assert await found_rx.recv() == "b"
    assert found_tx.capacity == 4
    assert name in list_channels()


async def test_one_side_is_found_alone(ray_cluster, name):
    tx, rx = await channel(4, backend="ray", name=name)
    sender, receiver = await get_sender(name), await get_receiver(name)
    stats = await channel_stats(name)
    assert (stats.sender_count, stats.receiver_count) == (2, 2)
    await sender.send("a")
    assert await receiver.recv() == "a"
    for handle in (tx, rx, sender, receiver):
        await handle.close()


async def test_looking_for_what_is_not_there_gives_none(ray_cluster):
    missing = f"missing-{uuid.uuid4().hex}"
    assert await get_channel(missing) is None
    assert await get_sender(missing) is None
    assert await get_receiver(missing, wait=0.1) is None
    assert await channel_stats(missing) is None
    assert delete_channel(missing) is False


async def test_waiting_for_a_channel_to_appear(ray_cluster, name):
    waiting = asyncio.ensure_future(get_receiver(name, wait=30))
    await asyncio.sleep(0.1)
    tx, _rx = await channel(4, backend="ray", name=name)
    receiver = await waiting
    await tx.send(1)
    assert await receiver.recv() == 1


def test_the_blocking_twins_do_the_same(ray_cluster, name):
    tx, rx = blocking_channel(4, backend="ray", name=name)
    found_tx, found_rx = blocking_get_channel(name)
    sender, receiver = blocking_get_sender(name), blocking_get_receiver(name)
    assert blocking_channel_stats(name).sender_count == 3
    with tx, rx, found_tx, found_rx, sender, receiver:
        sender.blocking_send("a")
        assert receiver.blocking_recv(timeout=20) == "a"


async def test_the_blocking_twins_refuse_a_thread_that_runs_an_event_loop(ray_cluster, name):
    """They would stop it for seconds. (Of a channel in one process they never wait.)"""
    refused = {
        "channel": lambda: blocking_channel(4, backend="ray", name=name),
        "oneshot": lambda: blocking_oneshot(backend="ray", name=name),
        "broadcast": lambda: blocking_broadcast(4, backend="ray", name=name),
        "watch": lambda: blocking_watch(0, backend="ray", name=name),
        "get_channel": lambda: blocking_get_channel(name),
        "get_sender": lambda: blocking_get_sender(name, wait=60.0),
        "get_receiver": lambda: blocking_get_receiver(name, wait=60.0),
        "channel_stats": lambda: blocking_channel_stats(name),
        "peek_channel": lambda: blocking_peek_channel(name),
    }
    for instead, call in refused.items():
        text = rf"^this thread runs an event loop \(a notebook cell\?\); write: await {instead}\(\.\.\.\)$"
        with pytest.raises(RuntimeError, match=text):
            call()
    assert await get_channel(name) is None  # nothing was made


class TornAtItsReceiver:
    def __reduce__(self):
        return int, ("torn",)


async def test_peeking_shows_what_comes_next_and_leaves_it(ray_cluster, name):
    tx, rx = await channel(8, backend="ray", name=name)
    for message in (1, "two", TornAtItsReceiver(), 4):
        await tx.send(message)
    assert await peek_channel(name) == [1]
    first, second, torn = await peek_channel(name, 3)
    assert (first, second) == (1, "two")
    assert isinstance(torn, ValueError)
    stats = await tx.stats()
    assert (stats.queue_size, stats.total_received, stats.redelivered) == (4, 0, 0)
    assert await rx.recv_batch(2) == [1, "two"]
    assert len(await peek_channel(name, 8)) == 2
    assert await peek_channel(f"not-{name}") is None


async def test_peeking_before_what_was_given_back(ray_cluster, name):
    tx, rx = await channel(8, backend="ray", name=name)
    await tx.send_batch(["first", "second"])
    (await rx.recv_acked()).nack()
    assert await peek_channel(name, 8) == ["first", "second"]
    async with await rx.recv_acked() as again:
        assert (again.value, again.redelivered) == ("first", True)


async def test_peeking_reads_the_payloads_of_reference_channels(ray_cluster, name):
    tx, rx = await channel(8, backend="ray", name=name, reference=True)
    await tx.send(bytearray(b"large"))
    assert await peek_channel(name, 8) == [b"large"]
    assert await rx.recv() == b"large"
    assert await peek_channel(name, 8) == []


async def test_made_again_with_the_same_settings_it_is_the_same_channel(ray_cluster, name):
    tx, _ = await channel(4, backend="ray", name=name)
    _, rx = await channel(4, backend="ray", name=name)
    await tx.send("a")
    assert await rx.recv() == "a"


async def test_made_again_with_other_settings_it_is_an_error_that_names_both(ray_cluster, name):
    handles = await channel(4, backend="ray", name=name)
    with pytest.raises(ValueError, match=r"'capacity': 4.*not \{.*'capacity': 5"):
        await channel(5, backend="ray", name=name)
    for handle in handles:
        await handle.close()


async def test_a_handle_built_by_hand_on_a_channel_of_another_kind_says_so(ray_cluster):
    from klaw_core.runtime.channels.ray import RaySender

    once = await oneshot(backend="ray")
    tx = RaySender(once[0]._channel.owner.actor, 1)
    with pytest.raises(ChannelBackendErrorException, match="of kind 'oneshot', and this handle"):
        await tx.send(1)
    for handle in once:
        await handle.close()


async def test_one_that_is_used_up_is_made_fresh(ray_cluster, name):
    tx, rx = await channel(4, backend="ray", name=name)
    await tx.close()
    await rx.close()
    assert await get_channel(name) is None
    tx, rx = await channel(5, backend="ray", name=name)
    await tx.send("fresh")
    assert await rx.recv() == "fresh"


async def test_a_side_whose_last_process_died_says_what_happened_and_what_to_do(ray, name):
    @ray.remote(num_cpus=0, max_retries=0)
    def send_and_die(tx):
        tx.blocking_send("the last word")
        os.kill(os.getpid(), signal.SIGKILL)

    settings = {"backend": "ray", "name": name, "orphan_grace": 0.1}
    tx, rx = await channel(4, **settings)
    send_and_die.remote(tx)
    await tx.close()
    assert await rx.recv(timeout=30) == "the last word"
    what = r"the process of the last sender died \(.*\), and no other one came within orphan_grace"
    with pytest.raises(ChannelClosedError, match=f"^{what}$") as told:
        await rx.recv(timeout=30)
    assert told.value.kind == "peer_died"
    advice = rf"delete_channel\('{name}', namespace='klaw'\).*persistent=True"
    for again in (channel(4, **settings), get_sender(name), get_channel(name)):
        with pytest.raises(
            ChannelClosedError, match=f"^channel '{name}' .*: {what}\\. .*{advice}"
        ) as refused:
            await again
        assert refused.value.kind == "peer_died"
        assert re.search("[0-9a-f]{32}", str(refused.value)) is None
    assert await asyncio.to_thread(delete_channel, name)
    tx, rx = await channel(4, **settings)
    await tx.send("begun anew")
    assert await rx.recv() == "begun anew"


async def test_a_side_that_was_closed_says_what_to_do(ray_cluster, name):
    tx, _rx = await channel(4, backend="ray", name=name)
    await tx.close()
    with pytest.raises(
        ChannelClosedError,
        match=f"channel '{name}' .* takes no senders any more: its last sender was closed.*delete_channel",
    ) as caught:
        await get_sender(name)
    assert caught.value.kind == "ended"


async def test_deleting_ends_what_waits_everywhere(ray_cluster, name):
    tx, rx = await channel(1, backend="ray", name=name)
    await tx.send(1)
    sending = asyncio.ensure_future(tx.send(2))
    _, other = await get_channel(name)
    await other.recv()
    await sending
    receiving = [asyncio.ensure_future(handle.recv()) for handle in (other, rx, rx)]
    assert await asyncio.to_thread(delete_channel, name) is True
    results = await asyncio.gather(*receiving, return_exceptions=True)
    kinds = [error.kind for error in results if isinstance(error, ChannelClosedError)]
    assert kinds.count("deleted") >= 2
    with pytest.raises(ChannelClosedError) as caught:
        await tx.send(3)
    assert caught.value.kind == "deleted"
    assert name not in list_channels()


async def test_namespaces_are_apart(ray_cluster, name):
    first = await channel(1, backend="ray", name=name)
    other = await channel(2, backend="ray", name=name, namespace="klaw-other")
    try:
        assert (await get_channel(name))[0].capacity == 1
        assert (await get_channel(name, namespace="klaw-other"))[0].capacity == 2
        assert name in list_channels(namespace="klaw-other")
    finally:
        assert delete_channel(name, namespace="klaw-other")
        for handle in (*first, *other):
            await handle.close()


async def test_a_foreign_actor_of_that_name_is_a_clear_error_and_is_not_listed(ray, name):
    class Foreign:
        def hello(self) -> str:
            return "hello"

    foreign = f"foreign-{uuid.uuid4().hex[:8]}"
    actor = ray.remote(Foreign).options(name=f"channel_{foreign}", namespace="klaw").remote()
    assert await actor.hello.remote() == "hello"
    for call in (channel(4, backend="ray", name=foreign), get_channel(foreign)):
        with pytest.raises(ChannelBackendErrorException, match="no channel.*use another name"):
            await call
    assert foreign not in list_channels()
    ray.kill(actor)


async def test_an_actor_that_cannot_be_placed_is_a_clear_error(ray_cluster, monkeypatch):
    from klaw_core.runtime.channels.ray import factory

    monkeypatch.setattr(factory, "_PLACEMENT_LIMIT_S", 1.0)
    with pytest.raises(ChannelBackendErrorException, match="enough resources"):
        await channel(4, backend="ray", actor_options={"num_cpus": 10_000})


async def test_a_worker_without_klaw_is_a_clear_error(ray_cluster, tmp_path):
    (tmp_path / "klaw_core").mkdir()
    (tmp_path / "klaw_core" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'klaw_core'\")"
    )
    with pytest.raises(ChannelBackendErrorException, match="has no klaw_core.*runtime_env"):
        await channel(
            4,
            backend="ray",
            actor_options={"runtime_env": {"env_vars": {"PYTHONPATH": str(tmp_path)}}},
        )


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=55, check=False, env=os.environ | environment,
    )  # fmt: skip


MAKE_ONE = """
import asyncio
from klaw_core.runtime.channels import channel

async def make():
    await channel(4, backend="ray")

try:
    asyncio.run(make())
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_cluster_that_cannot_be_reached_is_a_clear_error():
    done = run(MAKE_ONE, RAY_ADDRESS="127.0.0.9:1")
    assert "ChannelBackendErrorException" in done.stdout, done.stdout + done.stderr
    assert "127.0.0.9:1" in done.stdout


INITIALISES = """
import asyncio, signal, threading
from klaw_core.runtime.channels import blocking_channel, channel, get_channel

async def make():
    pairs = await asyncio.gather(*(channel(4, backend="ray") for _ in range(3)))
    assert await get_channel("missing") is None
    await pairs[0][0].send("sent")
    print(await pairs[0][1].recv())

def make_blocking():
    tx, rx = blocking_channel(4, backend="ray")
    tx.blocking_send("sent")
    print(rx.blocking_recv(timeout=20))

def make_in_a_thread():
    thread = threading.Thread(target=asyncio.run, args=[make()])
    thread.start()
    thread.join()

{make}
print("default" if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else "handled")
"""


@pytest.mark.parametrize("make", ["asyncio.run(make())", "make_blocking()"])
def test_in_the_main_thread_ray_is_initialised_there_and_handles_sigterm(ray_cluster, make):
    done = run(INITIALISES.replace("{make}", make))
    assert done.stdout.split() == ["sent", "handled"], done.stdout + done.stderr
    assert "SIGTERM" not in done.stderr


def test_ray_is_initialised_once_in_another_thread_and_leaves_sigterm_alone(ray_cluster):
    done = run(INITIALISES.replace("{make}", "make_in_a_thread()"))
    assert done.stdout.split() == ["sent", "default"], done.stdout + done.stderr


def test_a_loop_goes_on_while_ray_is_looked_for_where_nobody_listens(monkeypatch):
    """In vain, so that nothing is initialised."""
    from klaw_core.runtime.channels.ray import factory

    is_looked_for = threading.Event()
    goes_on = threading.Event()

    def look() -> None:
        is_looked_for.set()
        assert goes_on.wait(20)
        raise RuntimeError("nobody listens")

    async def main() -> None:
        being_made = asyncio.ensure_future(channel(4, backend="ray"))
        await asyncio.to_thread(is_looked_for.wait, 20)
        goes_on.set()  # by the loop, while Ray is looked for
        with pytest.raises(RuntimeError, match="nobody listens"):
            await being_made

    # In this module only: other threads use Ray meanwhile.
    monkeypatch.setattr(factory, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(factory, "_check_that_ray_can_be_reached", look)
    asyncio.run(main())


def test_ray_client_is_refused():
    done = run(MAKE_ONE, RAY_ADDRESS="ray://127.0.0.2:10001")
    assert done.stdout.startswith(
        "RuntimeError klaw channels cannot be used over Ray Client (ray://)"
    )


def test_a_named_channel_outlives_the_process_that_made_it(ray_cluster, name):
    made = run(f"""
from klaw_core.runtime.channels import blocking_channel
tx, rx = blocking_channel(4, backend="ray", name={name!r}, persistent=True)
tx.blocking_send("left behind")
""")
    assert made.returncode == 0, made.stderr
    receiver = blocking_get_receiver(name)
    assert receiver.blocking_recv(timeout=20) == "left behind"
    receiver.blocking_close()


async def test_an_anonymous_channel_ends_with_its_last_handle(ray_cluster, eventually):
    from ray._private.state import actors

    tx, rx = await channel(4, backend="ray")
    actor_id = tx._channel.owner.actor._actor_id.hex()
    clone = rx.clone()
    await tx.close()
    await rx.close()
    await eventually.stats(clone, receiver_count=1)
    assert actors(actor_id)["State"] == "ALIVE"
    await clone.close()
    await eventually.true(lambda: actors(actor_id)["State"] == "DEAD")


def test_an_anonymous_channel_lives_on_where_it_was_handed_to(ray, name):
    """Not with the process that made it: its handles are at an actor of another job's by then."""

    @ray.remote(num_cpus=0)
    class Keeper:
        def keep(self, handles):
            self.kept = handles

        def use(self):
            tx, rx = self.kept
            tx.blocking_send("still there")
            return rx.blocking_recv(timeout=20)

    keeper = Keeper.options(name=f"keeper-{name}", namespace="klaw-tests").remote()
    made = run(f"""
import ray
ray.init(namespace="klaw-tests", log_to_driver=False)
from klaw_core.runtime.channels import blocking_channel
handles = blocking_channel(4, backend="ray")
ray.get(ray.get_actor("keeper-{name}").keep.remote(list(handles)))
""")
    assert made.returncode == 0, made.stderr
    assert ray.get(keeper.use.remote()) == "still there"
    ray.kill(keeper)
