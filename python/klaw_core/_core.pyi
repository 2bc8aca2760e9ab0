"""The C++ extension, as the Python front sees it. Its public names are re-exported elsewhere."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import GenericAlias, TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, TypeVar, final, type_check_only

from klaw_core.result import Result
from klaw_core.runtime.channels.errors import (
    AlreadySent,
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    Lagged,
)
from klaw_core.runtime.channels.protocols import (
    ChannelReceiver,
    ChannelSender,
    Deliveries,
    Permit,
    WeakReceiver,
    WeakSender,
)
from klaw_core.runtime.channels.settings import ChannelSettings
from klaw_core.runtime.channels.stats import ChannelStats

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")

__version__: str

@type_check_only
class _Handle:
    """What all handles have."""

    def closed(self) -> Coroutine[object, object, None]: ...
    def close(self, reason: str | None = None) -> Awaitable[None]: ...
    def blocking_close(self, timeout: float | None = None) -> None: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def capacity(self) -> int | None: ...
    def __aenter__(self) -> Coroutine[object, object, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def ticket(self) -> str: ...
    def __bool__(self) -> Literal[True]: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, memo: dict[int, Any], /) -> NoReturn: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@type_check_only
class _LocalHandle(_Handle):
    """What handles on the local backend have besides."""

    def stats(self) -> Coroutine[object, object, ChannelStats]: ...
    def __reduce__(self) -> NoReturn: ...

@type_check_only
class _RemoteHandle(_Handle):
    """What handles of a channel of another process have besides."""

    def __new__(cls, channel: RemoteChannel, claim: bytes | None = None) -> Self: ...
    @property
    def _channel(self) -> RemoteChannel: ...
    @property
    def _name(self) -> str: ...
    def _open(self) -> None: ...
    def _when_opened(self) -> Coroutine[object, object, None]: ...
    def _wait_until_opened(self, timeout: float | None, /) -> None: ...
    def _hold(self, token: bytes, /) -> None: ...

@type_check_only
class _Queue(_Handle):
    """What both handles of a queue have besides."""

    def same_channel(self, other: ChannelSender[Any] | ChannelReceiver[Any], /) -> bool: ...
    def shutdown(
        self, immediate: bool = False, reason: str | None = None
    ) -> Coroutine[object, object, None]: ...
    def blocking_shutdown(self, immediate: bool = False, reason: str | None = None) -> None: ...

@type_check_only
class _Flavour(_Handle):
    """What both handles of a oneshot, a broadcast or a watch have besides."""

    def same_channel(self, other: object, /) -> bool: ...

@type_check_only
class _Iterable(Generic[T_co]):
    """What receivers of all flavours have: iterations, asynchronous and not."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[object, object, T_co]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> T_co: ...

@type_check_only
class _Receiving(_Iterable[T_co]):
    """What receivers have that receive one message at a time."""

    def recv(self, timeout: float | None = None) -> Coroutine[object, object, T_co]: ...
    def recv_nowait(self) -> T_co: ...
    def blocking_recv(self, timeout: float | None = None) -> T_co: ...

@type_check_only
class _QueueSender(_Queue, Generic[T_contra]):
    """The methods of a `ChannelSender`, on either backend."""

    def send(
        self, value: T_contra, /, timeout: float | None = None
    ) -> Coroutine[object, object, None]: ...
    def try_send(
        self, value: T_contra, /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]: ...
    def send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> Coroutine[object, object, None]: ...
    def try_send_batch(
        self, values: Iterable[T_contra], /
    ) -> Coroutine[object, object, Result[None, ChannelFull | ChannelClosed]]: ...
    def reserve(
        self, timeout: float | None = None
    ) -> Coroutine[object, object, Permit[T_contra]]: ...
    def try_reserve(
        self,
    ) -> Coroutine[object, object, Result[Permit[T_contra], ChannelFull | ChannelClosed]]: ...
    def flush(self) -> Coroutine[object, object, None]: ...
    def send_nowait(self, value: T_contra, /) -> None: ...
    def blocking_send(self, value: T_contra, /, timeout: float | None = None) -> None: ...
    def blocking_send_batch(
        self, values: Iterable[T_contra], /, timeout: float | None = None
    ) -> None: ...
    def blocking_reserve(self, timeout: float | None = None) -> Permit[T_contra]: ...
    def blocking_flush(self, timeout: float | None = None) -> None: ...
    def clone(self) -> Self: ...
    def downgrade(self) -> WeakSender[T_contra]: ...

