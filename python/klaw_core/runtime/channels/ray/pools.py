"""Pools: any number of actors that process what comes through a named channel, replaced when they die.

    class Resize(ChannelReader[bytes]):
        def process(self, item: bytes) -> None:
            ...

    pool = ReaderPoolController.remote("pictures", 3, reader_class=Resize, max_attempts=5)

- **Delivery**: an item is acknowledged when ``process`` has returned, so it is processed at least once. One whose
  ``process`` raised comes again after a delay that grows; one whose reader died, at once. Either is marked:
  ``self.redelivered`` and ``self.attempt``. ``docs/pools.md`` says when an item may be processed twice.
- **Dead letters**: with ``max_attempts``, an item that was tried so often goes into the channel
  ``{channel_name}.dead_letters``, as a ``DeadLetter``, and is done with. Deaths of its readers count. That channel is
  made by the pool, persistent, and lives until it is deleted. While it is full, such an item stays where it was.
- **Readers** take one item at a time. A ``process`` that is no coroutine function runs in a thread, so that the actor
  answers meanwhile. A reader goes on by itself if the channel's actor is restarted.
- **Draining**: a reader that is scaled away finishes its item and takes no other; what was on its way to it goes back.
- **Replacement**: a dead reader is replaced as soon as Ray says so: at once when its process died, some seconds later
  when its node did. Those that die at once are replaced ever more slowly. The log says why.
- **The end**: when the channel ends, so do the readers, and ``wait_closed`` returns, or raises what was no
  orderly end.
  A pool of no readers keeps the channel open. One that is gone is looked for again for a minute.
- **Death of the pool**: its readers die with it, and what they had in their hands comes again. Ray restarts it, with
  its initial size and its counts at 0.
- **Cost**: an item costs one round trip to the channel's actor, and a thread's wake-up if ``process`` is a plain one.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Final, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from klaw_core.runtime.channels.checks import at_least, check_seconds, integer
from klaw_core.runtime.channels.errors import (
    ChannelBackendErrorException,
    ChannelClosedError,
    RecvTimeoutError,
)
from klaw_core.runtime.channels.protocols import Delivery
from klaw_core.runtime.channels.ray.explain import backend_error, explain
from klaw_core.runtime.channels.ray.factory import (
    blocking_channel_stats,
    blocking_get_receiver,
    blocking_get_sender,
    blocking_make_channel,
)
from klaw_core.runtime.channels.ray.reference import RayReferenceReceiver, RayReferenceSender
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT, ChannelSettings

__all__ = ["ChannelReader", "DeadLetter", "PoolStats", "ReaderPoolController", "ReaderStats"]

T = TypeVar("T")

_LOGGER: Final = logging.getLogger(__name__)
_DEAD_LETTERS: Final = ".dead_letters"  # after the name of the channel
_ORDERLY: Final = ("ended", "shutdown", "handle_closed")
_FIND_LIMIT_S: Final = 5.0  # for the channel to be there when a reader or a pool starts
_GONE_LIMIT_S: Final = 60.0  # for one that was there to come again, by its supervisor perhaps
_RETRY_DELAY_S: Final = 0.1
_RETRY_DELAY_MAX_S: Final = 30.0
_BACKEND_ERRORS_MAX: Final = (
    3  # in a row; then a reader gives up, and another looks for the channel anew
)
_LOOK_PERIOD_S: Final = 1.0  # between two looks at what the readers have done
_EARLY_S: Final = 2.0  # a reader that dies sooner has died at once
_PAUSE_S: Final = 0.2  # before one that died at once is replaced; doubles
_PAUSE_MAX_S: Final = 15.0
_PLACEMENT_LIMIT_S: Final = 20.0  # then the log says that a reader waits for a node
_CALLS_AT_ONCE: Final = 10_000
# A pool that is restarted answers anew.
_repeatable: Final = ray.method(max_task_retries=-1)
_NOT_FOR_READERS: Final = ("name", "namespace", "get_if_exists", "lifetime", "max_restarts")


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """What a dead-letter channel carries.

    Attributes:
        item: as it was sent.
        attempts: how often it was handed out; deaths of readers count.
        error: what ``process`` raised the last time, ``'ValueError: no text'``, or that its reader died.
    """

    item: T
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What a reader has done, or several together.

    Attributes:
        processed: items whose ``process`` returned.
        failed: times that ``process`` raised; and messages that could not be decoded, which are lost.
        redelivered: times that an item came that may have come before.
        dead_letters: items that went into the dead-letter channel.
    """

    processed: int = 0
    failed: int = 0
    redelivered: int = 0
    dead_letters: int = 0

    def __add__(self, other: ReaderStats) -> ReaderStats:
        return ReaderStats(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment.

    Attributes:
        size: how many readers it is to have.
        readers: how many are at work; less than ``size`` while some start or are replaced.
        draining: scaled away and not done yet.
        replaced: readers that died, or gave up, and had another started in their place.
        processed, failed, redelivered, dead_letters: of all its readers, see ``ReaderStats``. What a reader did in
            the second before it was killed may be missing.
        is_closed: it has ended; ``wait_closed`` says why.
    """

    size: int
    readers: int
    draining: int
    replaced: int
    processed: int
    failed: int
    redelivered: int
    dead_letters: int
    is_closed: bool


# ------------------------------------------------------------------------------------------ readers


class _ByTheClass:
    """A class method that Ray's version of the class does not have: Ray gives it its own of that name, and warns."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type, /) -> Callable[..., Any]:
        if hasattr(owner, "__ray_actor_class__"):
            raise AttributeError(f"{owner.__name__} is an actor already")
        return partial(self._function, owner)


class ChannelReader(Generic[T]):
    """Processes what comes through a named channel, as an actor of its own: subclass it, and override ``process``.

    A plain class, since Ray refuses to inherit from actor classes; ``remote()`` and ``options()`` make actors of
    it. A subclass with arguments of its own takes these two first, and hands them on::

        class Classify(ChannelReader[str]):
            def __init__(self, channel_name: str, namespace: str = "klaw", *, model: str) -> None:
                super().__init__(channel_name, namespace)

    Attributes:
        channel_name, namespace: where it reads.
        attempt: of the item that is being processed: how often it was handed out, from 1.
        redelivered: whether it may have been processed before, wholly or in part.
    """

    channel_name: str
    namespace: str
    attempt: int
    redelivered: bool

    def __init__(self, channel_name: str, namespace: str = NAMESPACE_DEFAULT) -> None:
        self.channel_name = channel_name
        self.namespace = namespace
        self.attempt = 0
        self.redelivered = False
        self._done = ReaderStats()
        self._is_stopped = False
        self._receiving: asyncio.Future[Delivery[T]] | None = None
        self._dead_letters: Any = None  # a sender, once it is needed
        self._rx: Any = (
            None  # kept when it is closed: so the end of this process is no death to the channel
        )

    @_ByTheClass
    def remote(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as for a classmethod
        """Make an actor of this class: ``reader = MyReader.remote("jobs")``."""
        return ray.remote(cls).remote(*args, **kwargs)

    @_ByTheClass
    def options(cls, **options: Any) -> Any:  # noqa: N805
        """Ray's options of the actor: ``MyReader.options(num_gpus=1).remote("jobs")``."""
        return ray.remote(cls).options(**options)

    def process(self, item: T) -> object:
        """Do the work. Override it, with a plain method or a coroutine; what it returns does not matter.

        What it raises is logged, and the item comes again.
        """
        raise NotImplementedError(f"{type(self).__name__} has to override process(item)")

    async def start(
        self, *, max_attempts: int | None = None, retry_delay: float = _RETRY_DELAY_S
    ) -> ReaderStats:
        """Consume, until the channel ends in an orderly way, or ``stop`` is called.

        Args:
            max_attempts: then an item is a dead letter; None: it comes again and again.
            retry_delay: seconds until an item comes again whose ``process`` raised; doubles each time, up to 30.

        Cancel safety: the item that was being processed comes again.

        Raises:
            ChannelClosedError: the channel ended, and not in an orderly way.
            ChannelBackendErrorException: there is no such channel, or it can't be reached.
        """
        _check_policy(max_attempts, retry_delay)
        self._rx = await _receiver_of(self.channel_name, self.namespace, _FIND_LIMIT_S)
        try:
            while (delivery := await self._next()) is not None:
                await self._handle(delivery, max_attempts, retry_delay)
        finally:
            await self._rx.close()
            await self._close_dead_letters()
        return self._done

    async def stop(self) -> None:
        """Finish what is in hand, take no more: then ``start`` returns."""
        self._is_stopped = True
        if self._receiving is not None:
            self._receiving.cancel()  # nothing, if it has its item already

    async def stats(self) -> ReaderStats:
        """What it has done so far."""
        return self._done

    async def _next(self) -> Delivery[T] | None:
        """The next item; None when there is to be none."""
        backend_errors = 0
        while not self._is_stopped:
            self._receiving = asyncio.ensure_future(self._rx.recv_acked())
            try:
                return await self._receiving
            except asyncio.CancelledError:
                if not self._is_stopped:
                    raise
            except ChannelClosedError as error:
                backend_errors += 1
                if error.kind in _ORDERLY:
                    return None
                if error.kind != "backend" or backend_errors == _BACKEND_ERRORS_MAX:
                    raise
                _LOGGER.warning("channel %r: %s; it goes on", self.channel_name, error)
                await asyncio.sleep(1)
            except Exception as error:  # noqa: BLE001  whatever decoding raises
                _LOGGER.warning(
                    "channel %r: a message is lost, since it can't be read: %r",
                    self.channel_name,
                    error,
                )
                self._count(failed=1)
        return None

    async def _handle(
        self, delivery: Delivery[T], max_attempts: int | None, retry_delay: float
    ) -> None:
        # Left by what is no failure of the work (it was cancelled), the block hands the item back at once.
        async with delivery:
            self.attempt, self.redelivered = delivery.attempt, delivery.redelivered
            self._count(redelivered=int(delivery.redelivered))
            if max_attempts is not None and delivery.attempt > max_attempts:
                error = "its reader died, or the channel of dead letters was full"
                return await self._bury(delivery, delivery.attempt - 1, error)
            try:
                await self._process(delivery.value)
            except (
                Exception,
                SystemExit,
            ) as raised:  # which would end the actor's event loop, not the actor
                self._count(failed=1)
                _LOGGER.warning(
                    "channel %r: attempt %d failed: %r",
                    self.channel_name,
                    delivery.attempt,
                    raised,
                    exc_info=raised,
                )
                if delivery.attempt == max_attempts:
                    error = f"{type(raised).__name__}: {raised}"
                    return await self._bury(delivery, delivery.attempt, error)
                delivery.nack(
                    min(retry_delay * 2 ** min(delivery.attempt - 1, 60), _RETRY_DELAY_MAX_S)
                )
            else:
                self._count(processed=1)

    async def _process(self, item: T) -> None:
        if inspect.iscoroutinefunction(self.process):
            await self.process(item)
        else:
            await asyncio.to_thread(self._process_here, item)

    def _process_here(self, item: T) -> None:
        try:
            self.process(item)
        except StopIteration as error:  # no future can carry it
            raise RuntimeError("process raised StopIteration") from error

    async def _bury(self, delivery: Delivery[T], attempts: int, error: str) -> None:
        """Into the dead letters, and then out of the channel; else it stays in the channel."""
        try:
            if self._dead_letters is None:
                by_reference = isinstance(self._rx, RayReferenceReceiver)
                self._dead_letters = await asyncio.to_thread(
                    _dead_letters_of, self.channel_name, self.namespace, by_reference
                )
            sent = await self._dead_letters.try_send(DeadLetter(delivery.value, attempts, error))
            sent.unwrap()
        except Exception as raised:  # noqa: BLE001  full, deleted, out of reach: it must not be lost
            _LOGGER.warning(
                "channel %r: a dead letter can't be sent, and is tried again: %r",
                self.channel_name,
                raised,
            )
            delivery.nack(_RETRY_DELAY_MAX_S)
            await self._close_dead_letters()
        else:
            _LOGGER.warning(
                "channel %r: given up after %d attempts: %s", self.channel_name, attempts, error
            )
            self._count(dead_letters=1)

    async def _close_dead_letters(self) -> None:
        if self._dead_letters is not None:
            with contextlib.suppress(ChannelClosedError):
                await self._dead_letters.close()
            self._dead_letters = None

    def _count(self, **more: int) -> None:
        self._done += ReaderStats(**more)


def _check_policy(max_attempts: object, retry_delay: object) -> None:
    if max_attempts is not None:
        at_least("max_attempts", max_attempts, 1)
    check_seconds("retry_delay", retry_delay)
    if retry_delay == math.inf:
        raise ValueError("retry_delay must be finite")


async def _receiver_of(name: str, namespace: str, wait: float) -> Any:
    rx = await asyncio.to_thread(blocking_get_receiver, name, wait=wait, namespace=namespace)
    if rx is None:
        raise backend_error(
            f"there is no such channel, or it has ended; make it first: channel(backend='ray', name={name!r})",
            name=name,
            namespace=namespace,
        )
    if not hasattr(rx, "recv_acked"):
        await rx.close()
        raise backend_error(
            f"readers and pools are for channels that channel() makes: this one gives {type(rx).__name__}",
            name=name,
            namespace=namespace,
        )
    return rx


def _dead_letters_of(channel_name: str, namespace: str, by_reference: bool) -> Any:
    """A sender of the channel for dead letters, which is made if it is not there."""
    name = channel_name + _DEAD_LETTERS
    tx = blocking_get_sender(name, namespace=namespace)
    if tx is None:
        # Persistent: readers come and go, and nobody may be listening yet.
        settings = ChannelSettings(persistent=True, reference=by_reference)
        tx, rx = blocking_make_channel(settings, name=name, namespace=namespace)
        rx.blocking_close()
    # The payload has to outlive this reader.
    return (
        RayReferenceSender(tx._inner, owner="channel") if isinstance(tx, RayReferenceSender) else tx
    )


# ------------------------------------------------------------------------------------------ the pool


class _Place:
    """A reader of the pool, and those that come in its place when it dies."""

    def __init__(self) -> None:
        self.is_wanted = True
        self.left = asyncio.Event()  # not wanted any more
        self.actor: Any = None
        self.at_work_since: float | None = None
        self.done = ReaderStats()  # of this actor, as it has told last
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Let its reader finish what it has in hand."""
        self.is_wanted = False
        self.left.set()
        if self.at_work_since is not None:
            self.actor.stop.remote()


class PoolController:
    """Keeps a number of readers on a named channel: ``ReaderPoolController.remote("jobs", 3, reader_class=MyReader)``.

    Its methods answer when it has the channel; before that, somebody else has to keep the receiving side open.

    Args:
        channel_name, namespace: the channel, which has to be there within 5 s.
        initial_size: how many readers.
        reader_class: a subclass of ``ChannelReader``, not an actor class.
        reader_kwargs: more arguments for its constructor, by name.
        reader_options: Ray's options of each reader: ``num_cpus``, ``resources``, ``runtime_env``...
        max_attempts, retry_delay: see ``ChannelReader.start``.
    """

    # All of it runs in the event loop of the actor, the constructor included.

    def __init__(
        self,
        channel_name: str,
        initial_size: int,
        *,
        namespace: str = NAMESPACE_DEFAULT,
        reader_class: type[ChannelReader[Any]] = ChannelReader,
        reader_kwargs: Mapping[str, Any] | None = None,
        reader_options: Mapping[str, Any] | None = None,
        max_attempts: int | None = None,
        retry_delay: float = _RETRY_DELAY_S,
    ) -> None:
        at_least("initial_size", initial_size, 0)
        _check_policy(max_attempts, retry_delay)
        options = dict(reader_options or {})
        _check_reader(reader_class, options)
        self._name = channel_name
        self._namespace = namespace
        self._policy: dict[str, Any] = {"max_attempts": max_attempts, "retry_delay": retry_delay}
        self._reader_class = reader_class.options(**options)
        self._reader_kwargs = dict(reader_kwargs or {})
        self._size = initial_size
        self._places: list[_Place] = []  # those that drain as well
        self._past = ReaderStats()  # of readers that are gone
        self._replaced = 0
        self._rx: Any = None  # keeps the channel open when there is no reader
        self._dead_letters: Any = None  # and this theirs
        self._gone_since: float | None = None
        self._found = asyncio.Event()  # the channel is held, or was not there
        self._ending = asyncio.Event()
        self._closed = asyncio.Event()
        self._error: Exception | None = None
        # Held here, or it might be collected.
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def scale(self, delta: int) -> int:
        """So many readers more, or less if negative; never below 0. Gives their number, and does not wait for them.

        Those that are too many finish what they have in their hands, and take no more.

        Raises:
            ChannelClosedError: the pool has ended.
        """
        await self._found.wait()
        if self._ending.is_set():
            raise self._error or ChannelClosedError("the pool has ended")
        self._size = max(0, self._size + integer("delta", delta))
        self._fit()
        return self._size

    @_repeatable
    async def num_readers(self) -> int:
        """How many readers it is to have; 0 once it has ended. ``stats`` says how many are at work."""
        await self._found.wait()
        return self._size

    @_repeatable
    async def stats(self) -> PoolStats:
        """The pool at this moment. It asks its readers; of one that does not answer, what it has told last."""
        await self._found.wait()
        return await self._stats()

    @_repeatable
    async def wait_closed(self) -> PoolStats:
        """Wait until the channel has ended, or the pool was closed, and all its readers are done.

        Raises:
            ChannelClosedError: the channel has not ended in an orderly way: ``kind`` and ``reason`` say how.
            ChannelBackendErrorException: it was not there, or is gone.
        """
        return await self._until_closed()

    @_repeatable
    async def close(self) -> PoolStats:
        """Let all readers finish what they have in their hands, then let go of the channel. Idempotent.

        Waits for them, and raises what ``wait_closed`` raises.
        """
        self._ending.set()
        return await self._until_closed()

    async def _until_closed(self) -> PoolStats:
        await self._closed.wait()
        if self._error is not None:
            raise self._error
        return await self._stats()

    async def _stats(self) -> PoolStats:
        await self._ask_readers()
        done = sum((place.done for place in self._places), self._past)
        at_work = self._at_work()
        return PoolStats(
            size=self._size,
            readers=sum(place.is_wanted for place in at_work),
            draining=sum(not place.is_wanted for place in at_work),
            replaced=self._replaced,
            **asdict(done),
            is_closed=self._closed.is_set(),
        )

    # --- from the beginning to the end ---

    async def _run(self) -> None:
        try:
            await self._find(_FIND_LIMIT_S)
            if self._policy["max_attempts"] is not None:
                self._dead_letters = await self._open_dead_letters()
            self._fit()
            self._found.set()
            while not self._ending.is_set():
                await self._ask_readers()
                if self._gone_since is not None or not self._at_work():
                    await self._look_at_channel()
                await _within(_LOOK_PERIOD_S, self._ending)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the end of the pool
            self._end(error)
            self._found.set()
        self._size = 0
        self._fit()
        await asyncio.gather(*(place.task for place in self._places if place.task is not None))
        await self._hold(None)
        if self._dead_letters is not None:
            with contextlib.suppress(ChannelClosedError):
                await self._dead_letters.close()
        self._reader_kwargs.clear()  # there may be handles among them, which end with the pool
        self._closed.set()

    def _end(self, error: Exception | None = None) -> None:
        if not self._ending.is_set():
            self._error = error
            self._ending.set()

    async def _find(self, wait: float) -> None:
        """Hold the channel that has the name now."""
        await self._hold(await _receiver_of(self._name, self._namespace, wait))

    async def _hold(self, rx: Any) -> None:
        self._rx, old = rx, self._rx
        if old is not None:
            with contextlib.suppress(ChannelClosedError):
                await old.close()

    async def _open_dead_letters(self) -> Any:
        """So that they can be listened to before there are any, and as long as there may be some."""
        by_reference = isinstance(self._rx, RayReferenceReceiver)
        return await asyncio.to_thread(_dead_letters_of, self._name, self._namespace, by_reference)

    async def _look_at_channel(self) -> None:
        """Has it ended, or gone? A reader at work hears of it; this is for when there is none, or none finds it."""
        if not await self._is_over():
            if self._gone_since is not None:
                with contextlib.suppress(ChannelBackendErrorException):
                    await self._find(0.0)
                    self._gone_since = None
            return
        try:
            # It tells how; if it was a mistake, what comes is dropped unsettled, and so handed back.
            await self._rx.recv_acked(timeout=_LOOK_PERIOD_S)
        except RecvTimeoutError:
            pass
        except ChannelBackendErrorException as error:
            self._gone_since = self._gone_since or time.monotonic()
            if time.monotonic() - self._gone_since > _GONE_LIMIT_S:
                self._end(error)
        except ChannelClosedError as error:
            self._hear_of_the_end(error)

    async def _is_over(self) -> bool:
        """Nothing is left and nothing can come, or nobody knows."""
        try:
            found = await asyncio.to_thread(
                blocking_channel_stats, self._name, namespace=self._namespace
            )
        except ChannelBackendErrorException:
            return True
        if found is None:
            return True
        return found.senders_closed and found.queue_size + found.in_flight == 0

    def _hear_of_the_end(self, error: ChannelClosedError) -> None:
        self._end(None if error.kind in _ORDERLY else error)

    # --- readers ---

    def _fit(self) -> None:
        """Have as many readers as there are to be."""
        wanted = [place for place in self._places if place.is_wanted]
        for place in wanted[self._size :]:
            place.leave()
        for _ in range(self._size - len(wanted)):
            place = _Place()
            self._places.append(place)
            place.task = asyncio.create_task(self._keep(place))

    async def _keep(self, place: _Place) -> None:
        """One reader after the other, as long as the place is wanted."""
        pause = 0.0
        while self._is_kept(place):
            why, seconds = await self._have_read(place)
            if not self._is_kept(place):
                break
            early = seconds < _EARLY_S
            pause = min(max(2 * pause, _PAUSE_S), _PAUSE_MAX_S) if early else 0.0
            self._replaced += 1
            when = f"in {pause:g} s" if pause else "at once"
            _LOGGER.warning(
                "pool of channel %r: a reader is replaced %s: %s", self._name, when, why
            )
            await _within(pause, place.left)
        self._places.remove(place)

    def _is_kept(self, place: _Place) -> bool:
        return place.is_wanted and not self._ending.is_set()

    async def _have_read(self, place: _Place) -> tuple[str, float]:
        """One reader, from its making to its end: why it has ended, and how many seconds it was at work."""
        try:
            place.actor = self._reader_class.remote(
                self._name, self._namespace, **self._reader_kwargs
            )
            if await self._is_made(place):
                place.at_work_since = time.monotonic()
                place.done = await place.actor.start.remote(**self._policy)
                if self._is_kept(place):
                    self._end()  # nobody has stopped it, so it has seen the end of the channel
            why = ""
        except Exception as error:  # noqa: BLE001  whatever it is, another takes its place
            why = await self._explained(error)
            if place.actor is not None:
                ray.kill(place.actor)
        seconds = 0.0 if place.at_work_since is None else time.monotonic() - place.at_work_since
        self._past += place.done
        place.actor, place.at_work_since, place.done = None, None, ReaderStats()
        return why, seconds

    async def _explained(self, error: Exception) -> str:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, ChannelBackendErrorException):
            self._gone_since = self._gone_since or time.monotonic()
            await self._look_at_channel()
        elif isinstance(cause, ChannelClosedError):
            self._hear_of_the_end(cause)
        return explain(error) if isinstance(cause, RayError) else repr(cause)

    async def _is_made(self, place: _Place) -> bool:
        """Wait until the reader is made, and is still wanted.

        One that is not wanted any more is waited for as well: killed on its way, it would not close the handles that
        are on their way with it. But one that finds no place may never come.
        """
        made = asyncio.ensure_future(place.actor.__ray_ready__.remote())
        await asyncio.wait({made}, timeout=_PLACEMENT_LIMIT_S)
        if not made.done():
            _LOGGER.warning(
                "pool of channel %r: a reader has found no place for %g s: is there a node with the resources that "
                "reader_options ask for (see `ray status`)?",
                self._name,
                _PLACEMENT_LIMIT_S,
            )
            left = asyncio.create_task(place.left.wait())
            await asyncio.wait({made, left}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            if not made.done():
                ray.kill(place.actor)
        await made
        return place.is_wanted

    def _at_work(self) -> list[_Place]:
        return [place for place in self._places if place.at_work_since is not None]

    async def _ask_readers(self) -> None:
        """What they have done. One that does not answer soon has done what it has told last."""
        asked = [asyncio.create_task(self._ask(place)) for place in self._at_work()]
        if asked:
            await asyncio.wait(asked, timeout=_LOOK_PERIOD_S)

    async def _ask(self, place: _Place) -> None:
        actor = place.actor
        with contextlib.suppress(RayError):  # it has died, which its place hears of
            done = await actor.stats.remote()
            if place.actor is actor:
                place.done = done


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _check_reader(reader_class: object, options: Mapping[str, Any]) -> None:
    if not (isinstance(reader_class, type) and issubclass(reader_class, ChannelReader)):
        raise TypeError(
            f"reader_class must be a subclass of ChannelReader, and no actor class, not {reader_class!r}"
        )
    if refused := sorted(options.keys() & set(_NOT_FOR_READERS)):
        raise ValueError(
            f"reader_options must not have {refused}: the pool makes its readers, and replaces them"
        )


ReaderPoolController: Any = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=_CALLS_AT_ONCE)(
    PoolController
)
"""The actor class: ``ReaderPoolController.remote(channel_name, initial_size, ...)``."""
