"""This process's connections to channels: one for each channel and ``prefetch``, shared by all handles of these.

A connection finds its broker by itself: it asks for it here (``next_lookup``), in a thread that calls
the channel's actor and never waits for one channel while others ask. The answer is remembered, so that
a forked child, which cannot use Ray, can connect as well.

At the end of the process all handles are closed, and the brokers have ``_EXIT_LIMIT_S`` to hear of it.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

import ray
from ray.exceptions import ActorDiedError

from klaw_core import _core
from klaw_core.runtime.channels.ray.explain import backend_error, explain
from klaw_core.runtime.channels.tls import tls_files

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Connection", "connection_of"]

_LOOKUP_LIMIT_S: Final = 5.0  # for the actor to answer; then it is asked again
_EXIT_LIMIT_S: Final = 5.0
_LINGER_S: Final = 60.0  # longer than a link lives on without its handles


class Connection:
    """What this process knows of a channel, beside its link to the broker (``channel``)."""

    __slots__ = (
        "actor",
        "capacity",
        "endpoint",
        "kind",
        "name",
        "namespace",
        "node_id",
        "prefetch",
        "ray_pid",
        "session",
    )

    def __init__(
        self,
        actor: Any,
        capacity: int | None,
        kind: str,
        name: str | None,
        namespace: str | None,
        prefetch: int,
    ) -> None:
        self.capacity: int | None = capacity
        self.kind: str = kind
        self.name: str | None = name
        self.namespace: str | None = namespace
        self.prefetch: int = prefetch
        self.endpoint: dict[str, Any] | None = None  # as the actor has told it last
        self.know(actor)

    def know(self, actor: Any) -> None:
        """The channel's actor, as Ray knows it in its present session."""
        self.actor: Any = actor
        self.session: str = _session()
        self.node_id: str = ray.get_runtime_context().get_node_id()
        self.ray_pid: int = os.getpid()

    def is_of_earlier_session(self) -> bool:
        """Whether Ray was shut down and initialised again since: to ask it for the actor then would end the process."""
        return ray.is_initialized() and self.session != _session()

    def why_unknown(self) -> str | None:
        """Why Ray does not know the actor, if so."""
        if not ray.is_initialized():
            return "Ray was shut down in this process"
        if self.is_of_earlier_session():
            return (
                "this handle is from before ray.shutdown(), and Ray does not know it any more: get the channel anew, "
                "as with get_channel()"
            )
        return None

    def known_actor(self) -> Any:
        """The actor, to be called or pickled.

        Raises:
            ChannelBackendErrorException: Ray does not know it any more.
        """
        if (why := self.why_unknown()) is not None:
            raise backend_error(why, name=self.name, namespace=self.namespace)
        return self.actor


def _session() -> str:
    """Each ``ray.init()`` makes this process another worker of Ray's."""
    return str(ray.get_runtime_context().get_worker_id())


_lock = threading.Lock()
_channels: WeakValueDictionary[str, _core.RemoteChannel] = WeakValueDictionary()
# Also of channels that are gone: a handle that was claimed and dropped at once still has to tell its broker so.
_connections: dict[str, Connection] = {}
_gone: deque[tuple[float, str]] = deque()  # when, and whose channel; the oldest first
_finder: threading.Thread | None = None


def connection_of(
    actor: Any,
    capacity: int | None,
    *,
    kind: str = "mpmc",
    name: str | None = None,
    namespace: str | None = None,
    prefetch: int = 0,
) -> _core.RemoteChannel:
    """This process's connection to the channel of that actor. Calls nobody, and never waits.

    If the channel turns out to be of another ``kind``, all that is done on it raises an error that says so.
    """
    key = f"{actor._actor_id.hex()}/{kind}/{prefetch}"
    with _lock:
        channel = _channels.get(key)
        if channel is None:
            _forget_gone()
            known = Connection(actor, capacity, kind, name, namespace, prefetch)
            actor_name = f"channel_{name}" if name else actor._actor_id.hex()
            channel = _core.RemoteChannel(
                key,
                capacity,
                actor_name,
                namespace,
                node=known.node_id,
                prefetch=prefetch,
                tls=tls_files(),
                kind=kind,
            )
            channel.owner = known
            _channels[key] = channel
            _connections[key] = known
            weakref.finalize(channel, _note_gone, key).atexit = False
        elif (known := cast("Connection", channel.owner)).is_of_earlier_session():
            known.know(actor)  # with which older handles go on
        _start_finder()
    return channel


