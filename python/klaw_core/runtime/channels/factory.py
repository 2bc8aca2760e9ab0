"""The factory: make a channel, or find one by name, on the backend asked for.

- **Backends**: ``'local'`` (the default, one process) and ``'ray'`` (a cluster). Ray is optional
  and touched only when asked for; importing this module never loads it.
- **Errors**: all arguments are checked at the call, not when the result is awaited, and alike on
  every backend, so that a program that runs on one does not fail on the other for a bad argument.
- **Twins**: what is awaited has a ``blocking_`` twin for threads and plain Ray tasks. On ``local``
  the twins never wait, and may be called anywhere.
- **Typing**: ``channel`` and ``blocking_channel`` can be subscripted with the type of the messages,
  any type at all (``channel[int | None](8)``); without, it is ``Any``. It means nothing at run time.

Example::

    tx, rx = await channel[str](100)
    tx, rx = blocking_channel[str](100)
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar, cast

from klaw_core import _core
from klaw_core.runtime.channels.checks import (
    at_least,
    check_bool,
    check_named,
    check_optional,
    check_seconds,
    check_string,
    integer,
)
from klaw_core.runtime.channels.making import (
    RAY_IS_MISSING,
    Backend,
    Making,
    T,
    chosen_backend,
    known_backend,
    ray_factory,
)
from klaw_core.runtime.channels.protocols import ChannelReceiver, ChannelSender
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT
from klaw_core.runtime.channels.stats import ChannelStats

R_co = TypeVar("R_co", covariant=True)

__all__ = [
    "Backend",
    "blocking_channel",
    "blocking_channel_stats",
    "blocking_get_channel",
    "blocking_get_receiver",
    "blocking_get_sender",
    "blocking_peek_channel",
    "channel",
    "channel_stats",
    "delete_channel",
    "get_channel",
    "get_receiver",
    "get_sender",
    "list_channels",
    "peek_channel",
]

AnyChannel: TypeAlias = tuple[ChannelSender[Any], ChannelReceiver[Any]]


class _DefaultCapacity(int):
    """A capacity that nobody asked for.

    An int like any other, but told apart from the same number given by the user: reference channels
    have another default.
    """


_CAPACITY_DEFAULT: Final = _DefaultCapacity(10_000)
_CAPACITY_DEFAULT_REFERENCE: Final = 16
_CAPACITY_MAX: Final = sys.maxsize
_ORPHAN_GRACE_DEFAULT_S: Final = 10.0


# ------------------------------------------------------------------------------------------- making


class channel(Making[tuple[ChannelSender[T], ChannelReceiver[T]]]):  # noqa: N801
    """Make an MPMC channel: ``tx, rx = await channel[int](8)``.

    A plain call that gives a coroutine; the channel is made when that is awaited.

    Args:
        capacity: messages it holds at most; 0 is a rendezvous. 16 by default with ``reference``.
        distributed: True means ``backend='ray'``, False ``'local'``. ``backend`` wins over it.
        backend: ``'local'`` (the default) or ``'ray'``.
        unbounded: no limit; ``capacity`` is ignored.
        name, namespace: on Ray, the name under which others find it. Nothing to ``local``.
        confirm: on Ray, each send waits until its message is stored. In this version each does anyway.
        prefetch: on Ray, how many messages a receiver may hold before they are asked for (>= 1); None for none.
        reference: on Ray, payloads travel through the object store; on ``local`` plain values.
        persistent: on Ray, it stays open when all handles are gone.
        orphan_grace: on Ray, seconds for which a side stays open when its last process died.
        checkpoint_dir: on Ray, a folder that all nodes see, for checkpoints: what it holds then survives its actor.
        actor_options: on Ray, options of its actor, which is detached in any case.

    Cancel safety: a cancelled ``channel`` leaves nothing behind on ``local``; on Ray at most a channel without handles,
    which, if it has no name, ends by itself.

    Raises, all at the call:
        TypeError: an argument of the wrong type, such as a capacity that is no integer.
        ValueError: a negative capacity, an unknown backend, another number out of range.
        RuntimeError: Ray is asked for and not installed.
        ChannelBackendErrorException: when it is awaited: Ray can't be reached, or the channel's actor can't, or
            ``checkpoint_dir`` can't be written.
        ValueError: when it is awaited: there is a channel of that name with other settings.

    Warns:
        UserWarning: a ``name`` with neither ``backend`` nor ``distributed``: it would be ignored.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        capacity: int = _CAPACITY_DEFAULT,
        *,
        distributed: bool | None = None,
        backend: Backend | None = None,
        unbounded: bool = False,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
        confirm: bool = False,
        prefetch: int | None = None,
        reference: bool = False,
        persistent: bool = False,
        orphan_grace: float = _ORPHAN_GRACE_DEFAULT_S,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        actor_options: Mapping[str, Any] | None = None,
    ) -> Self:
        settings = _Settings(
            capacity=capacity,
            backend=chosen_backend(backend, distributed, name),
            unbounded=unbounded,
            name=name,
            namespace=namespace,
            confirm=confirm,
            prefetch=prefetch,
            reference=reference,
            persistent=persistent,
            orphan_grace=orphan_grace,
            checkpoint_dir=checkpoint_dir,
            actor_options=actor_options,
        )
        if settings.backend == "ray":
            return cast("Self", _make_ray(_ray_for_channel(settings), settings))
        return cast("Self", _make_local(settings.local_capacity()))


