"""What a channel with ``checkpoint_dir`` keeps in that folder, and how its actor goes on from it after a restart.

- **When**: the actor writes down all that it holds once in ``KLAW_CHECKPOINT_PERIOD`` seconds (1) if something has
  changed, and never for longer than half of its time. Messages are not kept from flowing meanwhile.
- **Files**: ``NAME-ACTOR_ID/EPOCH-NUMBER.checkpoint``. A file is written beside, synced, and then renamed: so one of
  that name is whole. The newest two are kept. All go when the channel ends in an orderly way.
- **Which is taken**: the newest whose checksum is right, which is this actor's, and of an earlier epoch. An actor
  that was taken for dead and lives on writes files of its own epoch, which are older than all of a later one.
- **A folder that fails**: at the first checkpoint, the channel is not made, or does not come back: an error that
  names it. Later it is logged, and the channel goes on; ``stats().backend_extras['checkpoint_age']`` grows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from klaw_core import _core
from klaw_core.runtime.channels.ray.metrics import period_of

__all__ = ["CheckpointFolder", "Checkpoints"]

_LOGGER: Final = logging.getLogger(__name__)
_PERIOD_DEFAULT_S: Final = 1.0
_PERIOD_MIN_S: Final = 0.01
_KEPT: Final = 2  # generations
_NAME_MAX: Final = 100  # characters of the channel's, in that of its folder
_FILE_NAME: Final = re.compile(r"(\d+)-(\d+)\.checkpoint")
_END_LIMIT_S: Final = 2.0  # for a write that is under way


class CheckpointFolder:
    """The files of one channel's actor, in its present epoch. Not for several threads at once."""

    def __init__(self, checkpoint_dir: str, name: str | None, actor_id: str, epoch: int) -> None:
        self.path: Path = (
            Path(checkpoint_dir) / f"{quote(name or 'unnamed', safe='')[:_NAME_MAX]}-{actor_id}"
        )
        self._epoch = epoch
        self._number = 0
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def earlier(self) -> Iterator[Path]:
        """What earlier epochs have left, the newest first."""
        return (path for (epoch, _), path in self._kept() if epoch < self._epoch)

    def write(self, data: bytes) -> None:
        """Keep this, whole or not at all; then remove what is too old."""
        being_written = self.path / f"{self._epoch}.new"
        with being_written.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._number += 1
        being_written.rename(self.path / f"{self._epoch}-{self._number}.checkpoint")
        self._sync()
        for _, path in self._kept()[_KEPT:]:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """All of it; what else somebody has put there stays."""
        for path in [*self.path.glob("*.checkpoint"), *self.path.glob("*.new")]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _kept(self) -> list[tuple[tuple[int, int], Path]]:
        """(epoch, number) of each, and the file; the newest first."""
        matches = ((_FILE_NAME.fullmatch(path.name), path) for path in self.path.iterdir())
        found = (((int(match[1]), int(match[2])), path) for match, path in matches if match)
        return sorted(found, reverse=True)

    def _sync(self) -> None:
        """Have the names in it survive the machine."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Checkpoints:
    """Keeps the checkpoints of ``server``, in a thread of its own; a restarted one goes on from the newest.

    Raises:
        OSError: the folder can't be read or written.
    """

    def __init__(
        self,
        server: _core.BrokerServer,
        checkpoint_dir: str,
        name: str | None,
        actor_id: str,
        epoch: int,
    ) -> None:
        self._server = server
        self._period: float = period_of("KLAW_CHECKPOINT_PERIOD", _PERIOD_DEFAULT_S)
        self._lock = threading.Lock()  # protects the folder, and what follows
        self._ended = threading.Event()
        self._saved: Any = None  # how the channel was then
        self._saved_at: float = 0.0
        try:
            self._folder = CheckpointFolder(checkpoint_dir, name, actor_id, epoch)
            if epoch > 1:
                self._restore()
            self.save()
        except OSError as error:
            node = os.uname().nodename
            raise OSError(
                f"the checkpoint_dir of channel {name or '(unnamed)'} can't be used on node {node}: {error}"
            ) from error
        self._thread = threading.Thread(target=self._keep_saving, name="klaw-saving", daemon=True)
        self._thread.start()

    @property
    def age(self) -> float:
        """Seconds: what has been there for longer is in a checkpoint."""
        return time.monotonic() - self._saved_at

    def save(self) -> None:
        """Write down what is there now, if it is not. Blocks."""
        with self._lock:
            if self._ended.is_set():
                return
            now = time.monotonic()
            state = replace(self._server.stats(), oldest_age=0.0)
            if state != self._saved:
                self._folder.write(cast("bytes", self._server.checkpoint(True)[-1]))
            self._saved, self._saved_at = state, now

    def end(self) -> None:
        """Of a channel that nobody wants any more: so are they."""
        self._ended.set()
        self._thread.join(_END_LIMIT_S)
        try:
            self._folder.remove()
        except OSError as error:
            _LOGGER.warning("checkpoints of a channel that has ended are left: %s", error)

    def _restore(self) -> None:
        for path in self._folder.earlier():
            try:
                self._server.restore_checkpoint(path.read_bytes(), is_own=True)
            except (OSError, ValueError) as error:
                _LOGGER.warning("checkpoint %s is passed over: %s", path, error)
            else:
                _LOGGER.warning("the channel's actor was restarted, and goes on from %s", path)
                return
        _LOGGER.error(
            "the channel's actor was restarted, and there is no checkpoint to go on from in %s: can all nodes see that "
            "folder?",
            self._folder.path,
        )

    def _keep_saving(self) -> None:
        fails = False
        pause = self._period
        while not self._ended.wait(max(pause, _PERIOD_MIN_S)):
            began = time.monotonic()
            try:
                self.save()
            except OSError as error:
                if not fails:
                    _LOGGER.error("no checkpoint could be written, it is tried again: %s", error)  # noqa: TRY400  its text says all
                fails = True
            else:
                fails = False
            pause = max(self._period, time.monotonic() - began)
