"""The errors of channels, from :mod:`klaw_core.runtime.errors`, which says what each one means."""

from __future__ import annotations

from klaw_core.runtime.errors import (
    AlreadySent,
    AlreadySentError,
    ChannelBackendError,
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelError,
    ChannelErrorValue,
    ChannelFull,
    ChannelFullError,
    ClosedKind,
    Lagged,
    LaggedError,
    NoReceivers,
    NoReceiversError,
    RecvTimeoutError,
    SendTimeoutError,
)

__all__ = [
    "AlreadySent",
    "AlreadySentError",
    "ChannelBackendError",
    "ChannelBackendErrorException",
    "ChannelClosed",
    "ChannelClosedError",
    "ChannelEmpty",
    "ChannelEmptyError",
    "ChannelError",
    "ChannelErrorValue",
    "ChannelFull",
    "ChannelFullError",
    "ClosedKind",
    "Lagged",
    "LaggedError",
    "NoReceivers",
    "NoReceiversError",
    "RecvTimeoutError",
    "SendTimeoutError",
]
