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

import os
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Final, Self, TypeAlias, TypedDict, Unpack, cast

from klaw_core import _core
from klaw_core.runtime.channels.checks import (
    at_least,
    check_bool,
    check_named,
    check_optional,
    check_seconds,
)
from klaw_core.runtime.channels.making import (
    Backend,
    Making,
    MakingOptions,
    Plan,
    T,
    check_keywords,
    known_backend,
    planned,
    ray_factory,
    shows,
)
from klaw_core.runtime.channels.protocols import ChannelReceiver, ChannelSender
from klaw_core.runtime.channels.settings import (
    CAPACITY_DEFAULT,
    NAMESPACE_DEFAULT,
    ORPHAN_GRACE_DEFAULT_S,
    ChannelSettings,
    checkpoint_path,
)
from klaw_core.runtime.channels.stats import ChannelStats

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


_CAPACITY_DEFAULT: Final = _DefaultCapacity(CAPACITY_DEFAULT)
_CAPACITY_DEFAULT_REFERENCE: Final = 16


# ------------------------------------------------------------------------------------------- making


class ChannelOptions(MakingOptions, total=False):
    """What ``channel`` and ``blocking_channel`` take beside the capacity."""

    distributed: bool | None
    """True means ``backend='ray'``, False ``'local'``. ``backend`` wins over it."""
    unbounded: bool
    """No limit; the capacity is ignored."""
    confirm: bool
    """On Ray, each send waits until its message is stored. In this version each does anyway."""
    prefetch: int | None
    """On Ray, how many messages a receiver may hold before they are asked for; 0 for none, which is the default."""
    reference: bool
    """On Ray, payloads travel through the object store; on ``local`` plain values."""
    persistent: bool
    """On Ray, it stays open when all handles are gone."""
    orphan_grace: float
    """On Ray, seconds for which a side stays open when its last process died; 10 by default."""
    checkpoint_dir: str | os.PathLike[str] | None
    """On Ray, a folder that all nodes see, for checkpoints: what it holds then survives its actor."""
    actor_options: Mapping[str, Any] | None
    """On Ray, options of its actor, which is detached in any case."""


def _plan(
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
    orphan_grace: float = ORPHAN_GRACE_DEFAULT_S,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    actor_options: Mapping[str, Any] | None = None,
) -> Plan:
    if reference and isinstance(capacity, _DefaultCapacity):
        capacity = _CAPACITY_DEFAULT_REFERENCE
    settings = ChannelSettings.of_queue(
        capacity,
        unbounded,
        reference=reference,
        persistent=persistent,
        orphan_grace=orphan_grace,
        checkpoint_dir=checkpoint_path(checkpoint_dir),
    )
    check_bool("confirm", confirm)
    _check_prefetch(prefetch)
    check_optional("actor_options", "a mapping or None", actor_options, Mapping)
    return planned(
        settings,
        partial(_core.local_channel, settings.capacity),
        backend,
        name,
        namespace,
        distributed=distributed,
        prefetch=prefetch,
        actor_options=actor_options,
    )


@shows(_plan)
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
        prefetch: on Ray, how many messages a receiver may hold before they are asked for; 0 for none. None leaves it to
            klaw: in this version none.
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
        cls, capacity: int = _CAPACITY_DEFAULT, **options: Unpack[ChannelOptions]
    ) -> Self:
        check_keywords("channel", options, ChannelOptions)
        return cast("Self", _plan(capacity, **options).awaited("channel"))


@shows(_plan)
class blocking_channel(tuple[ChannelSender[T], ChannelReceiver[T]]):  # noqa: N801, SLOT001
    """Make an MPMC channel: ``tx, rx = blocking_channel[int](8)``. The twin of ``channel``.

    For threads and plain Ray tasks. On ``local`` it never waits, and may be called anywhere; on Ray it
    refuses a thread that runs an event loop with a ``RuntimeError``. The arguments, errors and warnings
    are otherwise those of ``channel``.
    """

    def __new__(  # noqa: D102  the class says it
        cls, capacity: int = _CAPACITY_DEFAULT, **options: Unpack[ChannelOptions]
    ) -> Self:
        check_keywords("blocking_channel", options, ChannelOptions)
        return cast("Self", _plan(capacity, **options).blocking("channel(...)"))


