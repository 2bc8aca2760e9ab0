"""Ray channels: making and finding them.

The plain functions block; each async one does the same in a thread, so that the event loop goes on.

- **Names**: a named channel is a detached actor ``channel_{name}`` in its namespace, and lives until it is
  deleted. Making one that is there gives handles on it, if its settings are the same. One that is closed on
  both sides and drained is made anew.
- **Without a name** it ends when no handle is left in any process, or none came within a minute; not with
  the process that made it.
- **Ray** is initialised, if it is not, in Ray's own way: ``RAY_ADDRESS``, else a local cluster.
- **Errors**: ``ChannelBackendErrorException`` that names the channel and says what to do, within half a minute.
- **Cancel safety**: a cancelled call leaves nothing behind but, at most, a channel without handles.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import ray

from klaw_core import _core
from klaw_core.runtime.channels.errors import ChannelBackendErrorException
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
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = [
    "blocking_channel_stats",
    "blocking_get_channel",
    "blocking_get_receiver",
    "blocking_get_sender",
    "blocking_peek_channel",
    "blocking_ray_broadcast",
    "blocking_ray_channel",
    "blocking_ray_oneshot",
    "blocking_ray_watch",
    "delete_ray_channel",
    "get_ray_channel",
    "list_ray_channels",
    "ray_channel",
]

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
_ORPHAN_GRACE_S: Final = 10.0
_DELETE_LIMIT_S: Final = 5.0
_POLL_S: Final = 0.02
_PROBE_LIMIT_S: Final = 3.0
_CLASS_NAME: Final = "ChannelActor"


# ------------------------------------------------------------------------------------------- making


async def ray_channel(
    capacity: int = 10_000,
    *,
    unbounded: bool = False,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
) -> Pair:
    """Make a channel, or get the one of that name: ``(sender, receiver)``, which count when this returns."""
    return await asyncio.to_thread(
        blocking_ray_channel, capacity, unbounded=unbounded, name=name, namespace=namespace
    )


def blocking_ray_channel(
    capacity: int = 10_000,
    *,
    unbounded: bool = False,
    name: str | None = None,
    namespace: str = NAMESPACE_DEFAULT,
    persistent: bool = False,
    orphan_grace: float = 10.0,
    reference: bool = False,
    checkpoint_dir: str | None = None,
    prefetch: int | None = None,
    actor_options: Mapping[str, Any] | None = None,
) -> Pair:
    """``ray_channel``, for threads and plain Ray tasks, with all settings.

    Raises:
        ChannelBackendErrorException: Ray can't be reached, the actor can't be placed, or its node can't.
        ValueError: there is a channel of that name with other settings; the text names both.
    """
    _ensure_ray()
    if unbounded:
        _LOGGER.warning("channel %s is unbounded: nothing holds senders back", name or "(unnamed)")
    wanted = {
        "kind": "mpmc",
        "capacity": None if unbounded else capacity,
        "persistent": persistent,
        "orphan_grace": float(orphan_grace),
        "reference": reference,
        "checkpoint_dir": checkpoint_dir,
    }
    actor, metadata = _make(wanted, name, namespace, actor_options or {})
    return _open_pair(actor, metadata, prefetch)


def blocking_ray_oneshot(
    *, name: str | None = None, namespace: str = NAMESPACE_DEFAULT
) -> tuple[RayOneshotSender[Any], RayOneshotReceiver[Any]]:
    """Make a oneshot, or get the one of that name. Raises as ``blocking_ray_channel``."""
    _ensure_ray()
    actor, metadata = _make(_settings_of("oneshot", 1), name, namespace, {})
    sender: RayOneshotSender[Any] = _open(RayOneshotSender, actor, metadata, None)
    receiver: RayOneshotReceiver[Any] = _open(RayOneshotReceiver, actor, metadata, None)
    return sender, receiver


def blocking_ray_broadcast(
    capacity: int, overflow: str, *, name: str | None = None, namespace: str = NAMESPACE_DEFAULT
) -> tuple[RayBroadcastSender[Any], RayBroadcastReceiver[Any]]:
    """Make a broadcast, or get the one of that name. Raises as ``blocking_ray_channel``."""
    _ensure_ray()
    wanted = _settings_of("broadcast", capacity) | {"overflow": overflow}
    actor, metadata = _make(wanted, name, namespace, {})
    sender: RayBroadcastSender[Any] = _open(RayBroadcastSender, actor, metadata, None)
    receiver: RayBroadcastReceiver[Any] = _open(RayBroadcastReceiver, actor, metadata, None)
    return sender, receiver


def blocking_ray_watch(
    initial: Any, *, name: str | None = None, namespace: str = NAMESPACE_DEFAULT
) -> tuple[RayWatchSender[Any], RayWatchReceiver[Any]]:
    """Make a watch, or get the one of that name, with the value that it has. Raises as ``blocking_ray_channel``."""
    value = _core.encode(initial)
    _ensure_ray()
    actor, metadata = _make(_settings_of("watch", 1), name, namespace, {}, initial=value)
    sender: RayWatchSender[Any] = _open(RayWatchSender, actor, metadata, None)
    receiver: RayWatchReceiver[Any] = _open(RayWatchReceiver, actor, metadata, None)
    return sender, receiver


def _settings_of(kind: str, capacity: int) -> dict[str, Any]:
    """Of what is no queue."""
    return {
        "kind": kind,
        "capacity": capacity,
        "persistent": False,
        "orphan_grace": _ORPHAN_GRACE_S,
        "reference": False,
    }


def _make(
    wanted: Mapping[str, Any],
    name: str | None,
    namespace: str,
    options: Mapping[str, Any],
    **content: bytes,
) -> tuple[Any, Mapping[str, Any]]:
    """The actor of a channel with the settings ``wanted``, a new one or the one of that name; and its metadata.

    ``content`` is what a new one begins with.
    """
    for _ in range(3):
        actor = _make_actor({**wanted, **content}, name, namespace, dict(options))
        try:
            metadata = _metadata_of(actor, name, namespace, _PLACEMENT_LIMIT_S)
        except ChannelBackendErrorException:
            if name is None:
                ray.kill(actor)  # nobody could find it, if it were placed later
            raise
        if name is not None and _is_used_up(actor, name, namespace):
            # It, and not what others may have made under that name since.
            _delete(actor, name, namespace)
            continue
        _check_settings(name, namespace, wanted, metadata)
        return actor, metadata
    raise backend_error(
        "it was closed by others each time it was made", name=name, namespace=namespace
    )


def _make_actor(
    wanted: Mapping[str, Any], name: str | None, namespace: str, options: dict[str, Any]
) -> Any:
    # Detached also without a name: else it would end with this process, whoever else has handles.
    options |= {"lifetime": "detached"}
    if name is not None:
        options |= {"name": _PREFIX + name, "namespace": namespace, "get_if_exists": True}
    try:
        return RayChannelActor.options(**options).remote(
            unbounded=wanted["capacity"] is None,
            name=name,
            namespace=namespace,
            anonymous=name is None,
            **wanted,
        )
    except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
        raise backend_error(
            "its actor could not be made", name=name, namespace=namespace, cause=error
        ) from error


def _check_settings(
    name: str | None, namespace: str, wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    if name is None or all(found[key] == value for key, value in wanted.items()):
        return
    there = {key: found[key] for key in wanted}
    raise ValueError(
        f"channel {name!r} in namespace {namespace!r} exists with other settings: {there}, not {dict(wanted)}; "
        "use get_channel(), or delete_channel() first"
    )


def _is_used_up(actor: Any, name: str, namespace: str) -> bool:
    return bool(_ask(actor.is_closed.remote(), name, namespace, _ANSWER_LIMIT_S))


def _open_pair(actor: Any, metadata: Mapping[str, Any], prefetch: int | None) -> Pair:
    return _open_sender(actor, metadata), _open_receiver(actor, metadata, prefetch)


def _open_sender(actor: Any, metadata: Mapping[str, Any]) -> Sending:
    sender = _open(_HANDLES[metadata["kind"]][0], actor, metadata, None)
    return RayReferenceSender(sender) if metadata["reference"] else sender


def _open_receiver(actor: Any, metadata: Mapping[str, Any], prefetch: int | None) -> Receiving:
    receiver = _open(_HANDLES[metadata["kind"]][1], actor, metadata, prefetch)
    return RayReferenceReceiver(receiver) if metadata["reference"] else receiver


def _open(cls: type[Any], actor: Any, metadata: Mapping[str, Any], prefetch: int | None) -> Any:
    """A handle that counts."""
    channel = _channel_of(actor, metadata, prefetch)
    handle = cls._on(channel)
    handle._open()
    handle._wait_until_opened(_OPEN_LIMIT_S)
    return handle


def _channel_of(actor: Any, metadata: Mapping[str, Any], prefetch: int | None) -> Any:
    return connection_of(
        actor,
        metadata["capacity"],
        kind=metadata["kind"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        prefetch=prefetch or 0,
    )


def make_named_channel(name: str, capacity: int, unbounded: bool, namespace: str) -> bool:
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
                capacity, unbounded, name=name, namespace=namespace
            )
        except ray.exceptions.ActorAlreadyExistsError:
            continue  # somebody else was quicker
        _metadata_of(actor, name, namespace, _PLACEMENT_LIMIT_S)
        return True
    raise backend_error(
        "it was made and closed by others meanwhile", name=name, namespace=namespace
    )


# ------------------------------------------------------------------------------------------ finding


async def get_ray_channel(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> Pair | None:
    """Both sides of the channel of that name; None if there is none, or it is closed and drained."""
    return await asyncio.to_thread(blocking_get_channel, name, namespace=namespace)


def blocking_get_channel(name: str, *, namespace: str = NAMESPACE_DEFAULT) -> Pair | None:
    """``get_ray_channel``, for threads and plain Ray tasks."""
    found = _find(name, namespace)
    return None if found is None else _open_pair(*found, None)


def blocking_get_sender(
    name: str, *, wait: float = 0.0, namespace: str = NAMESPACE_DEFAULT
) -> Sending | None:
    """A sender only; None if there is none, or only one that is closed and drained, for ``wait`` seconds."""
    found = _wait_for(name, namespace, wait)
    return None if found is None else _open_sender(*found)


def blocking_get_receiver(
    name: str,
    *,
    wait: float = 0.0,
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
) -> Receiving | None:
    """A receiver only; None if there is none, or only one that is closed and drained, for ``wait`` seconds."""
    found = _wait_for(name, namespace, wait)
    return None if found is None else _open_receiver(*found, prefetch)


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
    metadata = _metadata_of(actor, name, namespace, _ANSWER_LIMIT_S)
    payloads = _ask(actor.peek_payloads.remote(max_items), name, namespace, _ANSWER_LIMIT_S)
    return read_all(_channel_of(actor, metadata, None), payloads)


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


def _find(name: str, namespace: str) -> tuple[Any, Mapping[str, Any]] | None:
    _ensure_ray()
    actor = _actor_of(name, namespace)
    if actor is None:
        return None
    metadata = _metadata_of(actor, name, namespace, _ANSWER_LIMIT_S)
    return None if _is_used_up(actor, name, namespace) else (actor, metadata)


def _wait_for(name: str, namespace: str, wait: float) -> tuple[Any, Mapping[str, Any]] | None:
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


def _metadata_of(actor: Any, name: str | None, namespace: str, limit: float) -> Mapping[str, Any]:
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
    return metadata


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


def _ensure_ray() -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    is_initialized = ray.is_initialized()
    if ray.util.client.ray.is_connected() or (not is_initialized and address.startswith("ray://")):
        raise RuntimeError(
            "klaw channels cannot be used over Ray Client (ray://): run this program on a node of the cluster, "
            "or submit it as a job"
        )
    if is_initialized:
        return
    try:
        _probe(address)
        ray.init(log_to_driver=False)
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise backend_error(
            f"Ray can't be reached at {address or '(RAY_ADDRESS is not set)'}; start a cluster, or call "
            "ray.init() yourself",
            cause=error,
        ) from error


def _probe(address: str) -> None:
    """Fail soon where nobody listens: Ray itself tries for a minute."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PROBE_LIMIT_S).close()
