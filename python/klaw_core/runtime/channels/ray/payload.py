"""How the values of messages are pickled, where they have to be.

Values of bytes, and of None, bool, int, float, str, bytes, list and dict, travel without pickle: see
``docs/wire-protocol.md``. All others are pickled as Ray itself pickles arguments (``ray.cloudpickle``,
so functions and classes of ``__main__`` travel, too), with the memory of arrays beside the pickle.

Unpickling runs code of the sender's choice; who may send is told in ``docs/threat-model.md``.
"""

from __future__ import annotations

import pickle
from typing import Any

from ray import cloudpickle

from klaw_core import _core

__all__ = ["Encoded", "decode"]


def _dumps(value: object) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:  # not contiguous
            return True  # in the pickle
        return False

    return cloudpickle.dumps(value, protocol=5, buffer_callback=beside), buffers


def _loads(data: memoryview, buffers: list[memoryview]) -> object:
    return pickle.loads(data, buffers=buffers)


_core.set_pickler(_dumps, _loads)


def decode(payload: bytes) -> Any:
    """The value of a payload, as a message carries it."""
    return _core.decode(payload)


class Encoded:
    """A payload on its way through a process that need not look into it: unpickled, it is its value."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload: bytes = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return decode, (self.payload,)
