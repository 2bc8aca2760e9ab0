"""What a channel is made with: checked once, by its factory, and one object from there to its broker.

- **As a whole**: making a named channel again compares all settings with those of the channel that is there.
- **Names**: ``name``, ``namespace`` and ``backend`` say where a channel is, and are no settings. ``confirm`` and
  ``prefetch`` belong to a handle.
- **Between versions of klaw**: settings are pickled by their names, and only those that are not the default. An older
  klaw refuses a setting that it does not know, and makes every other channel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self, TypeAlias

from klaw_core.runtime.channels.checks import (
    check_bool,
    check_optional,
    check_seconds,
    integer,
)

__all__ = [
    "CAPACITY_DEFAULT",
    "NAMESPACE_DEFAULT",
    "ORPHAN_GRACE_DEFAULT_S",
    "ChannelSettings",
    "Kind",
    "Overflow",
    "checkpoint_path",
]

NAMESPACE_DEFAULT: Final = os.environ.get("KLAW_RAY_NAMESPACE", "klaw")
CAPACITY_DEFAULT: Final = 10_000
ORPHAN_GRACE_DEFAULT_S: Final = 10.0
_CAPACITY_MAX: Final = sys.maxsize
_BROADCAST_CAPACITY_MAX: Final = (
    2**62
)  # rounded up to a power of two it is still one of the machine's

Kind: TypeAlias = Literal["mpmc", "oneshot", "broadcast", "watch"]
"""The flavours of channels, as brokers name them."""

Overflow: TypeAlias = Literal["lag", "wait"]
"""What becomes of a message of a broadcast for which there is no room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """The settings of a channel. Only good ones can be constructed; see ``channel`` and ``broadcast``.

    Attributes:
        kind: its flavour.
        capacity: messages it holds at most; None for unbounded. Of a broadcast a power of two.
        overflow: of a broadcast.
        reference: payloads travel through the object store.
        persistent: it stays open when all handles are gone.
        orphan_grace: seconds for which a side stays open when its last process died.
        checkpoint_dir: an absolute path.
    """

    kind: Kind = "mpmc"
    capacity: int | None = CAPACITY_DEFAULT
    overflow: Overflow = "lag"
    reference: bool = False
    persistent: bool = False
    orphan_grace: float = ORPHAN_GRACE_DEFAULT_S
    checkpoint_dir: str | None = None

    def __post_init__(self) -> None:
        self._set("capacity", self._checked_capacity())
        if self.overflow not in ("lag", "wait"):
            raise ValueError(f"Unknown overflow: {self.overflow!r}")
        check_bool("reference", self.reference)
        check_bool("persistent", self.persistent)
        check_seconds("orphan_grace", self.orphan_grace)
        self._set("orphan_grace", float(self.orphan_grace))
        if self.reference and self.checkpoint_dir is not None:
            raise ValueError(
                "a reference channel can't have a checkpoint_dir: its payloads are elsewhere"
            )

    @classmethod
    def of_queue(cls, capacity: object, unbounded: object, **others: Any) -> Self:
        """Of an MPMC channel: ``unbounded`` wins over ``capacity``."""
        check_bool("unbounded", unbounded)
        return cls(capacity=None if unbounded else integer("capacity", capacity), **others)

    @classmethod
    def found_in(cls, metadata: Mapping[str, Any]) -> Self:
        """Those of a channel that is there, as its actor tells them. What its klaw does not know is the default."""
        known = [field.name for field in fields(cls)]
        return cls(**{name: metadata[name] for name in known if name in metadata})

    def _checked_capacity(self) -> int | None:
        if self.capacity is None:
            return None
        capacity = integer("capacity", self.capacity)
        is_broadcast = self.kind == "broadcast"
        least, most = (1, _BROADCAST_CAPACITY_MAX) if is_broadcast else (0, _CAPACITY_MAX)
        if not least <= capacity <= most:
            raise ValueError(f"capacity must be between {least} and {most}, got {capacity}")
        return 1 << (capacity - 1).bit_length() if is_broadcast else capacity

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}
        return _unpickled, (given,)


def _unpickled(given: Mapping[str, Any]) -> ChannelSettings:
    return ChannelSettings(**given)


def checkpoint_path(checkpoint_dir: str | os.PathLike[str] | None) -> str | None:
    """The folder that is meant, from wherever it is looked at: the channel's actor works in another one."""
    check_optional("checkpoint_dir", "a path or None", checkpoint_dir, str, os.PathLike)
    if checkpoint_dir == "":
        raise ValueError("checkpoint_dir must not be empty; '.' is the present folder")
    return None if checkpoint_dir is None else os.path.abspath(checkpoint_dir)  # noqa: PTH100  .. stays away
