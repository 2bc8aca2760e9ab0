"""Pickled handles that nobody can unpickle any more: their channels are told, long before the hold lapses.

A pickled handle holds its side open until somebody claims it. If the task that it was an argument of dies before that,
nobody ever will, and there is no process whose death could be noticed. But Ray counts who has an object, through
queues, retries and crashes. So a handle that Ray pickles takes along a reference to an object of this process, and the
channel is told when Ray has let go of that object.

- **What is told**: a task that failed, was cancelled, or whose process died at its start; an object with a handle in it
  that was dropped.
- **What is not**: handles that were pickled otherwise (``pickle.dumps``, a remote function's closure, a message), and
  those whose maker's process has ended meanwhile. Their holds lapse in their time.
- **Cost**: one small object for each pickled handle, a millisecond.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import ray
from ray._private.worker import global_worker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["companion_of"]

_LOGGER: Final = logging.getLogger(__name__)
_PUT_LIMIT_S: Final = 2.0
_EXIT_LIMIT_S: Final = 5.0
_KEPT_S: Final = 3.0  # longer than it takes Ray, after it has pickled a task's arguments, to count what is in them

_Job: TypeAlias = "Callable[[], None]"


@dataclass(frozen=True, slots=True)
class _Hold:
    actor: Any  # the channel's
    token: bytes
    worker_id: bytes  # this process, in this session of Ray

    def is_of_this_session(self) -> bool:
        return ray.is_initialized() and bool(global_worker.worker_id == self.worker_id)


_lock = threading.Lock()
_jobs: SimpleQueue[_Job | None] | None = None  # of the thread, which ends at None; under the lock
_worker: threading.Thread | None = None  # under the lock
_kept: Final[deque[tuple[float, Any, _Hold]]] = (
    deque()
)  # until when; the thread's, the oldest first


def companion_of(actor: Any, token: bytes) -> Any:
    """An ObjectRef to be pickled beside a handle; None if it is not Ray that pickles.

    Once Ray has let go of it, the channel of ``actor`` is told that nobody can claim ``token`` any more.
    """
    if not _is_pickled_by_ray():
        return None
    # In another thread: Ray can't pickle an object within another one.
    made: Future[Any] = Future()
    hold = _Hold(actor, token, global_worker.worker_id)
    _queue().put(partial(_make, made, hold))
    try:
        return made.result(_PUT_LIMIT_S)
    except Exception as error:  # noqa: BLE001  it is pickled all the same, and lapses as it would without Ray
        if not made.cancel() and made.exception() is None:
            return made.result()  # it came just now
        _LOGGER.debug("a pickled handle is not watched: %r", error)
        return None


def _is_pickled_by_ray() -> bool:
    if not ray.is_initialized() or not hasattr(
        global_worker.core_worker, "add_object_out_of_scope_callback"
    ):
        return False
    return bool(global_worker.get_serialization_context().is_in_band_serialization())


def _queue() -> SimpleQueue[_Job | None]:
    global _jobs, _worker  # noqa: PLW0603  one for the process
    with _lock:
        if _jobs is None:
            _jobs = SimpleQueue()
            _worker = threading.Thread(target=_work, args=(_jobs,), name="klaw-holds", daemon=True)
            _worker.start()
        return _jobs


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while _do_next(jobs):
        while _kept and _kept[0][0] <= time.monotonic():
            _, ref, hold = _kept.popleft()
            if hold.is_of_this_session():
                _watch(ref, hold)
            del ref


# A function of its own: a job that were kept until the next one comes would keep its ObjectRef, too.
def _do_next(jobs: SimpleQueue[_Job | None]) -> bool:
    try:
        job = jobs.get(timeout=max(0.0, _kept[0][0] - time.monotonic()) if _kept else None)
        if job is None:
            _kept.clear()
            return False
        job()
    except Empty:
        pass
    except Exception as error:  # noqa: BLE001  Ray may be gone, or the channel: then nobody need be told
        _LOGGER.debug("a pickled handle is not watched any more: %r", error)
    return True


def _make(made: Future[Any], hold: _Hold) -> None:
    if made.cancelled() or not hold.is_of_this_session():  # put() would initialise Ray again
        made.cancel()
        return
    try:
        ref = ray.put(b"")
    except Exception as error:  # noqa: BLE001  it is told to the one who waits
        made.set_exception(error)
        return
    made.set_result(ref)  # raises if nobody waits for it any more: then nothing is watched
    _kept.append((time.monotonic() + _KEPT_S, ref, hold))


def _watch(ref: Any, hold: _Hold) -> None:
    def let_go(_object_id: bytes) -> None:
        # A thread of Ray's, which must not wait.
        _queue().put(partial(_tell, hold))

    global_worker.core_worker.add_object_out_of_scope_callback(ref, let_go)


def _tell(hold: _Hold) -> None:
    if hold.is_of_this_session():
        hold.actor.abandon_handle.options(max_task_retries=0).remote(hold.token)


def _at_exit() -> None:
    """Ends the thread while Ray is there: Ray ends a process that calls it after its shutdown, with status 1."""
    with _lock:
        jobs, worker = _jobs, _worker
    if jobs is not None and worker is not None:
        jobs.put(None)
        worker.join(_EXIT_LIMIT_S)


def _after_fork() -> None:
    """In the child: the thread is the parent's, and so is what it keeps."""
    global _lock, _jobs, _worker  # noqa: PLW0603  one for the process
    _lock = threading.Lock()
    _jobs = _worker = None


# After Ray has registered its own, so this runs first.
atexit.register(_at_exit)


os.register_at_fork(after_in_child=_after_fork)
