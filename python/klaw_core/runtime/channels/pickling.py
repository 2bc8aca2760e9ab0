"""How values of messages are pickled where Ray is not there to do it, and what that shares with Ray's way.

Values of bytes and of plain data travel without pickle: see ``docs/wire-protocol.md``. A process that has loaded
``klaw_core.runtime.channels.ray`` pickles the others as Ray does (``ray.payload``). One that has not pickles them as
``pickle`` does: functions and classes travel by their names.
"""

from __future__ import annotations

import pickle
import sys

from klaw_core import _core

__all__ = ["Buffers", "ensure_pickler", "loads"]

_RAYS = "klaw_core.runtime.channels.ray.payload"


class Buffers:
    """What goes beside a pickle."""

    def __init__(self) -> None:
        self.taken: list[memoryview] = []

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """For ``buffer_callback``."""
        try:
            self.taken.append(buffer.raw())
        except BufferError:  # not contiguous
            return True  # in the pickle
        return False


def loads(data: memoryview, buffers: list[memoryview]) -> object:
    """The value of a pickle and what is beside it. Runs code of the pickle's choice."""
    return pickle.loads(data, buffers=buffers)


def _dumps(value: object) -> tuple[bytes, list[memoryview]]:
    buffers = Buffers()
    return pickle.dumps(value, protocol=5, buffer_callback=buffers.take), buffers.taken


def ensure_pickler() -> None:
    """Ray's, if that is loaded, which says so itself."""
    if _RAYS not in sys.modules:
        _core.set_pickler(_dumps, loads)