def _note_gone(key: str) -> None:
    _gone.append((time.monotonic(), key))


def _forget_gone() -> None:
    """Under the lock."""
    while _gone and _gone[0][0] < time.monotonic() - _LINGER_S:
        _, key = _gone.popleft()
        if key not in _channels:
            _connections.pop(key, None)


def _start_finder() -> None:
    global _finder  # noqa: PLW0603  one for the process; under the lock
    if _finder is None:
        _finder = threading.Thread(target=_find_brokers, name="klaw-lookup", daemon=True)
        _finder.start()


def _find_brokers() -> None:
    deadlines: dict[int, float] = {}  # of lookups that the actor has not answered, the oldest first
    while True:
        now = time.monotonic()
        for late in [lookup for lookup, deadline in deadlines.items() if deadline <= now]:
            del deadlines[late]  # answered in time, mostly: then this is ignored
            _core.fail_lookup(
                late, f"the channel's actor did not answer within {_LOOKUP_LIMIT_S:g} s"
            )
        timeout = next(iter(deadlines.values())) - now if deadlines else -1.0
        asked = _core.next_lookup(max(0.0, timeout) if deadlines else -1.0)
        if asked is None:
            continue
        lookup, key = asked
        deadlines[lookup] = time.monotonic() + _LOOKUP_LIMIT_S
        try:
            _look_up(lookup, key)
        except Exception as error:  # noqa: BLE001  whatever Ray says, the one who waits is told
            _core.fail_lookup(lookup, str(error))


def _look_up(lookup: int, key: str) -> None:
    known = _connections.get(key)
    if known is None:
        return _core.fail_lookup(lookup, "all its handles are gone")
    if known.ray_pid != os.getpid():
        if known.endpoint is None:
            return _core.fail_lookup(
                lookup,
                "this process was forked before its parent had reached the channel, and cannot use Ray",
            )
        return _answer(lookup, known, known.endpoint)
    if (why := known.why_unknown()) is not None:
        return _core.fail_lookup(lookup, why)
    # The link asks again by itself; a repetition by Ray would come too late, and be written to the user's terminal.
    ask = known.actor.get_endpoint.options(max_task_retries=0)
    future: Future[Any] = ask.remote().future()
    future.add_done_callback(partial(_answered, lookup, key, known))
    return None


def _answered(lookup: int, key: str, known: Connection, future: Future[Any]) -> None:
    try:
        endpoint = future.result()
    except ActorDiedError as error:
        channel = _channels.get(key)
        if channel is not None:
            channel.broker_died(channel.epoch, explain(error), True)
    except Exception as error:  # noqa: BLE001  it is told to the one who waits
        _core.fail_lookup(lookup, explain(error))
    else:
        _answer(lookup, known, endpoint)


def _answer(lookup: int, known: Connection, endpoint: dict[str, Any]) -> None:
    known.endpoint = endpoint
    on_this_node = endpoint["node_id"] == known.node_id
    _core.answer_lookup(
        lookup,
        endpoint["channel"],
        endpoint["secret"],
        endpoint["unix_path"] if on_this_node else "",
        endpoint["addresses"],
    )


def _after_fork() -> None:
    """In the child: the finder is the parent's, and so is who may hold the lock."""
    global _lock, _finder  # noqa: PLW0603  one for the process
    _lock = threading.Lock()
    _finder = None
    if _channels:
        _start_finder()


def _at_exit() -> None:
    _core.retire(list(_channels.values()), _EXIT_LIMIT_S)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
