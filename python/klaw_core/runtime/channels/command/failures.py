"""How the command ends when it can't do what it was asked for: one line on stderr, and a status that says which."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

import typer

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    ChannelError,
    RecvTimeoutError,
    SendTimeoutError,
)
from klaw_core.runtime.channels.errors import ClosedKind

__all__ = ["Failure", "Status", "told"]


class Status(IntEnum):
    """What the command's exit status means. 2 is an error of its arguments, as typer has it."""

    FAILED = 1
    USAGE = 2
    NO_CLUSTER = 3
    NO_CHANNEL = 4
    CLOSED = 5
    TIMED_OUT = 6
    NO_ANSWER = 7
    ALONE = 8
    INTERRUPTED = 130


class Failure(Exception):
    """To be told to the user in one line."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status: Status = status


_WHY_CLOSED: Final[Mapping[ClosedKind, str]] = {
    "ended": "its senders have closed",
    "handle_closed": "this command's own handle was",
    "peer_gone": "its receivers have closed",
    "peer_died": "its senders broke off",
    "shutdown": "it was shut down",
    "deleted": "it was deleted",
    "backend": "Ray failed",
}


@contextmanager
def told(channel: str | None = None) -> Generator[None]:
    """End the command with one line instead of a traceback; ``channel`` is the one that it is about."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        _tell("interrupted", interrupt)
        raise typer.Exit(Status.INTERRUPTED) from None
    except (Failure, ChannelError, RuntimeError) as error:
        _tell(_text(error, channel), error)
        raise typer.Exit(_status(error)) from error


def _tell(text: str, error: BaseException) -> None:
    """In one line, with what was noted at the error."""
    whole = "; ".join([text, *getattr(error, "__notes__", ())])
    print("klaw:", " ".join(whole.split()), file=sys.stderr)


def _status(error: Exception) -> Status:
    match error:
        case Failure():
            return error.status
        case ChannelBackendErrorException():
            return Status.NO_CLUSTER if error.actor_name is None else Status.NO_ANSWER
        case ChannelClosedError():
            return Status.CLOSED
        case SendTimeoutError() | RecvTimeoutError():
            return Status.TIMED_OUT
        case _:
            return Status.FAILED


def _text(error: Exception, channel: str | None) -> str:
    match error:
        case ChannelBackendErrorException(actor_name=None):
            return (
                f"no Ray cluster: give --address or RAY_ADDRESS, or start one with `ray start --head` "
                f"({error.__cause__ or error})"
            )
        case ChannelBackendErrorException():
            return str(error)
        case ChannelClosedError():
            why = (
                f"{_WHY_CLOSED[error.kind]}: {error.reason}"
                if error.reason
                else _WHY_CLOSED[error.kind]
            )
            return (
                f"channel {channel!r} is closed ({why}); `klaw stats` shows which side, "
                "`klaw delete` frees the name"
            )
        case ChannelError():
            return f"channel {channel!r}: {error}"
        case _:
            return str(error)