@type_check_only
class _QueueReceiver(_Queue, _Receiving[T_co]):
    """The methods of a `ChannelReceiver`, on either backend."""

    def try_recv(self) -> Coroutine[object, object, Result[T_co, ChannelEmpty | ChannelClosed]]: ...
    def recv_batch(
        self, max_items: int, timeout: float | None = None
    ) -> Coroutine[object, object, list[T_co]]: ...
    def try_recv_batch(
        self, max_items: int
    ) -> Coroutine[object, object, Result[list[T_co], ChannelEmpty | ChannelClosed]]: ...
    def recv_acked(
        self, timeout: float | None = None
    ) -> Coroutine[object, object, Delivery[T_co]]: ...
    def acked(self) -> Deliveries[T_co]: ...
    def blocking_recv_batch(self, max_items: int, timeout: float | None = None) -> list[T_co]: ...
    def blocking_recv_acked(self, timeout: float | None = None) -> Delivery[T_co]: ...
    def clone(self) -> Self: ...
    def downgrade(self) -> WeakReceiver[T_co]: ...

@type_check_only
class _OneshotSender(_Flavour, Generic[T_contra]):
    """The methods of a oneshot's sender, on either backend."""

    def send(
        self, value: T_contra, /, timeout: float | None = None
    ) -> Coroutine[object, object, None]: ...
    def try_send(
        self, value: T_contra, /
    ) -> Coroutine[object, object, Result[None, AlreadySent | ChannelClosed]]: ...
    def send_nowait(self, value: T_contra, /) -> None: ...
    def blocking_send(self, value: T_contra, /, timeout: float | None = None) -> None: ...
    def clone(self) -> NoReturn: ...

@type_check_only
class _OneshotReceiver(_Flavour, _Receiving[T_co]):
    """The methods of a oneshot's receiver, on either backend."""

    def try_recv(self) -> Coroutine[object, object, Result[T_co, ChannelEmpty | ChannelClosed]]: ...
    def clone(self) -> NoReturn: ...

@type_check_only
class _BroadcastSender(_Flavour, Generic[T]):
    """The methods of a broadcast's sender, on either backend."""

    def send(self, value: T, /, timeout: float | None = None) -> Coroutine[object, object, int]: ...
    def try_send(
        self, value: T, /
    ) -> Coroutine[object, object, Result[int, ChannelFull | ChannelClosed]]: ...
    def send_nowait(self, value: T, /) -> int: ...
    def blocking_send(self, value: T, /, timeout: float | None = None) -> int: ...
    def clone(self) -> Self: ...

@type_check_only
class _BroadcastReceiver(_Flavour, _Receiving[T_co]):
    """The methods of a broadcast's receiver, on either backend."""

    def try_recv(
        self,
    ) -> Coroutine[object, object, Result[T_co, ChannelEmpty | Lagged | ChannelClosed]]: ...
    def resubscribe(self) -> Self: ...
    def clone(self) -> NoReturn: ...

@type_check_only
class _WatchSender(_Flavour, Generic[T]):
    """The methods of a watch's sender, on either backend."""

    def send(self, value: T, /, timeout: float | None = None) -> Coroutine[object, object, int]: ...
    def try_send(self, value: T, /) -> Coroutine[object, object, Result[int, ChannelClosed]]: ...
    def send_nowait(self, value: T, /) -> int: ...
    def blocking_send(self, value: T, /, timeout: float | None = None) -> int: ...
    def borrow(self) -> T: ...
    def clone(self) -> Self: ...

