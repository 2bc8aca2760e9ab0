"""Ray channels: making and finding them.

The plain functions block; each async one does the same in a thread, so that the event loop goes on.

- **Names**: a named channel is a detached actor ``channel_{name}`` in its namespace, and lives until it is
  deleted. Making one that is there gives handles on it, if its settings are the same. One that is closed on
  both sides and drained is made anew.
- **Without a name** it ends when no handle is left in any process, or none came within a minute; not with
  the process that made it.
- **Ray** is initialised, if it is not, in Ray's own way: ``RAY_ADDRESS``, else a local cluster. In the main thread
  that blocks the event loop, once: only there can Ray handle SIGTERM. ``ray.init()`` before the loop runs avoids it.
- **Errors**: ``ChannelBackendErrorException`` that names the channel and says what to do, within half a minute.
- **Cancel safety**: a cancelled call leaves nothing behind but, at most, a channel without handles.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import ray

from klaw_core import _core
from klaw_core.runtime.channels.errors import (
    ChannelBackendErrorException,
    ChannelClosedError,
    ClosedKind,
)
from klaw_core.runtime.channels.ray.actor import PROTOCOL_VERSION, RayChannelActor
from klaw_core.runtime.channels.ray.broadcast import RayBroadcastReceiver, RayBroadcastSender
from klaw_core.runtime.channels.ray.connections import connection_of
from klaw_core.runtime.channels.ray.core import RayReceiver, RaySender
from klaw_core.runtime.channels.ray.explain import backend_error
from klaw_core.runtime.channels.ray.oneshot import RayOneshotReceiver, RayOneshotSender
from klaw_core.runtime.channels.ray.reference import (
    RayReferenceReceiver,
    RayReferenceSender,
    read_all,
)
from klaw_core.runtime.channels.ray.watch import RayWatchReceiver, RayWatchSender
from klaw_core.runtime.channels.settings import (
    CAPACITY_DEFAULT,
    NAMESPACE_DEFAULT,
    ChannelSettings,
)
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = [
    "blocking_channel_stats",
    "blocking_get_channel",
    "blocking_get_receiver",
    "blocking_get_sender",
    "blocking_make_channel",
    "blocking_peek_channel",
    "delete_ray_channel",
    "get_ray_channel",
    "in_thread",
    "list_ray_channels",
    "ray_channel",
]

R = TypeVar("R")

Sending: TypeAlias = RaySender[Any] | RayReferenceSender[Any] | RayOneshotSender[Any]
Receiving: TypeAlias = RayReceiver[Any] | RayReferenceReceiver[Any] | RayOneshotReceiver[Any]
Pair: TypeAlias = tuple[Sending, Receiving]

_HANDLES: Final[Mapping[str, tuple[type[Any], type[Any]]]] = {
    "mpmc": (RaySender, RayReceiver),
    "oneshot": (RayOneshotSender, RayOneshotReceiver),
    "broadcast": (RayBroadcastSender, RayBroadcastReceiver),
    "watch": (RayWatchSender, RayWatchReceiver),
}
"""By kind: what its senders and its receivers are."""

_LOGGER: Final = logging.getLogger(__name__)
_PREFIX: Final = "channel_"
_PLACEMENT_LIMIT_S: Final = (
    20.0  # for an actor to be placed and to start: Ray starts a worker for it
)
_ANSWER_LIMIT_S: Final = 10.0  # for one that runs
_OPEN_LIMIT_S: Final = 15.0  # longer than a link tries: its error says more
_DELETE_LIMIT_S: Final = 5.0
_POLL_S: Final = 0.02
_PROBE_LIMIT_S: Final = 3.0
_CLASS_NAME: Final = "ChannelActor"
_SIDE_CLOSED: Final[frozenset[ClosedKind]] = frozenset({"ended", "peer_gone", "peer_died"})
# Ray keeps small arguments with an actor that it may restart, 10 MiB in all. Larger ones it puts into the object store,
# where they are lost with the process that made the actor.
_ARGUMENT_BYTES: Final = 64 * 1024
_INITIAL_BYTES_MAX: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Found:
    """A channel that is there, as its actor tells it."""

    actor: Any
    name: str | None
    namespace: str
    settings: ChannelSettings


# ------------------------------------------------------------------------------------------- making


async def ray_channel(
    capacity: int = CAPACITY_DEFAULT,
    *,
    unbounded: bool = False,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
) -> Pair:
    """Make a channel, or get the one of that name: ``(sender, receiver)``, which count when this returns."""
    settings = ChannelSettings.of_queue(capacity, unbounded)
    return await in_thread(partial(blocking_make_channel, settings, name=name, namespace=namespace))


def blocking_make_channel(
    settings: ChannelSettings,
    *,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
    actor_options: Mapping[str, Any] | None = None,
    initial: Any = None,
) -> Pair:
    """Make a channel of any kind, or get the one of that name, which keeps its content. Blocks.

    ``initial`` is the first value of a watch.

    Raises:
        ChannelBackendErrorException: Ray can't be reached, the actor can't be placed, or its node can't.
        ValueError: there is a channel of that name with other settings; the text names both.
        ChannelClosedError: there is a channel of that name one side of which has closed; the text says why.
    """
    content = _initial_of(initial, name, namespace) if settings.kind == "watch" else ()
    _ensure_ray()
    if settings.capacity is None:
        _LOGGER.warning("channel %s is unbounded: nothing holds senders back", name or "(unnamed)")
    made = _make(settings, name, namespace, actor_options or {}, content)
    return _open_pair(made, prefetch)


def _initial_of(value: object, name: str | None, namespace: str) -> list[bytes]:
    """The first value of a watch, in parts of which each is a small argument."""
    encoded = _core.encode(value)
    if len(encoded) > _INITIAL_BYTES_MAX:
        raise backend_error(
            f"the initial value is larger than {_INITIAL_BYTES_MAX} bytes, which is what the channel's actor can "
            "begin with: begin with a smaller one, and send it",
            name=name,
            namespace=namespace,
        )
    return [encoded[at : at + _ARGUMENT_BYTES] for at in range(0, len(encoded), _ARGUMENT_BYTES)]


def _make(
    wanted: ChannelSettings,
    name: str | None,
    namespace: str,
    options: Mapping[str, Any],
    content: Sequence[bytes],
) -> _Found:
    """The channel of that name, or a new one, which begins with ``content``."""
    for _ in range(3):
        actor = _make_actor(wanted, name, namespace, dict(options), content)
        try:
            found = _ask_what_it_is(actor, name, namespace, _PLACEMENT_LIMIT_S)
        except ChannelBackendErrorException:
            if name is None:
                ray.kill(actor)  # nobody could find it, if it were placed later
            raise
        if name is not None and _is_used_up(actor, name, namespace):
            # It, and not what others may have made under that name since.
            _delete(actor, name, namespace)
            continue
        _check_settings(found, wanted)
        return found
    raise backend_error(
        "it was closed by others each time it was made", name=name, namespace=namespace
    )


def _make_actor(
    wanted: ChannelSettings,
    name: str | None,
    namespace: str,
    options: dict[str, Any],
    content: Sequence[bytes],
) -> Any:
    # Detached also without a name: else it would end with this process, whoever else has handles.
    options |= {"lifetime": "detached"}
    if name is not None:
        options |= {"name": _PREFIX + name, "namespace": namespace, "get_if_exists": True}
    try:
        return RayChannelActor.options(**options).remote(
            wanted, False, *content, name=name, namespace=namespace, anonymous=name is None
        )
    except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
        raise backend_error(
            "its actor could not be made", name=name, namespace=namespace, cause=error
        ) from error


def _check_settings(found: _Found, wanted: ChannelSettings) -> None:
    if found.settings == wanted:
        return
    there, asked = asdict(found.settings), asdict(wanted)
    differing = [name for name in asked if there[name] != asked[name]]
    raise ValueError(
        f"channel {found.name!r} in namespace {found.namespace!r} exists with other settings: "
        f"{ {name: there[name] for name in differing} }, not { {name: asked[name] for name in differing} }; "
        "use get_channel(), or delete_channel() first"
    )


def _is_used_up(actor: Any, name: str, namespace: str) -> bool:
    return bool(_ask(actor.is_closed.remote(), name, namespace, _ANSWER_LIMIT_S))


def _open_pair(found: _Found, prefetch: int | None = None) -> Pair:
    return _open_sender(found), _open_receiver(found, prefetch)


def _open_sender(found: _Found) -> Sending:
    sender = _open(_HANDLES[found.settings.kind][0], found, None)
    return RayReferenceSender(sender) if found.settings.reference else sender


def _open_receiver(found: _Found, prefetch: int | None) -> Receiving:
    receiver = _open(_HANDLES[found.settings.kind][1], found, prefetch)
    return RayReferenceReceiver(receiver) if found.settings.reference else receiver


def _open(cls: type[Any], found: _Found, prefetch: int | None) -> Any:
    """A handle that counts."""
    handle = cls._on(_connection_of(found, prefetch))
    handle._open()
    try:
        handle._wait_until_opened(_OPEN_LIMIT_S)
    except ChannelClosedError as error:
        if error.kind not in _SIDE_CLOSED or found.name is None:
            raise
        raise _side_closed(cls, found, error) from None
    return handle


def _side_closed(cls: type[Any], found: _Found, error: ChannelClosedError) -> ChannelClosedError:
    """Why a named channel takes no such handle any more, and what to do about it."""
    side = "sender" if cls is _HANDLES[found.settings.kind][0] else "receiver"
    why = error.reason or f"its last {side} was closed"
    return ChannelClosedError(
        f"channel {found.name!r} in namespace {found.namespace!r} takes no {side}s any more: {why}. To begin anew, "
        f"end it with delete_channel({found.name!r}, namespace={found.namespace!r}), which drops what it holds, and "
        "make it again. With channel(..., persistent=True) no side closes for want of handles",
        kind=error.kind,
    )


def _connection_of(found: _Found, prefetch: int | None) -> Any:
    return connection_of(
        found.actor,
        found.settings.capacity,
        kind=found.settings.kind,
        name=found.name,
        namespace=found.namespace,
        prefetch=prefetch or 0,
    )


def make_named_channel(name: str, settings: ChannelSettings, namespace: str) -> bool:
    """Make a channel that nobody has a handle on; False if there is one of that name."""
    _ensure_ray()
    for _ in range(3):
        found = _actor_of(name, namespace)
        if found is not None and not _is_used_up(found, name, namespace):
            return False
        if found is not None:
            _delete(found, name, namespace)
        options = {"name": _PREFIX + name, "namespace": namespace, "lifetime": "detached"}
        try:
            actor = RayChannelActor.options(**options).remote(
                settings, name=name, namespace=namespace
            )
        except ray.exceptions.ActorAlreadyExistsError:
            continue  # somebody else was quicker
        _ask_what_it_is(actor, name, namespace, _PLACEMENT_LIMIT_S)
        return True
    raise backend_error(
        "it was made and closed by others meanwhile", name=name, namespace=namespace
    )


# ------------------------------------------------------------------------------------------ finding


async def get_ray_channel(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> Pair | None:
    """Both sides of the channel of that name; None if there is none, or it is closed and drained."""
    return await in_thread(partial(blocking_get_channel, name, namespace=namespace))


def blocking_get_channel(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> Pair | None:
    """``get_ray_channel``, for threads and plain Ray tasks."""
    found = _find(name, namespace)
    return None if found is None else _open_pair(found)


def blocking_get_sender(
    name: str, *, wait: float = 0.0, namespace: str = NAMESPACE_DEFAULT
) -> Sending | None:
    """A sender only; None if there is none, or only one that is closed and drained, for ``wait`` seconds."""
    found = _wait_for(name, namespace, wait)
    return None if found is None else _open_sender(found)


def blocking_get_receiver(
    name: str,
    *,
    wait: float = 0.0,
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
) -> Receiving | None:
    """A receiver only; None if there is none, or only one that is closed and drained, for ``wait`` seconds."""
    found = _wait_for(name, namespace, wait)
    return None if found is None else _open_receiver(found, prefetch)


def blocking_channel_stats(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> ChannelStats | None:
    """The channel at this moment; registers nobody."""
    _ensure_ray()
    actor = _actor_of(name, namespace)
    if actor is None:
        return None
    stats: ChannelStats = _ask(actor.get_stats.remote(), name, namespace, _ANSWER_LIMIT_S)
    return stats


def blocking_peek_channel(
    name: str, max_items: int = 1, *, namespace: str = NAMESPACE_DEFAULT
) -> list[Any] | None:
    """The messages that would be received next; they stay. Registers nobody."""
    _ensure_ray()
    actor = _actor_of(name, namespace)
    if actor is None:
        return None
    found = _ask_what_it_is(actor, name, namespace, _ANSWER_LIMIT_S)
    payloads = _ask(actor.peek_payloads.remote(max_items), name, namespace, _ANSWER_LIMIT_S)
    return read_all(_connection_of(found, None), payloads)


def delete_ray_channel(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> bool:
    """Delete the channel: whoever waits on it anywhere gets ``ChannelClosed``. True if there was one.

    When it returns, the name is free.
    """
    _ensure_ray()
    actor = _actor_of(name, namespace)
    if actor is None:
        return False
    _delete(actor, name, namespace)
    return True


def _delete(actor: Any, name: str, namespace: str) -> None:
    """End this actor; the name is free of it when this returns."""
    try:
        # Once: it may end before its answer is out, which is no reason to ask again, nor to tell the user's terminal.
        ray.get(actor.remove.options(max_task_retries=0).remote(), timeout=_DELETE_LIMIT_S)
    except ray.exceptions.RayError as error:
        # It ends by itself, so its answer may not arrive; and one that does not answer is ended all the same.
        _LOGGER.debug("channel %s was deleted without an answer: %s", name, error)
    ray.kill(actor, no_restart=True)
    deadline = time.monotonic() + _DELETE_LIMIT_S
    while (found := _handle_of(_PREFIX + name, namespace)) is not None:
        if found._actor_id != actor._actor_id:
            return  # somebody else's new one
        if time.monotonic() >= deadline:
            raise backend_error(
                f"its actor is still there {_DELETE_LIMIT_S:g} s after it was killed",
                name=name,
                namespace=namespace,
            )
        time.sleep(_POLL_S)


def list_ray_channels(*, namespace: str = NAMESPACE_DEFAULT) -> list[str]:
    """The names of all channels in the namespace, sorted; other actors are passed over."""
    _ensure_ray()
    return sorted(name for name in possible_names(namespace) if find_channel(name, namespace))


def possible_names(namespace: str) -> list[str]:
    """Of all actors in the namespace that may be channels, as their names say."""
    return [
        actor["name"].removeprefix(_PREFIX)
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["namespace"] == namespace and actor["name"].startswith(_PREFIX)
    ]


def find_channel(name: str, namespace: str) -> Any:
    """The channel's actor; None if there is none, or another actor has its name."""
    actor = _handle_of(_PREFIX + name, namespace)
    return actor if _is_channel(actor) else None


