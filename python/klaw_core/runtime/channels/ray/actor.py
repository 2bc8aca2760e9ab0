"""``RayChannelActor``: the Ray actor that holds a channel.

Handles talk to the broker inside it directly (``docs/architecture.md``): they ask the actor only where
the broker is. Its other methods are the channel as seen from plain Ray code, in any language that can
call an actor; they act on the same queue.

- **Status codes**: they return ``'ok'``, ``'full'``, ``'empty'``, ``'closed'``, and never raise. (But for a bad
  argument, such as a damaged checkpoint: ``ValueError``.)
- **Waiting** is the broker's state: any number of callers may wait without keeping others out.
- **Counting**: ``register_sender`` and ``register_receiver`` count like handles; ``put`` and ``get`` of
  somebody who has not registered pass through. Registering on a side that has closed is ``'closed'``.
- **Retries**: Ray repeats a call whose reply was lost. Give ``sender_id`` (or ``reader_id``) and ``op``,
  a number that grows with each call of that caller, who awaits each before the next: the repeated call
  then happens once.
- **Restarts**: up to ``max_restarts`` times; what it held is lost then, unless a checkpoint has it (``checkpoints``),
  and every handle is told.
- **A broadcast** (``kind``) can be sent to by ``put``, one item at a time; to receive needs a handle, since it has a
  place in the stream: ``get`` and ``register_receiver`` are ``'closed'``.
- **Payloads** of reference channels (``reference``): it holds Ray's references to them by name, from before a
  message with that name is sent until the broker is done with it. So Ray counts this process among those that
  need the object, whatever becomes of the handles; the socket carries names only.

Cost: one call takes about a millisecond, whatever it does; use handles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray

from klaw_core import _core
from klaw_core.runtime.channels.ray.checkpoints import Checkpoints
from klaw_core.runtime.channels.ray.metrics import ChannelMetrics, export, metrics_period
from klaw_core.runtime.channels.ray.payload import Encoded
from klaw_core.runtime.channels.settings import ChannelSettings
from klaw_core.runtime.channels.stats import ChannelCheckpoint, ChannelStats
from klaw_core.runtime.channels.tls import tls_files

__all__ = ["PROTOCOL_VERSION", "RayChannelActor", "ReaderInfo"]

PROTOCOL_VERSION: Final = 1
"""Of what actors and handles say to each other; see ``docs/wire-protocol.md``."""

_LOGGER: Final = logging.getLogger(__name__)
_UNIX_PATH_MAX: Final = 107  # bytes, the operating system's
_UNUSED_LIMIT_S: Final = 60.0  # then an anonymous channel without handles ends
_DELETE_LIMIT_S: Final = 3.0
_CALLS_AT_ONCE: Final = 10_000  # that may wait in the actor


# Those that wait have a group of their own, so that they keep no other out.
_waiting: Final = ray.method(concurrency_group="waiting")
_control: Final = ray.method(concurrency_group="control")


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """A receiver as the channel knows it.

    Attributes:
        reader_id: its name: 32 hexadecimal digits, for handles.
        node_id: the Ray node that it is on.
        registered_at, last_seen_at: seconds since 1970; it is seen when it receives.
        total_received: messages that it has taken.
    """

    reader_id: str
    node_id: str
    registered_at: float
    last_seen_at: float
    total_received: int = 0


def _socket_path(actor_id: str) -> str:
    """A path for the unix socket in a folder of this user's; empty if there is none."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  short enough, and the folder is ours alone
        folder = Path(base) / f"klaw-{os.getuid()}"
        path = folder / f"{actor_id}.sock"
        if len(os.fsencode(path)) > _UNIX_PATH_MAX:
            continue
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if (
                stat.S_ISDIR(found.st_mode)
                and found.st_uid == os.getuid()
                and not found.st_mode & 0o077
            ):
                return str(path)
    return ""


def _port_range() -> tuple[int, int]:
    """What ``KLAW_PORT_RANGE`` allows, ``20000-20100``; (0, 0): any port."""
    text = os.environ.get("KLAW_PORT_RANGE", "")
    if not text:
        return 0, 0
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        low = high = -1
    if not 0 < low <= high <= 65535:  # noqa: PLR2004  the largest port
        raise ValueError(f"KLAW_PORT_RANGE must be like 20000-20100, not {text!r}")
    return low, high


