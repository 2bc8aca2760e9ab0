"""What the handles of all kinds of Ray channels have in common: how they are made and pickled, and statistics.

A handle is a class of the extension with these bases before it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, ClassVar, Protocol, Self, cast

from klaw_core import _core
from klaw_core.runtime.channels.ray.connections import Connection, connection_of
from klaw_core.runtime.channels.ray.explain import backend_error
from klaw_core.runtime.channels.ray.holds import companion_of
from klaw_core.runtime.channels.settings import Kind
from klaw_core.runtime.channels.stats import ChannelStats

__all__ = ["BuiltByHand", "RayHandle", "RayReader", "known_of", "reduced"]

_STATS_LIMIT_S = 5.0


class _Handle(Protocol):
    @property
    def _channel(self) -> _core.RemoteChannel: ...
    @property
    def _name(self) -> str: ...
    def _hold(self, token: bytes, /) -> None: ...


def known_of(channel: _core.RemoteChannel) -> Connection:
    """What this process knows of the channel."""
    return cast("Connection", channel.owner)


class RayHandle:
    """Of every handle. A base before the class of the extension."""

    __slots__ = ()

    @classmethod
    def _on(cls, channel: _core.RemoteChannel, claim: bytes | None = None) -> Self:
        """A handle on this connection; with ``claim`` the one that was pickled with that token."""
        extension: Any = super()
        return cast("Self", extension.__new__(cls, channel, claim=claim))

    async def stats(self: _Handle) -> ChannelStats:
        """A consistent snapshot. One actor call."""
        known = known_of(self._channel)
        actor = known.known_actor()
        try:
            answer = asyncio.wrap_future(actor.get_stats.remote().future())
            return cast("ChannelStats", await asyncio.wait_for(answer, _STATS_LIMIT_S))
        except Exception as error:
            raise backend_error(
                "the channel's actor was asked for its statistics",
                name=known.name,
                namespace=known.namespace,
                cause=error,
            ) from error

    def __reduce_ex__(self: _Handle, protocol: object, /) -> tuple[Any, ...]:
        return reduced(self)


class BuiltByHand(RayHandle):
    """Of a handle that users may make on the channel's actor."""

    __slots__ = ()
    _kind: ClassVar[Kind] = "mpmc"

    def __new__(cls, actor: Any, capacity: int | None) -> Self:  # noqa: D102  the handle's class says it
        return cls._on(connection_of(actor, capacity, kind=cls._kind))


class RayReader(RayHandle):
    """Of a receiver that the channel knows by a name."""

    __slots__ = ()

    @property
    def reader_id(self: _Handle) -> str:
        """Its name at the channel: 32 hexadecimal digits, another for each handle."""
        return self._name

    @property
    def node_id(self: _Handle) -> str:
        """The Ray node of this process."""
        return str(known_of(self._channel).node_id)


def reduced(handle: _Handle) -> tuple[Any, ...]:
    """For ``__reduce_ex__``: the handle's side stays open until what is pickled is claimed."""
    known = known_of(handle._channel)
    actor = known.known_actor()  # before the hold
    token = secrets.token_bytes(16)
    handle._hold(token)
    return _claim, (
        type(handle),
        actor,
        known.capacity,
        known.kind,
        known.name,
        known.namespace,
        known.prefetch,
        token,
        companion_of(actor, token),
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
    _companion: Any,
) -> Any:
    """Unpickles a handle. Calls nobody and never waits: the connection claims it."""
    channel = connection_of(
        actor, capacity, kind=kind, name=name, namespace=namespace, prefetch=prefetch
    )
    return cls._on(channel, claim=token)