def _find(name: str, namespace: str) -> _Found | None:
    _ensure_ray()
    actor = _actor_of(name, namespace)
    if actor is None:
        return None
    found = _ask_what_it_is(actor, name, namespace, _ANSWER_LIMIT_S)
    return None if _is_used_up(actor, name, namespace) else found


def _wait_for(name: str, namespace: str, wait: float) -> _Found | None:
    deadline = time.monotonic() + wait
    pause = _POLL_S
    while (found := _find(name, namespace)) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, 0.5)
    return found


def _handle_of(actor_name: str, namespace: str) -> Any:
    try:
        return ray.get_actor(actor_name, namespace=namespace)
    except ValueError:
        return None


def _actor_of(name: str, namespace: str) -> Any:
    """The channel's actor, or None; a foreign one is an error."""
    actor = _handle_of(_PREFIX + name, namespace)
    if actor is not None:
        _refuse_foreign(actor, name, namespace)
    return actor


def ask_channel(name: str, namespace: str, limit: float, method: str, *arguments: Any) -> Any:
    """What a method of the channel's actor gives; None if there is no such channel.

    Raises:
        ValueError, OSError: it is the method's.
    """
    actor = _actor_of(name, namespace)
    if actor is None:
        return None
    try:
        return _ask(getattr(actor, method).remote(*arguments), name, namespace, limit)
    except ChannelBackendErrorException as error:
        cause = getattr(error.__cause__, "cause", None)
        if not isinstance(cause, (ValueError, OSError)):
            raise
        raise type(cause)(f"channel {name!r} in namespace {namespace!r}: {cause}") from error