class blocking_channel(tuple[ChannelSender[T], ChannelReceiver[T]]):  # noqa: N801, SLOT001
    """Make an MPMC channel: ``tx, rx = blocking_channel[int](8)``. The twin of ``channel``.

    For threads and plain Ray tasks. On ``local`` it never waits, and may be called anywhere. The
    arguments, errors and warnings are those of ``channel``.
    """

    def __new__(  # noqa: D102  the class says it
        cls,
        capacity: int = _CAPACITY_DEFAULT,
        *,
        distributed: bool | None = None,
        backend: Backend | None = None,
        unbounded: bool = False,
        name: str | None = None,
        namespace: str = NAMESPACE_DEFAULT,
        confirm: bool = False,
        prefetch: int | None = None,
        reference: bool = False,
        persistent: bool = False,
        orphan_grace: float = _ORPHAN_GRACE_DEFAULT_S,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        actor_options: Mapping[str, Any] | None = None,
    ) -> Self:
        settings = _Settings(
            capacity=capacity,
            backend=chosen_backend(backend, distributed, name),
            unbounded=unbounded,
            name=name,
            namespace=namespace,
            confirm=confirm,
            prefetch=prefetch,
            reference=reference,
            persistent=persistent,
            orphan_grace=orphan_grace,
            checkpoint_dir=checkpoint_dir,
            actor_options=actor_options,
        )
        if settings.backend == "ray":
            return cast("Self", settings.make_on(_ray_for_channel(settings)))
        return cast("Self", _core.local_channel(settings.local_capacity()))


async def _make_local(capacity: int | None) -> AnyChannel:
    return _core.local_channel(capacity)


async def _make_ray(ray: RayFactory, settings: _Settings) -> AnyChannel:
    return await asyncio.to_thread(settings.make_on, ray)


for _made in (_make_local, _make_ray):
    _made.__name__ = _made.__qualname__ = "channel"  # as in "'channel' was never awaited"


# ------------------------------------------------------------------------------------------ finding