def _restarts(actor_id: str) -> int:
    """How often Ray has restarted this actor: the control plane counts, so no two brokers are of one epoch."""
    from ray._private.state import actors

    return int(actors(actor_id)["NumRestarts"])


class ChannelActor:
    """A channel: see the module.

    Args:
        capacity: messages it holds at most; or, as the factories give it, all settings of the channel.
        unbounded: no limit; ``capacity`` is ignored.
        name, namespace: the channel's, if it has a name.
        anonymous: it ends itself when nobody has a handle.
        initial: a watch's first value, as bytes.
    """

    def __init__(
        self,
        capacity: int | ChannelSettings,
        unbounded: bool = False,
        *initial: bytes,
        name: str | None = None,
        namespace: str = "",
        anonymous: bool = False,
    ) -> None:
        self._settings: ChannelSettings = (
            capacity
            if isinstance(capacity, ChannelSettings)
            else ChannelSettings.of_queue(capacity, unbounded)
        )
        context = ray.get_runtime_context()
        self._actor_id = context.get_actor_id() or ""
        self._node_id = context.get_node_id()
        self._name = name
        self._namespace = namespace
        self._anonymous = anonymous
        self._epoch = 1 + _restarts(self._actor_id)
        self._secret = secrets.token_bytes(32)
        self._unix_path = _socket_path(self._actor_id)
        port_min, port_max = _port_range()
        self._server = _core.BrokerServer(
            self._settings,
            epoch=self._epoch,
            created_at=time.time(),
            channel=bytes.fromhex(self._actor_id),
            secret=self._secret,
            unix_path=self._unix_path,
            hosts=[ray.util.get_node_ip_address()],
            port_min=port_min,
            port_max=port_max,
            tls=tls_files(),
            initial=b"".join(initial),
        )
        self._checkpoints: Checkpoints | None = None
        if (folder := self._settings.checkpoint_dir) is not None:
            # Before anybody knows where the broker is.
            self._checkpoints = Checkpoints(self._server, folder, name, self._actor_id, self._epoch)
        self._lock = (
            threading.Lock()
        )  # the methods run in several threads, one for each concurrency group
        self._unnamed: dict[bool, list[str]] = {True: [], False: []}  # registered without a name
        self._reader_nodes: dict[str, str] = {}  # of those that registered by a call
        self._payloads: dict[str, Any] = {}  # ObjectRefs, by name
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="klaw-broker", daemon=True).start()
        if (period := metrics_period()) > 0:
            metrics = ChannelMetrics(name or "(unnamed)", namespace)
            arguments = (metrics, self._read_metrics, period, self._ended)
            threading.Thread(
                target=export, args=arguments, name="klaw-metrics", daemon=True
            ).start()

    # --- what handles ask ---

    @_control
    async def get_endpoint(self) -> dict[str, Any]:
        """Where the broker is, and the secret that its clients prove to know."""
        return {
            "channel": bytes.fromhex(self._actor_id),
            "epoch": self._epoch,
            "secret": self._secret,
            "node_id": self._node_id,
            "unix_path": self._unix_path,
            "addresses": self._server.addresses,
            "protocol": PROTOCOL_VERSION,
            "klaw": _core.__version__,
        }

    # --- registration ---

    @_control
    async def register_sender(self, sender_id: str | None = None) -> str:
        """One more sender. With an id it is idempotent."""
        return self._register(True, sender_id)

    @_control
    async def deregister_sender(self, sender_id: str | None = None) -> str:
        """The sender of that id is gone; without an id, one that registered without."""
        return self._deregister(True, sender_id)

    @_control
    async def register_receiver(self, reader_id: str | None = None, node_id: str = "") -> str:
        """One more receiver. With an id it is idempotent."""
        if reader_id is not None:
            with self._lock:
                self._reader_nodes[reader_id] = node_id
        return self._register(False, reader_id)

    @_control
    async def deregister_receiver(self, reader_id: str | None = None) -> str:
        """The receiver of that id is gone; without an id, one that registered without."""
        return self._deregister(False, reader_id)

    def _register(self, is_sender: bool, name: str | None) -> str:
        if name is None:
            name = f"unnamed-{secrets.token_hex(8)}"
            with self._lock:
                self._unnamed[is_sender].append(name)
        return self._server.register_handle(is_sender, name)

    def _deregister(self, is_sender: bool, name: str | None) -> str:
        if name is None:
            with self._lock:
                if not self._unnamed[is_sender]:
                    return "ok"
                name = self._unnamed[is_sender].pop()
        self._server.deregister_handle(is_sender, name)
        with self._lock:
            self._reader_nodes.pop(name, None)
        return "ok"

    @_control
    async def abandon_handle(self, token: bytes) -> None:
        """Nobody can unpickle the handle of that token any more: its side does not wait for it much longer."""
        self._server.abandon(token)

    # --- messages ---

    @_waiting
    async def put(
        self,
        item: Any,
        timeout: float | None = None,
        *,
        sender_id: str | None = None,
        op: int | None = None,
    ) -> str:
        """One item, waiting for room: ``'ok'``, ``'full'`` when the time is over, ``'closed'``."""
        return await self._put([item], timeout, sender_id, op)

    @_control
    async def put_nowait(
        self, item: Any, *, sender_id: str | None = None, op: int | None = None
    ) -> str:
        """One item, if there is room now."""
        return await self._put([item], 0, sender_id, op)

    @_waiting
    async def put_batch(
        self,
        items: list[Any],
        timeout: float | None = None,
        *,
        sender_id: str | None = None,
        op: int | None = None,
    ) -> str:
        """All items or none, waiting for room for all of them; more than fit at all is ``'full'`` at once."""
        return await self._put(list(items), timeout, sender_id, op)

    @_control
    async def put_nowait_batch(
        self, items: list[Any], *, sender_id: str | None = None, op: int | None = None
    ) -> str:
        """All items or none, if there is room now."""
        return await self._put(list(items), 0, sender_id, op)

    @_waiting
    async def get(
        self, timeout: float | None = None, reader_id: str | None = None, *, op: int | None = None
    ) -> tuple[str, Any]:
        """The next item, waiting for it: ``('ok', item)``, ``('empty', None)``, ``('closed', None)``."""
        status, items = await self._get(1, timeout, reader_id, op)
        return status, items[0] if items else None

    @_control
    async def get_nowait(
        self, reader_id: str | None = None, *, op: int | None = None
    ) -> tuple[str, Any]:
        """The next item, if there is one now."""
        status, items = await self._get(1, 0, reader_id, op)
        return status, items[0] if items else None

    @_waiting
    async def get_batch(
        self,
        max_items: int,
        timeout: float | None = None,
        reader_id: str | None = None,
        *,
        op: int | None = None,
    ) -> tuple[str, list[Any]]:
        """Waits for the first item and takes what is there, ``max_items`` at most."""
        return await self._get(max_items, timeout, reader_id, op)

    async def _put(
        self, items: list[Any], timeout: float | None, sender_id: str | None, op: int | None
    ) -> str:
        caller, number = _numbered(sender_id, op)
        return await self._server.put(items, timeout, self._known(True, sender_id), caller, number)

    async def _get(
        self, max_items: int, timeout: float | None, reader_id: str | None, op: int | None
    ) -> tuple[str, list[Any]]:
        caller, number = _numbered(reader_id, op)
        known = self._known(False, reader_id)
        status, payloads = await self._server.get(max(1, max_items), timeout, known, caller, number)
        return status, [Encoded(payload) for payload in payloads]

    def _known(self, is_sender: bool, name: str | None) -> str:
        """The name of one that has registered; others pass through without a name."""
        if name is None:
            return ""
        if is_sender:
            return name if name in self._unnamed[True] else ""
        return name if name in self._reader_nodes else ""

    # --- payloads ---

    @_control
    async def keep_payloads(self, refs: dict[str, Any]) -> None:
        """Objects that messages are about to refer to, by name."""
        with self._lock:
            self._payloads |= refs

    @_control
    async def get_payloads(self, names: list[str]) -> list[Any]:
        """Their ObjectRefs; None for what is not there."""
        with self._lock:
            return [self._payloads.get(name) for name in names]

    @_control
    async def adopt_payloads(self, names: list[str]) -> None:
        """Makes them this process's own, so that they outlive the one that has put them."""
        await asyncio.gather(*(self._adopt(name) for name in names))

    async def _adopt(self, name: str) -> None:
        theirs = self._payloads.get(name)
        if theirs is None:
            return  # it was received meanwhile
        ours = await asyncio.to_thread(ray.put, await theirs)
        with self._lock:
            if name in self._payloads:
                self._payloads[name] = ours

    @_control
    async def drop_payloads(self, names: list[str], unless_queued: bool = False) -> None:
        """No message refers to them; or perhaps one does, if ``unless_queued``: that decides."""
        kept = set(self._server.references()) if unless_queued else set()
        for name in set(names) - kept:
            self._drop_payload(name)

    def _drop_payload(self, name: str) -> None:
        with self._lock:
            ref = self._payloads.pop(name, None)
        del ref  # outside of the lock: Ray may have something to do then

    # --- introspection ---

    @_control
    async def get_stats(self) -> ChannelStats:
        """The channel at this moment.

        ``backend_extras['per_node_receivers']`` counts receivers by node; ``['unclaimed_senders']`` and
        ``['unclaimed_receivers']`` the handles that were pickled and not unpickled yet, which count as open;
        ``['payloads']`` what it holds of the object store. What has been there for longer than
        ``['checkpoint_age']``, in seconds, is in a checkpoint.
        """
        readers = self._readers()
        nodes = Counter(reader.node_id for reader in readers)
        sent_bytes, received_bytes = self._server.traffic()
        unclaimed_senders, unclaimed_receivers = self._server.unclaimed()
        return replace(
            self._server.stats(),
            backend_extras={
                "per_node_receivers": dict(nodes),
                "unclaimed_senders": unclaimed_senders,
                "unclaimed_receivers": unclaimed_receivers,
                "epoch": self._epoch,
                "persistent": self._settings.persistent,
                "sent_bytes": sent_bytes,
                "received_bytes": received_bytes,
                "payloads": len(self._payloads),
                "checkpoint_age": None if self._checkpoints is None else self._checkpoints.age,
            },
        )

    def _read_metrics(self) -> tuple[ChannelStats, tuple[int, int]]:
        return self._server.stats(), self._server.traffic()

    @_control
    async def peek_payloads(self, max_items: int) -> list[bytes]:
        """The payloads of the messages that would be received next. They stay."""
        return self._server.peek(max_items)

    @_control
    async def get_capacity(self) -> int | None:
        """Messages it holds at most; None for unbounded."""
        return self._settings.capacity

    @_control
    async def is_closed(self) -> bool:
        """Both sides have closed and nothing is left."""
        return self._server.is_closed()

    @_control
    async def get_metadata(self) -> dict[str, Any]:
        """What it is: versions, kind, name, settings, epoch."""
        return {
            "protocol": PROTOCOL_VERSION,
            "klaw": _core.__version__,
            "name": self._name,
            "namespace": self._namespace,
            "epoch": self._epoch,
            **asdict(self._settings),
        }

    @_control
    async def get_reader_stats(self) -> dict[str, dict[str, Any]]:
        """Per receiver: ``node_id``, ``registered_at``, ``last_seen_at``, ``total_received``."""
        return {
            reader.reader_id: {
                "node_id": reader.node_id,
                "registered_at": reader.registered_at,
                "last_seen_at": reader.last_seen_at,
                "total_received": reader.total_received,
            }
            for reader in self._readers()
        }

    def _readers(self) -> list[ReaderInfo]:
        now = time.time()
        return [
            ReaderInfo(
                reader_id=name,
                node_id=node or self._reader_nodes.get(name, ""),
                registered_at=now - registered_ago,
                last_seen_at=now - seen_ago,
                total_received=total,
            )
            for name, (node, registered_ago, seen_ago, total) in self._server.reader_stats().items()
        ]

    # --- checkpoint ---

    @_control
    async def get_checkpoint_state(self, messages: bool = False) -> dict[str, Any]:
        """The counters, as ``ChannelCheckpoint`` has them; with ``messages`` all that it holds, as bytes.

        ``ValueError`` for the messages of a reference channel, whose payloads would not be kept with them, and for
        those of a oneshot, broadcast or watch.
        """
        if messages:
            self._check_kind()
        if messages and self._settings.reference:
            raise ValueError("a checkpoint can't have the messages of a reference channel")
        # In a thread: of many messages it takes a while.
        found = await asyncio.to_thread(self._server.checkpoint, messages)
        state = asdict(ChannelCheckpoint(*found[:5]))
        return state if found[5] is None else state | {"messages": found[5]}

    @_control
    async def apply_checkpoint_state(self, state: dict[str, Any]) -> str:
        """Takes over what ``get_checkpoint_state`` gave: ``'ok'``.

        Counters alone go onto any channel; messages onto one that nobody has used yet, else it is ``'closed'``.
        ``ValueError`` if it is something else, or damaged.
        """
        try:
            is_taken = await self._take_over(state)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the state is no checkpoint: {error!r}") from error
        return "ok" if is_taken else "closed"

    @_control
    async def save_checkpoint(self) -> str:
        """Writes a checkpoint into ``checkpoint_dir``: what was there when this was called survives the actor.

        ``ValueError`` for a channel without ``checkpoint_dir``; ``OSError`` if it can't be written.
        """
        if self._checkpoints is None:
            raise ValueError("it has no checkpoint_dir: see channel(checkpoint_dir=...)")
        await asyncio.to_thread(self._checkpoints.save)
        return "ok"

    async def _take_over(self, state: dict[str, Any]) -> bool:
        self._check_kind()
        if "messages" in state:  # which have the counters, too
            return await asyncio.to_thread(
                self._server.restore_checkpoint, state["messages"], is_own=False
            )
        return self._server.restore(
            created_at=float(state["created_at"]),
            total_sent=int(state["total_sent"]),
            total_received=int(state["total_received"]),
            senders_closed=bool(state["senders_closed"]),
            receivers_closed=bool(state["receivers_closed"]),
        )

    def _check_kind(self) -> None:
        if (kind := self._settings.kind) != "mpmc":
            raise ValueError(f"this is a {kind} channel: checkpoints are of MPMC channels")

    # --- the end ---

    @_control
    async def remove(self) -> str:
        """Delete the channel: all handles are told, then the actor ends."""
        self._server.remove()
        await asyncio.to_thread(self._ended.wait, _DELETE_LIMIT_S)
        return "ok"

    def _watch(self) -> None:
        """Runs in a thread of its own: logs what the broker says, and ends the actor when nobody wants it."""
        for what, text in self._events():
            if what == "log":
                _LOGGER.warning("channel %s: %s", self._name or self._actor_id, text)
                continue
            break
        if self._checkpoints is not None:
            self._checkpoints.end()
        self._ended.set()
        self._server.stop()  # and with it goes the file of its socket
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _events(self) -> Iterator[tuple[str, str]]:
        """What the broker tells, and ``('unused', '')`` once an anonymous channel has no handles any more."""
        unused_since: float | None = time.monotonic()
        while True:
            limit: float | None = None
            if self._anonymous and unused_since is not None:
                wait = max(_UNUSED_LIMIT_S, self._settings.orphan_grace + 5)
                limit = max(0.0, unused_since + wait - time.monotonic())
            event = self._server.next_event(limit)
            if event is None:
                yield "unused", ""
            elif event[0] == "reference":
                self._drop_payload(event[1])
            elif event[0] == "handles":
                unused_since = time.monotonic() if event[1] == "0" else None
                if self._anonymous and unused_since is not None and self._server.is_closed():
                    yield "unused", ""
            else:
                yield event


def _numbered(caller: str | None, op: int | None) -> tuple[str, int]:
    return ("", 0) if caller is None or op is None else (caller, op)


RayChannelActor: Any = ray.remote(
    num_cpus=0,
    max_restarts=4,
    max_task_retries=-1,
    concurrency_groups={"waiting": _CALLS_AT_ONCE, "control": 100},
)(ChannelActor)
"""The actor class: ``RayChannelActor.remote(capacity, unbounded=False)``."""