def _is_channel(actor: Any) -> bool:
    descriptor = getattr(actor, "_ray_actor_creation_function_descriptor", None)
    return descriptor is not None and descriptor.class_name == _CLASS_NAME


def _refuse_foreign(actor: Any, name: str | None, namespace: str) -> None:
    if not _is_channel(actor):
        raise backend_error(
            "an actor that is no channel has this name: use another name for the channel",
            name=name,
            namespace=namespace,
        )


def _ask_what_it_is(actor: Any, name: str | None, namespace: str, limit: float) -> _Found:
    _refuse_foreign(actor, name, namespace)
    metadata: Mapping[str, Any] = _ask(actor.get_metadata.remote(), name, namespace, limit)
    if metadata["protocol"] != PROTOCOL_VERSION:
        raise backend_error(
            f"its actor runs klaw {metadata['klaw']} (protocol {metadata['protocol']}), this process klaw "
            f"{_core.__version__} (protocol {PROTOCOL_VERSION}): use one version on all nodes, as with "
            f"ray.init(runtime_env={{'pip': ['klaw-channels=={_core.__version__}']}})",
            name=name,
            namespace=namespace,
        )
    return _Found(
        actor, metadata["name"], metadata["namespace"], ChannelSettings.found_in(metadata)
    )


def _ask(ref: Any, name: str | None, namespace: str, limit: float) -> Any:
    try:
        # Not ray.get(): in an asynchronous actor that warns of a blocked event loop, although this is a thread.
        return ref.future().result(limit)
    except TimeoutError as error:
        raise backend_error(
            f"its actor did not answer within {limit:g} s: is there a node that can run it, with enough resources "
            "(see `ray status`)?",
            name=name,
            namespace=namespace,
        ) from error
    except ray.exceptions.RayError as error:
        raise backend_error(
            "its actor is dead", name=name, namespace=namespace, cause=error
        ) from error