# ------------------------------------------------------------------------------------------ finding


class FindingOptions(TypedDict, total=False):
    """What all functions take that look for a channel by its name."""

    backend: Backend
    """``'ray'`` (the default), the one with names."""
    namespace: str
    """Where the name holds."""


class SenderOptions(FindingOptions, total=False):
    """What ``get_sender`` and ``blocking_get_sender`` take beside the name."""

    wait: float
    """Seconds to wait for the channel to appear; 0 by default."""
    confirm: bool
    """Each send waits until its message is stored. In this version each does anyway."""


class ReceiverOptions(FindingOptions, total=False):
    """What ``get_receiver`` and ``blocking_get_receiver`` take beside the name."""

    wait: float
    """Seconds to wait for the channel to appear; 0 by default."""
    prefetch: int | None
    """How many messages the receiver may hold before they are asked for; 0 for none, which is the default."""


def _finding(
    finder: str, name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> Plan:
    return _found_by(finder, name, backend, namespace)


def _finding_sender(
    finder: str,
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    confirm: bool = False,
) -> Plan:
    check_seconds("wait", wait)
    check_bool("confirm", confirm)
    return _found_by(finder, name, backend, namespace, wait=wait)


def _finding_receiver(
    finder: str,
    name: str,
    *,
    wait: float = 0.0,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
    prefetch: int | None = None,
) -> Plan:
    check_seconds("wait", wait)
    _check_prefetch(prefetch)
    return _found_by(finder, name, backend, namespace, wait=wait, prefetch=prefetch)


def _finding_next(
    finder: str,
    name: str,
    max_items: int = 1,
    *,
    backend: Backend = "ray",
    namespace: str = NAMESPACE_DEFAULT,
) -> Plan:
    at_least("max_items", max_items, 1)
    return _found_by(finder, name, backend, namespace, max_items=max_items)


def _found_by(finder: str, name: object, backend: object, namespace: object, **more: Any) -> Plan:
    """What the function of that name is to do; ``more`` are its other arguments, checked."""
    ray = _ray_for(finder, name, backend, namespace)
    find = getattr(ray, f"blocking_{finder.removeprefix('blocking_')}")
    return Plan(partial(find, name, namespace=namespace, **more), ray)


def _ray_for(finder: str, name: object, backend: object, namespace: object) -> Any:
    check_named(name, namespace)
    if known_backend(backend) == "local":
        raise NotImplementedError(f"{finder}() only implemented for backend='ray'")
    return ray_factory("Ray not installed.")


@shows(_finding, without=1)
def get_channel(
    name: str, **options: Unpack[FindingOptions]
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
    check_keywords("get_channel", options, FindingOptions)
    return _finding("get_channel", name, **options).awaited("get_channel")


@shows(_finding, without=1)
def blocking_get_channel(name: str, **options: Unpack[FindingOptions]) -> AnyChannel | None:
    """``get_channel`` for threads and plain Ray tasks; refuses a thread that runs an event loop."""
    check_keywords("blocking_get_channel", options, FindingOptions)
    return cast(
        "AnyChannel | None",
        _finding("blocking_get_channel", name, **options).blocking("get_channel(...)"),
    )


@shows(_finding_sender, without=1)
def get_sender(
    name: str, **options: Unpack[SenderOptions]
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
    check_keywords("get_sender", options, SenderOptions)
    return _finding_sender("get_sender", name, **options).awaited("get_sender")


@shows(_finding_sender, without=1)
def blocking_get_sender(name: str, **options: Unpack[SenderOptions]) -> ChannelSender[Any] | None:
    """``get_sender`` for threads and plain Ray tasks; refuses a thread that runs an event loop."""
    check_keywords("blocking_get_sender", options, SenderOptions)
    return cast(
        "ChannelSender[Any] | None",
        _finding_sender("blocking_get_sender", name, **options).blocking("get_sender(...)"),
    )


@shows(_finding_receiver, without=1)
def get_receiver(
    name: str, **options: Unpack[ReceiverOptions]
) -> Coroutine[object, object, ChannelReceiver[Any] | None]:
    """A receiver of the channel of that name; None when it does not appear within ``wait`` seconds.

    Registers a receiver only, so that senders still see when nobody receives. ChannelClosedError, when it is
    awaited, if that side has closed.

    Args:
        name, namespace: what the channel was made with.
        wait: seconds to wait for the channel to appear.
        backend: ``'ray'``, the one with names.
        prefetch: how many messages the receiver may hold before they are asked for; see ``channel``.

    Raises, all at the call: as ``get_channel``, and for a bad ``wait`` or ``prefetch``.
    """
    check_keywords("get_receiver", options, ReceiverOptions)
    return _finding_receiver("get_receiver", name, **options).awaited("get_receiver")


@shows(_finding_receiver, without=1)
def blocking_get_receiver(
    name: str, **options: Unpack[ReceiverOptions]
) -> ChannelReceiver[Any] | None:
    """``get_receiver`` for threads and plain Ray tasks; refuses a thread that runs an event loop."""
    check_keywords("blocking_get_receiver", options, ReceiverOptions)
    return cast(
        "ChannelReceiver[Any] | None",
        _finding_receiver("blocking_get_receiver", name, **options).blocking("get_receiver(...)"),
    )


@shows(_finding, without=1)
def channel_stats(
    name: str, **options: Unpack[FindingOptions]
) -> Coroutine[object, object, ChannelStats | None]:
    """The channel of that name at this moment, or None when there is none. Registers nobody.

    Raises, all at the call: as ``get_channel``.
    """
    check_keywords("channel_stats", options, FindingOptions)
    return _finding("channel_stats", name, **options).awaited("channel_stats")


@shows(_finding, without=1)
def blocking_channel_stats(name: str, **options: Unpack[FindingOptions]) -> ChannelStats | None:
    """``channel_stats`` for threads and plain Ray tasks; refuses a thread that runs an event loop."""
    check_keywords("blocking_channel_stats", options, FindingOptions)
    return cast(
        "ChannelStats | None",
        _finding("blocking_channel_stats", name, **options).blocking("channel_stats(...)"),
    )


@shows(_finding_next, without=1)
def peek_channel(
    name: str, max_items: int = 1, **options: Unpack[FindingOptions]
) -> Coroutine[object, object, list[Any] | None]:
    """The messages that would be received next, so many at most; they stay. None when there is no channel.

    Registers nobody. What receivers have been given already is not among them; a message that can't be read here
    stands there as its exception. For a look by a person: it costs an actor call, and copies what it shows.

    Raises, all at the call: as ``get_channel``; ValueError for ``max_items`` below 1.
    """
    check_keywords("peek_channel", options, FindingOptions)
    return _finding_next("peek_channel", name, max_items, **options).awaited("peek_channel")


@shows(_finding_next, without=1)
def blocking_peek_channel(
    name: str, max_items: int = 1, **options: Unpack[FindingOptions]
) -> list[Any] | None:
    """``peek_channel`` for threads and plain Ray tasks; refuses a thread that runs an event loop."""
    check_keywords("blocking_peek_channel", options, FindingOptions)
    return cast(
        "list[Any] | None",
        _finding_next("blocking_peek_channel", name, max_items, **options).blocking(
            "peek_channel(...)"
        ),
    )


def delete_channel(
    name: str, *, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT
) -> bool:
    """Delete the channel of that name: whoever waits on it gets ``ChannelClosed``. A plain call.

    True when there was one. Raises as ``get_channel``.
    """
    ray = _ray_for("delete_channel", name, backend, namespace)
    return cast("bool", ray.delete_ray_channel(name, namespace=namespace))


def list_channels(*, backend: Backend = "ray", namespace: str = NAMESPACE_DEFAULT) -> list[str]:
    """The names of all channels in the namespace. A plain call. Raises as ``get_channel``."""
    ray = _ray_for("list_channels", "", backend, namespace)
    return cast("list[str]", ray.list_ray_channels(namespace=namespace))


def _check_prefetch(prefetch: object) -> None:
    if prefetch is not None:
        at_least("prefetch", prefetch, 0)