@type_check_only
class _WatchReceiver(_Flavour, _Iterable[T_co]):
    """The methods of a watch's receiver, on either backend."""

    def borrow(self) -> T_co: ...
    def borrow_and_update(self) -> T_co: ...
    def has_changed(self) -> bool: ...
    def changed(self, timeout: float | None = None) -> Coroutine[object, object, None]: ...
    def try_changed(
        self,
    ) -> Coroutine[object, object, Result[None, ChannelEmpty | ChannelClosed]]: ...
    def blocking_changed(self, timeout: float | None = None) -> None: ...
    def wait_for(
        self, predicate: Callable[[T_co], object], timeout: float | None = None
    ) -> Coroutine[object, object, T_co]: ...
    def blocking_wait_for(
        self, predicate: Callable[[T_co], object], timeout: float | None = None
    ) -> T_co: ...
    def resubscribe(self) -> Self: ...

@type_check_only
class _Permit(Generic[T_contra]):
    """A `Permit`, on either backend."""

    def send(self, value: T_contra, /) -> None: ...
    def release(self) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class LocalSender(_QueueSender[T_contra], _LocalHandle):
    """A `ChannelSender` on the local backend. Made by `channel()`, not by hand."""

@final
class LocalReceiver(_QueueReceiver[T_co], _LocalHandle):
    """A `ChannelReceiver` on the local backend. Made by `channel()`, not by hand."""

    def __len__(self) -> int: ...

@final
class OneshotSender(_OneshotSender[T_contra], _LocalHandle):
    """The sending half of a oneshot: a `Sender`. Made by `oneshot()`, not by hand."""

@final
class OneshotReceiver(_OneshotReceiver[T_co], _LocalHandle):
    """The receiving half of a oneshot: a `Receiver`. Made by `oneshot()`, not by hand."""

@final
class BroadcastSender(_BroadcastSender[T], _LocalHandle):
    """The sending half of a broadcast: a `Sender`. Made by `broadcast()`, not by hand. Invariant: see `subscribe()`."""

    def subscribe(self) -> BroadcastReceiver[T]: ...

@final
class BroadcastReceiver(_BroadcastReceiver[T_co], _LocalHandle):
    """The receiving half of a broadcast. Made by `broadcast()`, not by hand. Covariant."""

@final
class WatchSender(_WatchSender[T], _LocalHandle):
    """The sending half of a watch: a `Sender`. Made by `watch()`, not by hand. Invariant: it gives what it takes."""

    def subscribe(self) -> WatchReceiver[T]: ...

@final
class WatchReceiver(_WatchReceiver[T_co], _LocalHandle):
    """The receiving half of a watch. Made by `watch()`, not by hand. Covariant."""

