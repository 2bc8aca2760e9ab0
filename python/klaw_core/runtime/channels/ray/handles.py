"""What the handles of all kinds of Ray channels have in common: statistics, and how they are pickled.

A handle is a class of the extension with these methods, and with ``_on(channel, claim)``, which makes one.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Protocol, cast

from klaw_core import _core
from klaw_core.runtime.channels.ray.connections import Connection, connection_of
from klaw_core.runtime.channels.ray.explain import backend_error
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = ["known_of", "reduced", "stats_of"]

_STATS_LIMIT_S = 5.0


class _Handle(Protocol):
    @property
    def _channel(self) -> _core.RemoteChannel: ...
    def _hold(self, token: bytes, /) -> None: ...


def known_of(channel: _core.RemoteChannel) -> Connection:
    """What this process knows of the channel."""
    return cast("Connection", channel.owner)


async def stats_of(handle: _Handle) -> ChannelStats:
    """A consistent snapshot. One actor call."""
    known = known_of(handle._channel)
    try:
        answer = asyncio.wrap_future(known.actor.get_stats.remote().future())
        return cast("ChannelStats", await asyncio.wait_for(answer, _STATS_LIMIT_S))
    except Exception as error:
        raise backend_error(
            "the channel's actor was asked for its statistics",
            name=known.name,
            namespace=known.namespace,
            cause=error,
        ) from error


def reduced(handle: _Handle) -> tuple[Any, ...]:
    """For ``__reduce_ex__``: the handle's side stays open until what is pickled is claimed."""
    token = secrets.token_bytes(16)
    handle._hold(token)
    known = known_of(handle._channel)
    return _claim, (
        type(handle),
        known.actor,
        known.capacity,
        known.kind,
        known.name,
        known.namespace,
        known.prefetch,
        token,
    )


def _claim(
    cls: type[Any],
    actor: Any,
    capacity: int | None,
    kind: str,
    name: str | None,
    namespace: str | None,
    prefetch: int,
    token: bytes,
) -> Any:
    """Unpickles a handle. Calls nobody and never waits: the connection claims it."""
    channel = connection_of(
        actor, capacity, kind=kind, name=name, namespace=namespace, prefetch=prefetch
    )
    return cls._on(channel, claim=token)