def get_channel(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> Coroutine[object, object, AnyChannel | None]:
    """Both sides of the channel of that name; None when there is none, or it is closed and drained.

    Registers a sender and a receiver. Who uses one side only takes ``get_sender`` or ``get_receiver``: else
    receivers do not see the end of the channel.

    Raises, all at the call:
        TypeError: a name or namespace that is no string.
        ValueError: an unknown backend.
        RuntimeError: Ray is not installed.
        NotImplementedError: the backend has no names (``local``).

    Raises when it is awaited:
        ChannelBackendErrorException: says what could not be reached.
        ChannelClosedError: one of its sides has closed, and the other has not yet.
    """
    ray = _ray_for_named("get_channel", backend, namespace, name)
    return _in_thread(ray.blocking_get_channel, name, namespace=namespace)


def blocking_get_channel(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> AnyChannel | None:
    """``get_channel`` for threads and plain Ray tasks."""
    ray = _ray_for_named("blocking_get_channel", backend, namespace, name)
    return ray.blocking_get_channel(name, namespace=namespace)


def get_sender(
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    confirm: bool = False,
) -> Coroutine[object, object, ChannelSender[Any] | None]:
    """A sender of the channel of that name; None when it does not appear within ``wait`` seconds.

    Registers a sender only, so that receivers still see the end of the channel. ChannelClosedError, when it is
    awaited, if that side has closed.

    Args:
        name, namespace: what the channel was made with.
        wait: seconds to wait for the channel to appear.
        backend: ``'ray'``, the one with names.
        confirm: each send waits until its message is stored. In this version each does anyway.

    Raises, all at the call: as ``get_channel``, and for a bad ``wait``.
    """
    check_seconds("wait", wait)
    check_bool("confirm", confirm)
    ray = _ray_for_named("get_sender", backend, namespace, name)
    return _in_thread(ray.blocking_get_sender, name, wait=wait, namespace=namespace)


def blocking_get_sender(
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    confirm: bool = False,
) -> ChannelSender[Any] | None:
    """``get_sender`` for threads and plain Ray tasks."""
    check_seconds("wait", wait)
    check_bool("confirm", confirm)
    ray = _ray_for_named("blocking_get_sender", backend, namespace, name)
    return ray.blocking_get_sender(name, wait=wait, namespace=namespace)


def get_receiver(
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
) -> Coroutine[object, object, ChannelReceiver[Any] | None]:
    """A receiver of the channel of that name; None when it does not appear within ``wait`` seconds.

    Registers a receiver only, so that senders still see when nobody receives. ChannelClosedError, when it is
    awaited, if that side has closed.

    Args:
        name, namespace: what the channel was made with.
        wait: seconds to wait for the channel to appear.
        backend: ``'ray'``, the one with names.
        prefetch: how many messages the receiver may hold before they are asked for (>= 1).

    Raises, all at the call: as ``get_channel``, and for a bad ``wait`` or ``prefetch``.
    """
    check_seconds("wait", wait)
    _check_prefetch(prefetch)
    ray = _ray_for_named("get_receiver", backend, namespace, name)
    return _in_thread(
        ray.blocking_get_receiver, name, wait=wait, namespace=namespace, prefetch=prefetch
    )


def blocking_get_receiver(
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
) -> ChannelReceiver[Any] | None:
    """``get_receiver`` for threads and plain Ray tasks."""
    check_seconds("wait", wait)
    _check_prefetch(prefetch)
    ray = _ray_for_named("blocking_get_receiver", backend, namespace, name)
    return ray.blocking_get_receiver(name, wait=wait, namespace=namespace, prefetch=prefetch)


def channel_stats(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> Coroutine[object, object, ChannelStats | None]:
    """The channel of that name at this moment, or None when there is none. Registers nobody.

    Raises, all at the call: as ``get_channel``.
    """
    ray = _ray_for_named("channel_stats", backend, namespace, name)
    return _in_thread(ray.blocking_channel_stats, name, namespace=namespace)


def blocking_channel_stats(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> ChannelStats | None:
    """``channel_stats`` for threads and plain Ray tasks."""
    ray = _ray_for_named("blocking_channel_stats", backend, namespace, name)
    return ray.blocking_channel_stats(name, namespace=namespace)


def peek_channel(
    name: str, max_items: int = 1, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> Coroutine[object, object, list[Any] | None]:
    """The messages that would be received next, so many at most; they stay. None when there is no channel.

    Registers nobody. What receivers have been given already is not among them; a message that can't be read here
    stands there as its exception. For a look by a person: it costs an actor call, and copies what it shows.

    Raises, all at the call: as ``get_channel``; ValueError for ``max_items`` below 1.
    """
    at_least("max_items", max_items, 1)
    ray = _ray_for_named("peek_channel", backend, namespace, name)
    return _in_thread(ray.blocking_peek_channel, name, max_items=max_items, namespace=namespace)


def blocking_peek_channel(
    name: str, max_items: int = 1, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> list[Any] | None:
    """``peek_channel`` for threads and plain Ray tasks."""
    at_least("max_items", max_items, 1)
    ray = _ray_for_named("blocking_peek_channel", backend, namespace, name)
    return ray.blocking_peek_channel(name, max_items=max_items, namespace=namespace)


def delete_channel(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> bool:
    """Delete the channel of that name: whoever waits on it gets ``ChannelClosed``. A plain call.

    True when there was one. Raises as ``get_channel``.
    """
    ray = _ray_for_named("delete_channel", backend, namespace, name)
    return ray.delete_ray_channel(name, namespace=namespace)


def list_channels(*, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT) -> list[str]:
    """The names of all channels in the namespace. A plain call. Raises as ``get_channel``."""
    ray = _ray_for_named("list_channels", backend, namespace)
    return ray.list_ray_channels(namespace=namespace)


# ----------------------------------------------------------------------------- arguments, and Ray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What a channel is made with, checked: only a good one can be constructed."""

    capacity: int
    backend: Backend
    unbounded: bool
    name: str | None
    namespace: str
    confirm: bool
    prefetch: int | None
    reference: bool
    persistent: bool
    orphan_grace: float
    checkpoint_dir: str | os.PathLike[str] | None
    actor_options: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        for switch in ("unbounded", "confirm", "reference", "persistent"):
            check_bool(switch, getattr(self, switch))
        if not self.unbounded:
            object.__setattr__(self, "capacity", self._checked_capacity())
        if self.name is not None:
            check_string("name", self.name)
        check_string("namespace", self.namespace)
        _check_prefetch(self.prefetch)
        check_seconds("orphan_grace", self.orphan_grace)
        check_optional("checkpoint_dir", "a path or None", self.checkpoint_dir, str, os.PathLike)
        if self.checkpoint_dir == "":
            raise ValueError("checkpoint_dir must not be empty; '.' is the present folder")
        check_optional("actor_options", "a mapping or None", self.actor_options, Mapping)

    def _checked_capacity(self) -> int:
        if self.reference and isinstance(self.capacity, _DefaultCapacity):
            return _CAPACITY_DEFAULT_REFERENCE
        capacity = integer("capacity", self.capacity)
        if not 0 <= capacity <= _CAPACITY_MAX:
            raise ValueError(f"capacity must be between 0 and {_CAPACITY_MAX}, got {capacity}")
        return capacity

    def _checkpoint_path(self) -> str | None:
        # Its actor works in another folder.
        return None if self.checkpoint_dir is None else os.path.abspath(self.checkpoint_dir)  # noqa: PTH100  .. stays away

    def local_capacity(self) -> int | None:
        """As the core wants it: None for unbounded."""
        return None if self.unbounded else self.capacity

    def make_on(self, ray: RayFactory) -> AnyChannel:
        """Blocks."""
        return ray.blocking_ray_channel(
            self.capacity,
            unbounded=self.unbounded,
            name=self.name,
            namespace=self.namespace,
            persistent=self.persistent,
            orphan_grace=self.orphan_grace,
            reference=self.reference,
            checkpoint_dir=self._checkpoint_path(),
            prefetch=self.prefetch,
            actor_options=self.actor_options,
        )


class RayFactory(Protocol):
    """What ``klaw_core.runtime.channels.ray.factory`` is to this module, which loads no Ray by itself."""

    blocking_ray_channel: Callable[..., AnyChannel]
    blocking_get_channel: Callable[..., AnyChannel | None]
    blocking_get_sender: Callable[..., ChannelSender[Any] | None]
    blocking_get_receiver: Callable[..., ChannelReceiver[Any] | None]
    blocking_channel_stats: Callable[..., ChannelStats | None]
    blocking_peek_channel: Callable[..., list[Any] | None]
    delete_ray_channel: Callable[..., bool]
    list_ray_channels: Callable[..., list[str]]


def _ray_for_channel(settings: _Settings) -> RayFactory:
    if settings.reference and settings.checkpoint_dir is not None:
        raise ValueError(
            "a reference channel can't have a checkpoint_dir: its payloads are elsewhere"
        )
    return cast("RayFactory", ray_factory(RAY_IS_MISSING))


def _ray_for_named(
    caller: str, backend: object, namespace: object, name: object = ""
) -> RayFactory:
    check_named(name, namespace)
    if known_backend(backend) == "local":
        raise NotImplementedError(f"{caller}() only implemented for backend='ray'")
    return cast("RayFactory", ray_factory("Ray not installed."))


def _in_thread(
    call: Callable[..., R_co], name: str, **options: Any
) -> Coroutine[object, object, R_co]:
    return asyncio.to_thread(call, name, **options)


def _check_prefetch(prefetch: object) -> None:
    if prefetch is not None:
        at_least("prefetch", prefetch, 1)