class RemoteChannel:
    """This process's connection to a channel of another one, shared by its handles."""

    owner: Any
    def __init__(
        self,
        key: str,
        capacity: int | None,
        name: str | None,
        namespace: str | None,
        node: str,
        prefetch: int,
        tls: tuple[str, str, str] | None = None,
        kind: str = "mpmc",
    ) -> None: ...
    @property
    def key(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    def broker_died(self, epoch: int, why: str, is_final: bool, /) -> None: ...
    @staticmethod
    def read_ticket(text: str, /) -> tuple[str, str, bytes, bool, str]:
        """The side, the kind, the token, whether it wants TLS, and the unix path. ValueError: it is no ticket."""

    @classmethod
    def from_ticket(
        cls, text: str, prefetch: int, tls: tuple[str, str, str] | None, /
    ) -> RemoteChannel:
        """A connection of this ticket's own. Without ``tls``, where the ticket wants it, by the unix path only."""

class RemoteSender(_QueueSender[T_contra], _RemoteHandle):
    """A `ChannelSender` of a channel of another process, but for its statistics."""

class RemoteReceiver(_QueueReceiver[T_co], _RemoteHandle):
    """A `ChannelReceiver` of a channel of another process, but for its statistics."""

@final
class LocalPermit(_Permit[T_contra]):
    """A `Permit` on the local backend."""

@final
class RemotePermit(_Permit[T_contra]):
    """A `Permit` of a channel of another process."""

@final
class LocalWeakSender(Generic[T_contra]):
    """A `WeakSender` on the local backend."""

    def upgrade(self) -> Coroutine[object, object, LocalSender[T_contra] | None]: ...
    def blocking_upgrade(self) -> LocalSender[T_contra] | None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class LocalWeakReceiver(Generic[T_co]):
    """A `WeakReceiver` on the local backend."""

    def upgrade(self) -> Coroutine[object, object, LocalReceiver[T_co] | None]: ...
    def blocking_upgrade(self) -> LocalReceiver[T_co] | None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class RemoteWeakSender(Generic[T_contra]):
    """A `WeakSender` on the remote backend."""

    def upgrade(self) -> Coroutine[object, object, RemoteSender[T_contra] | None]: ...
    def blocking_upgrade(self) -> RemoteSender[T_contra] | None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class RemoteWeakReceiver(Generic[T_co]):
    """A `WeakReceiver` on the remote backend."""

    def upgrade(self) -> Coroutine[object, object, RemoteReceiver[T_co] | None]: ...
    def blocking_upgrade(self) -> RemoteReceiver[T_co] | None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class Delivery(Generic[T_co]):
    """A message that comes back unless it is acknowledged, of either backend."""

    @property
    def value(self) -> T_co: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def attempt(self) -> int: ...
    def ack(self) -> None: ...
    def nack(self, delay: float = 0.0) -> None: ...
    def _replace(self, value: object) -> None: ...
    def __aenter__(self) -> Coroutine[object, object, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[object, object, None]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

class RemoteOneshotSender(_OneshotSender[T_contra], _RemoteHandle):
    """An `OneshotSender` of a channel of another process, but for its statistics."""

class RemoteOneshotReceiver(_OneshotReceiver[T_co], _RemoteHandle):
    """An `OneshotReceiver` of a channel of another process, but for its statistics."""

class RemoteBroadcastSender(_BroadcastSender[T], _RemoteHandle):
    """A `BroadcastSender` of a channel of another process, but for `subscribe()` and its statistics."""

    def _subscribe(self, receiver: type[R], /) -> R: ...

class RemoteBroadcastReceiver(_BroadcastReceiver[T_co], _RemoteHandle):
    """A `BroadcastReceiver` of a channel of another process, but for its statistics."""

class RemoteWatchSender(_WatchSender[T], _RemoteHandle):
    """A `WatchSender` of a channel of another process, but for `subscribe()` and its statistics."""

    def _subscribe(self, receiver: type[R], /) -> R: ...
    def _carried(self) -> tuple[int, int, bytes]: ...
    def _take_along(self, seen: int, version: int, payload: bytes, /) -> None: ...

class RemoteWatchReceiver(_WatchReceiver[T_co], _RemoteHandle):
    """A `WatchReceiver` of a channel of another process, but for its statistics."""

    def _carried(self) -> tuple[int, int, bytes]: ...
    def _take_along(self, seen: int, version: int, payload: bytes, /) -> None: ...

@final
class BrokerServer:
    """A channel's broker at its sockets."""

    def __init__(
        self,
        settings: ChannelSettings,
        *,
        epoch: int,
        created_at: float,
        channel: bytes,
        secret: bytes,
        unix_path: str,
        hosts: list[str],
        port_min: int,
        port_max: int,
        tls: tuple[str, str, str] | None = None,
        initial: bytes = b"",
    ) -> None: ...
    @property
    def addresses(self) -> list[str]: ...
    def next_event(self, timeout: float | None = None) -> tuple[str, str] | None: ...
    def register_handle(self, is_sender: bool, name: str) -> str: ...
    def deregister_handle(self, is_sender: bool, name: str) -> None: ...
    def put(
        self,
        items: list[Any],
        timeout: float | None,
        handle: str = "",
        caller: str = "",
        number: int = 0,
    ) -> Coroutine[object, object, str]: ...
    def get(
        self,
        max_items: int,
        timeout: float | None,
        handle: str = "",
        caller: str = "",
        number: int = 0,
    ) -> Coroutine[object, object, tuple[str, list[bytes]]]: ...
    def stats(self) -> ChannelStats: ...
    def unclaimed(self) -> tuple[int, int]: ...
    def abandon(self, token: bytes) -> None: ...
    def traffic(self) -> tuple[int, int]: ...
    def reader_stats(self) -> dict[str, tuple[str, float, float, int]]: ...
    def references(self) -> list[str]: ...
    def peek(self, max_items: int) -> list[bytes]: ...
    def is_closed(self) -> bool: ...
    def checkpoint(
        self, with_messages: bool
    ) -> tuple[float, int, int, bool, bool, bytes | None]: ...
    def restore(
        self,
        created_at: float,
        total_sent: int,
        total_received: int,
        senders_closed: bool,
        receivers_closed: bool,
    ) -> bool: ...
    def restore_checkpoint(self, data: bytes, is_own: bool) -> bool: ...
    def remove(self) -> None: ...
    def stop(self) -> None: ...

def local_channel(capacity: int | None) -> tuple[LocalSender[Any], LocalReceiver[Any]]:
    """A new channel of `capacity` messages, or unbounded for None."""

def oneshot_channel() -> tuple[OneshotSender[Any], OneshotReceiver[Any]]:
    """A new oneshot channel."""

def broadcast_channel(
    capacity: int, waits: bool
) -> tuple[BroadcastSender[Any], BroadcastReceiver[Any]]:
    """A new broadcast channel, whose sends wait for the slowest receiver, or let it lag."""

def watch_channel(initial: T) -> tuple[WatchSender[T], WatchReceiver[T]]:
    """A new watch channel."""

def check_receivers(receivers: list[Any] | tuple[object, ...]) -> None:
    """Raises TypeError if one of them is no receiver that select() takes."""

def select(
    receivers: list[Any] | tuple[object, ...],
    timeout: float | None,
    biased: bool,
    acked: bool = False,
    drains: bool = False,
) -> Coroutine[object, object, tuple[int, Any]]: ...
def blocking_select(
    receivers: list[Any] | tuple[object, ...],
    timeout: float | None,
    biased: bool,
    acked: bool = False,
    drains: bool = False,
) -> tuple[int, Any]: ...
def set_pickler(
    dumps: Callable[[Any], tuple[bytes, list[memoryview]]],
    loads: Callable[[memoryview, list[memoryview]], Any],
) -> None:
    """How messages are pickled."""

def set_reference_type(reference: type[str]) -> None:
    """What stands for a payload that is elsewhere."""

def check_timeout(timeout: object) -> None:
    """Raises the same error as the waiting methods for an invalid timeout."""

def refuse_event_loop(instead: str) -> None:
    """Raises RuntimeError if this thread runs an event loop; ``instead`` is what to write there."""

def encode(value: object) -> bytes:
    """The payload of a message, as it travels."""

def decode(payload: bytes) -> Any:
    """The value of a payload."""

def next_lookup(timeout: float) -> tuple[int, str] | None:
    """Blocks: the id, and the key of a RemoteChannel, whose broker is looked for; negative: without limit."""

def answer_lookup(
    lookup: int, channel: bytes, secret: bytes, unix_path: str, addresses: list[str]
) -> None: ...
def fail_lookup(lookup: int, why: str) -> None: ...
def retire(channels: list[RemoteChannel], timeout: float) -> None:
    """Closes all their handles and waits until the brokers have heard of it: for the end of the process."""

def live_objects() -> dict[str, int]:
    """How many C++ objects of each kind are alive: for tests of leaks."""
