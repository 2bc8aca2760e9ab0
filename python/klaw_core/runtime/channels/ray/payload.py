"""How the values of messages are pickled, where they have to be, and what stands for those that are elsewhere.

Values of bytes, and of None, bool, int, float, str, bytes, list and dict, travel without pickle: see
``docs/wire-protocol.md``. All others are pickled as Ray itself pickles arguments (``ray.cloudpickle``,
so functions and classes of ``__main__`` travel, too), with the memory of arrays beside the pickle.

A payload of a reference channel is pickled in the same way, and put into Ray's object store as a ``Sealed``:
whoever passes it on, as the channel's actor does, neither copies it nor runs the code of its classes. Object
references within it are beside the pickle, too, where Ray sees and counts them. In the channel a ``Reference``
stands for it.

Unpickling runs code of the sender's choice; who may send is told in ``docs/threat-model.md``.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections import ChainMap
from typing import Any, Final

import ray
from ray import cloudpickle

from klaw_core import _core
from klaw_core.runtime.channels.pickling import Buffers, loads

__all__ = ["Encoded", "Reference", "Sealed", "decode", "seal", "unseal"]


def _dumps(value: object) -> tuple[bytes, list[memoryview]]:
    buffers = Buffers()
    return cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.take), buffers.taken


_core.set_pickler(_dumps, loads)


def decode(payload: bytes) -> Any:
    """The value of a payload, as a message carries it."""
    return _core.decode(payload)


class Reference(str):
    """What stands for a payload in a channel: its name, at the channel's actor."""

    __slots__ = ()


_core.set_reference_type(Reference)


class Sealed:
    """A payload in the object store: a pickle, its buffers, and the references to objects and actors in it."""

    __slots__ = ("buffers", "pickled", "refs")

    def __init__(self, pickled: Any, buffers: list[Any], refs: list[Any]) -> None:
        self.pickled: Any = pickled
        self.buffers: list[Any] = buffers
        self.refs: list[Any] = refs

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        buffers = [pickle.PickleBuffer(buffer) for buffer in self.buffers]
        return Sealed, (pickle.PickleBuffer(self.pickled), buffers, self.refs)


class _Sealer(cloudpickle.CloudPickler):  # type: ignore[misc]  # Ray's types are not seen
    """Ray pins for ever what it sees pickled by anybody but itself: its references are kept out of the pickle."""

    def __init__(self, file: io.BytesIO, buffers: Buffers, refs: list[Any]) -> None:
        def beside(ref: Any) -> tuple[Any, ...]:
            refs.append(ref)
            return _referred, (len(refs) - 1,)

        own = {ray.ObjectRef: beside, ray.actor.ActorHandle: beside}
        self.dispatch_table = ChainMap(own, cloudpickle.CloudPickler.dispatch_table)
        super().__init__(file, protocol=5, buffer_callback=buffers.take)  # reads the table


# Raised by the code of a message's class, they would end an iteration, and no future can carry them.
_STOPS: Final = (StopIteration, StopAsyncIteration)
_unsealing: Final = threading.local()  # refs: of the payload that this thread unpickles


def _referred(index: int) -> Any:
    return _unsealing.refs[index]


def seal(value: object) -> Sealed:
    """The value, ready to be put into the object store."""
    buffers = Buffers()
    refs: list[Any] = []
    with io.BytesIO() as file:
        try:
            _Sealer(file, buffers, refs).dump(value)
        except _STOPS as error:
            raise RuntimeError(f"pickling a message raised {type(error).__name__}") from error
        return Sealed(file.getvalue(), buffers.taken, refs)


def unseal(sealed: Sealed) -> Any:
    """The value again. Arrays are read where they are: they stay in the object store as long as they live."""
    outer = getattr(_unsealing, "refs", None)
    _unsealing.refs = sealed.refs
    try:
        return pickle.loads(sealed.pickled, buffers=sealed.buffers)
    except _STOPS as error:
        raise RuntimeError(f"unpickling a message raised {type(error).__name__}") from error
    finally:
        _unsealing.refs = outer


class Encoded:
    """A payload on its way through a process that need not look into it: unpickled, it is its value."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload: bytes = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return decode, (self.payload,)
