"""``select``: wait on several receivers, take from the first that is ready.

- **Order**: among several that are ready one is chosen at random, so that none starves; with
  ``biased=True`` the first in the order of the arguments.
- **Nothing is lost**: exactly one message is taken, from the winner; the losers are not touched,
  also when select is cancelled or out of time.
- **Close**: a value that is there wins over an end. Only when no receiver has one, one that has
  ended raises its ``ChannelClosedError``, with its ``.index``: drop that receiver and go on with the
  others. With ``biased=True`` strictly in the order of the arguments, ends too. A backend error is
  raised at once.
- **Cancel safety**: a cancelled select has taken nothing; the message goes to the next receiver.
- **Threads**: the receivers may be of different flavours and backends, and are filled from anywhere.
- **Typing**: up to six receivers are told apart, so that ``match`` narrows; more share one type.
- **Cost**: it looks at one receiver after the other until one has a value. If it has to wait: one
  waiter per receiver, all linked and unlinked per call.

Example::

    match await select(numbers, names, timeout=1.0):
        case (0, number):
            print(number + 1)
        case (1, name):
            print(name.upper())
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar, cast, overload

from klaw_core import _core
from klaw_core.runtime.channels.errors import (
    ChannelClosedError,
    LaggedError,
    NoReceiversError,
    PayloadLostError,
)

__all__ = ["Indirect", "SelectAll", "Selectable", "blocking_select", "select", "select_all"]

# The kinds of an end that is the end of an iteration.
ORDERLY: Final = frozenset({"ended", "handle_closed", "shutdown"})

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
P_co = TypeVar("P_co", covariant=True)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Selectable(Protocol[T_co]):
    """To type checkers, what ``select`` takes: a receiver of any of klaw's flavours. Covariant.

    At run time only klaw's own receivers will do, others are a ``TypeError``: nobody else can
    promise that the losers lose nothing.
    """

    def __anext__(self) -> Coroutine[object, object, T_co]:
        """What iteration gives is what select gives: of a watch, the value after a change."""
        ...

    def closed(self) -> Coroutine[object, object, None]:
        """See ``ChannelReceiver.closed``."""
        ...


class Indirect:
    """A receiver around one of a remote channel, whose messages stand for others.

    Select waits for what is inside; the winner then makes a value of the delivery that it is given, and settles it.
    """

    __slots__ = ()

    def _in_select(self) -> _core.RemoteReceiver[Any]:
        """What is inside."""
        raise NotImplementedError

    async def _finish_select(self, delivery: _core.Delivery[Any]) -> Any:
        """The value of what was taken. Cancelled, it is given back."""
        raise NotImplementedError

    def _blocking_finish_select(self, delivery: _core.Delivery[Any]) -> Any:
        """``_finish_select`` for threads without an event loop."""
        raise NotImplementedError


def _inside(receivers: tuple[Selectable[Any], ...]) -> tuple[object, ...]:
    return tuple(
        r._in_select() if isinstance(r, Indirect) else r  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        for r in receivers
    )


async def _finish(
    receivers: Sequence[Selectable[Any]], selecting: Coroutine[object, object, tuple[int, Any]]
) -> tuple[int, Any]:
    at, value = await selecting
    receiver = receivers[at]
    if not isinstance(receiver, Indirect):
        return at, _settled(receiver, value)
    with _naming(at):
        return at, await receiver._finish_select(value)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _blocking_finish(
    receivers: Sequence[Selectable[Any]], selected: tuple[int, Any]
) -> tuple[int, Any]:
    at, value = selected
    receiver = receivers[at]
    if not isinstance(receiver, Indirect):
        return at, _settled(receiver, value)
    with _naming(at):
        return at, receiver._blocking_finish_select(value)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _settled(receiver: object, value: Any) -> Any:
    """Among indirect ones, the other remote receivers give deliveries, too."""
    if not isinstance(receiver, _core.RemoteReceiver):
        return value
    value.ack()
    return value.value


@contextlib.contextmanager
def _naming(index: int) -> Generator[None]:
    try:
        yield
    except (ChannelClosedError, PayloadLostError) as error:
        error.index = index
        raise


@overload
def select(
    r0: Selectable[A],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[object, object, tuple[Literal[0], A]]: ...
@overload
def select(
    r0: Selectable[A],
    r1: Selectable[B],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[object, object, tuple[Literal[0], A] | tuple[Literal[1], B]]: ...
@overload
def select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[
    object, object, tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]
]: ...
@overload
def select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[
    object,
    object,
    tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D],
]: ...
@overload
def select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[
    object,
    object,
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E],
]: ...
@overload
def select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    r5: Selectable[F],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> Coroutine[
    object,
    object,
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
    | tuple[Literal[5], F],
]: ...
@overload
def select(
    *receivers: Selectable[T], timeout: float | None = None, biased: bool = False
) -> Coroutine[object, object, tuple[int, T]]: ...
def select(
    *receivers: Selectable[Any], timeout: float | None = None, biased: bool = False
) -> Coroutine[object, object, tuple[Any, Any]]:
    """Wait until one of the receivers is ready; ``(index, value)`` of the one taken from.

    Args:
        receivers: at least one.
        timeout: seconds; None for no limit, 0 means try.
        biased: prefer the earlier of several ready ones, instead of choosing at random.

    Cancel safety: a cancelled select has taken nothing, from any of them.

    Raises:
        ChannelClosedError: one of them ended, and no other has a value; its ``.index`` says which.
        TimeoutError: none was ready in time.
        NoReceiversError: at the call, without receivers.
        TypeError: at the call, for something else than a receiver, or a timeout that is no number.
        ValueError: at the call, for a negative timeout or NaN.
    """
    if not receivers:
        raise NoReceiversError
    if any(isinstance(receiver, Indirect) for receiver in receivers):
        return _finish(receivers, _core.select(_inside(receivers), timeout, biased, acked=True))
    return _core.select(receivers, timeout, biased)


@overload
def blocking_select(
    r0: Selectable[A],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> tuple[Literal[0], A]: ...
@overload
def blocking_select(
    r0: Selectable[A],
    r1: Selectable[B],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> tuple[Literal[0], A] | tuple[Literal[1], B]: ...
@overload
def blocking_select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]: ...
@overload
def blocking_select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D]: ...
@overload
def blocking_select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> (
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
): ...
@overload
def blocking_select(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    r5: Selectable[F],
    /,
    *,
    timeout: float | None = None,
    biased: bool = False,
) -> (
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
    | tuple[Literal[5], F]
): ...
@overload
def blocking_select(
    *receivers: Selectable[T], timeout: float | None = None, biased: bool = False
) -> tuple[int, T]: ...
def blocking_select(
    *receivers: Selectable[Any], timeout: float | None = None, biased: bool = False
) -> tuple[Any, Any]:
    """``select`` for threads without an event loop.

    Releases the GIL, answers Ctrl-C, and refuses a thread that runs an event loop.

    Raises:
        RuntimeError: this thread runs an event loop; write ``await select(...)``.
        and what ``select`` raises.
    """
    if not receivers:
        raise NoReceiversError
    if any(isinstance(receiver, Indirect) for receiver in receivers):
        selected = _core.blocking_select(_inside(receivers), timeout, biased, acked=True)
        return _blocking_finish(receivers, selected)
    return _core.blocking_select(receivers, timeout, biased)


class SelectAll(Generic[P_co]):
    """What ``select_all`` returns: an iterator, and an asynchronous one. For one task or thread at a time."""

    def __init__(self, receivers: tuple[Selectable[Any], ...], biased: bool) -> None:
        self._receivers = list(receivers)  # those that have not ended
        self._inside = list(_inside(receivers))  # what is waited for, of each
        self._places = list(range(len(receivers)))  # of each among the arguments
        self._acked = any(isinstance(receiver, Indirect) for receiver in receivers)
        self._biased = biased
        _core.check_receivers(self._inside)

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> P_co:
        """Receive from the first receiver that is ready; cancelled, it has taken nothing."""
        while self._inside:
            try:
                selecting = _core.select(*self._arguments())
                at, value = await (
                    _finish(self._receivers, selecting) if self._acked else selecting
                )
            except LaggedError:
                continue
            except PayloadLostError as error:
                # Until here it is the place among those that are left.
                error.index = self._places[cast("int", error.index)]
                raise
            except ChannelClosedError as error:
                self._drop(error)
            else:
                return cast("P_co", (self._places[at], value))
        raise StopAsyncIteration

    def __iter__(self) -> Self:
        """The iterator itself, for a thread without an event loop."""
        return self

    def __next__(self) -> P_co:
        """Receive from the first receiver that is ready, blocking."""
        while self._inside:
            try:
                selected = _core.blocking_select(*self._arguments())
                at, value = _blocking_finish(self._receivers, selected) if self._acked else selected
            except LaggedError:
                continue
            except PayloadLostError as error:
                # Until here it is the place among those that are left.
                error.index = self._places[cast("int", error.index)]
                raise
            except ChannelClosedError as error:
                self._drop(error)
            else:
                return cast("P_co", (self._places[at], value))
        raise StopIteration

    def _arguments(self) -> tuple[list[object], None, bool, bool, bool]:
        return self._inside, None, self._biased, self._acked, True

    def _drop(self, error: ChannelClosedError) -> None:
        at = error.index
        if at is None:
            raise error
        error.index = self._places[at]
        for each in cast("tuple[list[Any], ...]", (self._receivers, self._inside, self._places)):
            if self._biased:
                del each[at]
            else:  # their order is nobody's concern
                each[at] = each[-1]
                del each[-1]
        if error.kind not in ORDERLY:
            raise error


@overload
def select_all(
    r0: Selectable[A],
    /,
    *,
    biased: bool = False,
) -> SelectAll[tuple[Literal[0], A]]: ...
@overload
def select_all(
    r0: Selectable[A],
    r1: Selectable[B],
    /,
    *,
    biased: bool = False,
) -> SelectAll[tuple[Literal[0], A] | tuple[Literal[1], B]]: ...
@overload
def select_all(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    /,
    *,
    biased: bool = False,
) -> SelectAll[tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]]: ...
@overload
def select_all(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    /,
    *,
    biased: bool = False,
) -> SelectAll[
    tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D]
]: ...
@overload
def select_all(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    /,
    *,
    biased: bool = False,
) -> SelectAll[
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
]: ...
@overload
def select_all(
    r0: Selectable[A],
    r1: Selectable[B],
    r2: Selectable[C],
    r3: Selectable[D],
    r4: Selectable[E],
    r5: Selectable[F],
    /,
    *,
    biased: bool = False,
) -> SelectAll[
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
    | tuple[Literal[5], F]
]: ...
@overload
def select_all(*receivers: Selectable[T], biased: bool = False) -> SelectAll[tuple[int, T]]: ...
def select_all(*receivers: Selectable[Any], biased: bool = False) -> SelectAll[Any]:
    """Receive from all of them until the last has ended, as ``async for index, value in ...``.

    The index is the receiver's place among the arguments. A receiver whose channel ended in an
    orderly way is dropped; broadcasts skip lags. In a thread without an event loop: ``for``.

    Args:
        receivers: at least one.
        biased: prefer the earlier of several ready ones, instead of choosing at random.

    Cancel safety: what is not given to the loop was not taken.

    Raises:
        ChannelClosedError: from the loop, when one ended otherwise; its ``.index`` says which. That
            one is dropped, so the same object may be iterated on.
        NoReceiversError: at the call, without receivers.
        TypeError: at the call, for something else than a receiver.
    """
    if not receivers:
        raise NoReceiversError
    return SelectAll(receivers, biased)
