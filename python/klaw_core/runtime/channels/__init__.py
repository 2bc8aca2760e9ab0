"""Channels: a value goes in at a sender, comes out at a receiver.

The same code runs on two backends: ``local`` (threads, coroutines and asyncio tasks of one process,
the default) and ``ray`` (processes and nodes of a Ray cluster). Importing this package loads no Ray.

Example::

    from klaw_core.runtime.channels import channel

    tx, rx = await channel[int](8)
    await tx.send(1)
    assert await rx.recv() == 1

Beside channels, where each message goes to one receiver, there are ``oneshot`` (one value, once),
``broadcast`` (every message to every receiver) and ``watch`` (the latest value).

What a handle can do is told in :mod:`klaw_core.runtime.channels.protocols`, how channels are made
and found in ``factory``, how a process without Ray joins one in ``tickets``, what the local ones promise in ``local``,
the errors in ``errors``, the other flavours in modules of their names.
"""

from __future__ import annotations

from klaw_core.result import Err, Ok, Result
from klaw_core.runtime.channels.broadcast import (
    BroadcastReceiver,
    BroadcastSender,
    blocking_broadcast,
    broadcast,
)
from klaw_core.runtime.channels.errors import (
    AlreadySent,
    AlreadySentError,
    ChannelBackendError,
    ChannelBackendErrorException,
    ChannelClosed,
    ChannelClosedError,
    ChannelEmpty,
    ChannelEmptyError,
    ChannelError,
    ChannelFull,
    ChannelFullError,
    Lagged,
    LaggedError,
    NoReceivers,
    NoReceiversError,
    PayloadLost,
    PayloadLostError,
    RecvTimeoutError,
    SendTimeoutError,
)
from klaw_core.runtime.channels.factory import (
    blocking_channel,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_get_receiver,
    blocking_get_sender,
    blocking_peek_channel,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    peek_channel,
)
from klaw_core.runtime.channels.local import LocalReceiver, LocalSender
from klaw_core.runtime.channels.oneshot import (
    OneshotReceiver,
    OneshotSender,
    blocking_oneshot,
    oneshot,
)
from klaw_core.runtime.channels.protocols import (
    ChannelReceiver,
    ChannelSender,
    Delivery,
    Permit,
    Receiver,
    ReferenceReceiver,
    ReferenceSender,
    Sender,
    WeakReceiver,
    WeakSender,
)
from klaw_core.runtime.channels.select import blocking_select, select, select_all
from klaw_core.runtime.channels.stats import ChannelCheckpoint, ChannelStats
from klaw_core.runtime.channels.tickets import (
    blocking_receiver_from_ticket,
    blocking_sender_from_ticket,
    receiver_from_ticket,
    sender_from_ticket,
)
from klaw_core.runtime.channels.watch import WatchReceiver, WatchSender, blocking_watch, watch

__all__ = [
    "AlreadySent",
    "AlreadySentError",
    "BroadcastReceiver",
    "BroadcastSender",
    "ChannelBackendError",
    "ChannelBackendErrorException",
    "ChannelCheckpoint",
    "ChannelClosed",
    "ChannelClosedError",
    "ChannelEmpty",
    "ChannelEmptyError",
    "ChannelError",
    "ChannelFull",
    "ChannelFullError",
    "ChannelReceiver",
    "ChannelSender",
    "ChannelStats",
    "Delivery",
    "Err",
    "Lagged",
    "LaggedError",
    "LocalReceiver",
    "LocalSender",
    "NoReceivers",
    "NoReceiversError",
    "Ok",
    "OneshotReceiver",
    "OneshotSender",
    "PayloadLost",
    "PayloadLostError",
    "Permit",
    "Receiver",
    "RecvTimeoutError",
    "ReferenceReceiver",
    "ReferenceSender",
    "Result",
    "SendTimeoutError",
    "Sender",
    "WatchReceiver",
    "WatchSender",
    "WeakReceiver",
    "WeakSender",
    "blocking_broadcast",
    "blocking_channel",
    "blocking_channel_stats",
    "blocking_get_channel",
    "blocking_get_receiver",
    "blocking_get_sender",
    "blocking_oneshot",
    "blocking_peek_channel",
    "blocking_receiver_from_ticket",
    "blocking_select",
    "blocking_sender_from_ticket",
    "blocking_watch",
    "broadcast",
    "channel",
    "channel_stats",
    "delete_channel",
    "get_channel",
    "get_receiver",
    "get_sender",
    "list_channels",
    "oneshot",
    "peek_channel",
    "receiver_from_ticket",
    "select",
    "select_all",
    "sender_from_ticket",
    "watch",
]