# --------------------------------------------------------------------------------------- Ray itself

_initialising: Final = threading.Lock()  # Ray refuses to be initialised twice


async def in_thread(call: Callable[[], R]) -> R:
    """What ``call`` returns, which blocks and uses Ray. The event loop goes on meanwhile.

    But Ray itself is initialised here where this is the main thread: in another one, Ray can't handle SIGTERM, and
    warns of it.
    """
    if threading.current_thread() is threading.main_thread() and not ray.is_initialized():
        await asyncio.to_thread(_check_that_ray_can_be_reached)  # which may take seconds
        _ensure_ray()
    return await asyncio.to_thread(call)


def _ensure_ray() -> None:
    if ray.is_initialized() and not ray.util.client.ray.is_connected():
        return
    _check_that_ray_can_be_reached()
    with _initialising:
        if ray.is_initialized():
            return
        try:
            ray.init(log_to_driver=False)
        except (OSError, RuntimeError, ray.exceptions.RayError) as error:
            if not ray.is_initialized():  # else the program itself was quicker, in another thread
                raise _out_of_reach(error) from error


def _check_that_ray_can_be_reached() -> None:
    """Fail soon where nobody listens: Ray itself tries for a minute."""
    address = os.environ.get("RAY_ADDRESS", "")
    if ray.util.client.ray.is_connected() or address.startswith("ray://"):
        raise RuntimeError(
            "klaw channels cannot be used over Ray Client (ray://): run this program on a node of the cluster, "
            "or submit it as a job"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=_PROBE_LIMIT_S).close()
        except OSError as error:
            raise _out_of_reach(error) from error


def _out_of_reach(error: Exception) -> ChannelBackendErrorException:
    address = os.environ.get("RAY_ADDRESS") or "(RAY_ADDRESS is not set)"
    return backend_error(
        f"Ray can't be reached at {address}; start a cluster, or call ray.init() yourself",
        cause=error,
    )
