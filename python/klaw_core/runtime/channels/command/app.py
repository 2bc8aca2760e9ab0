"""The subcommands of ``klaw``.

- **Handles**: ``send`` and ``recv`` take a handle for as long as they run, which counts like any other: a
  channel is told when its last one goes. So they refuse to be the only one of their side unless told to
  (``--alone``): the channel would end with the command.
- **Nothing is lost**: ``recv`` acknowledges a message when its line has been written. One that was not, since
  stdout was closed or Ctrl-C came, comes again, to the next receiver.
- **Ray** is not imported here, but for its supervisor: the backend finds the cluster by ``RAY_ADDRESS``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.live import Live

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    ChannelError,
    ChannelReceiver,
    ChannelSender,
    ChannelStats,
    Delivery,
    blocking_channel_stats,
    blocking_get_receiver,
    blocking_get_sender,
    blocking_peek_channel,
    channel_stats,
    delete_channel,
    list_channels,
)
from klaw_core.runtime.channels.command.failures import Failure, Status, told
from klaw_core.runtime.channels.command.messages import from_arguments, from_lines, to_line
from klaw_core.runtime.channels.command.tables import Frame, stats_table, top_table

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    name="klaw",
    help="See and use the named channels of a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(help="The channel's name.", show_default=False)]
Address = Annotated[
    str,
    typer.Option(
        help="The cluster, HOST:PORT; 'auto' is the one that runs on this machine.",
        envvar="RAY_ADDRESS",
    ),
]
Namespace = Annotated[
    str, typer.Option(help="The namespace of the names.", envvar="KLAW_RAY_NAMESPACE")
]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON.")]
Wait = Annotated[
    float, typer.Option(help="Seconds to wait for a channel that can be joined.", min=0)
]
Alone = Annotated[
    bool,
    typer.Option(
        "--alone",
        help="Also when no other process has a handle of this side, which then closes with this command.",
    ),
]

_CLUSTER = "auto"
_NAMESPACE = "klaw"
_POLL_S = 0.1
_ORDERLY = ("ended", "shutdown")

_Handle = TypeVar("_Handle", ChannelSender[Any], ChannelReceiver[Any])


@app.command("list")
def list_names(
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    as_json: Json = False,
) -> None:
    """Print the names of the channels, one to a line."""
    with _cluster(address):
        names = list_channels(namespace=namespace)
        if as_json:
            print(json.dumps(names))
        elif names:
            print("\n".join(names))
        else:
            print(f"klaw: namespace {namespace!r} has no channels", file=sys.stderr)


@app.command()
def stats(
    name: Name,
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    as_json: Json = False,
) -> None:
    """Show a channel at this moment. Registers nobody."""
    with _cluster(address, name):
        found = _stats(name, namespace)
        if as_json:
            print(json.dumps({"name": name, "namespace": namespace, **asdict(found)}))
        else:
            _console().print(stats_table(found))


@app.command()
def top(
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    interval: Annotated[float, typer.Option(help="Seconds between frames.", min=0.1)] = 1.0,
    once: Annotated[
        bool, typer.Option("--once", help="One frame; so it is, too, where stdout is no terminal.")
    ] = False,
) -> None:
    """Show all channels of the namespace, again and again. Ctrl-C ends it."""
    console = _console()
    with _cluster(address):
        frame = _frame(namespace)
        if once or not console.is_terminal or console.is_dumb_terminal:
            console.print(top_table(frame, None, console))
            return
        try:
            _follow_top(console, frame, namespace, interval)
        except KeyboardInterrupt:
            return  # that is how one leaves it


@app.command()
def send(
    name: Name,
    values: Annotated[
        list[str],
        typer.Argument(
            help="Messages, as JSON; or -, for lines of JSON from stdin.",
            metavar="JSON...",
            show_default=False,
        ),
    ],
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait for room, for each message.", min=0)
    ] = None,
    wait: Wait = 0.0,
    alone: Alone = False,
) -> None:
    """Send messages."""
    with _cluster(address, name):
        messages = from_lines(sys.stdin) if values == ["-"] else from_arguments(values)
        tx = _sender(name, namespace, wait, alone=alone)
        # Alone, it is the whole stream: if that breaks off, its receivers must know.
        with tx if alone else closing(tx):
            _send_all(tx, messages, timeout)


@app.command()
def recv(
    name: Name,
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    count: Annotated[int, typer.Option(help="How many messages.", min=1)] = 1,
    follow: Annotated[
        bool, typer.Option("--follow", help="All messages, until the channel ends.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait for each message.", min=0)
    ] = None,
    wait: Wait = 0.0,
    alone: Alone = False,
) -> None:
    """Take messages and print them, one line of JSON for each."""
    with _cluster(address, name), _receiver(name, namespace, wait, alone=alone) as rx:
        _print_all(rx, None if follow else count, timeout)


@app.command()
def peek(
    name: Name,
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
    count: Annotated[int, typer.Option(help="How many messages, at most.", min=1)] = 1,
) -> None:
    """Print the messages that would be received next, one line of JSON for each. They stay. Registers nobody."""
    with _cluster(address, name):
        messages = blocking_peek_channel(name, count, namespace=namespace)
        if messages is None:
            raise _no_channel(name, namespace)
        for message in messages:
            print(to_line(message))


@app.command()
def ticket(
    name: Name,
    sender: Annotated[bool, typer.Option("--sender", help="For one more sender.")] = False,
    receiver: Annotated[bool, typer.Option("--receiver", help="For one more receiver.")] = False,
    address: Address = _CLUSTER,
    namespace: Namespace = _NAMESPACE,
) -> None:
    """Print a ticket: a text by which one process joins the channel, without Ray. It is a secret.

    It counts as a handle from now on, and lapses if nobody uses it within ten minutes.
    """
    with _cluster(address, name):
        if sender == receiver:
            raise Failure(Status.USAGE, "say for which side: either --sender or --receiver")
        find = blocking_get_sender if sender else blocking_get_receiver
        handle = find(name, namespace=namespace)
        if handle is None:
            raise _no_channel(name, namespace)
        with closing(handle):
            print(_ticket_of(handle))


@app.command()
def delete(name: Name, address: Address = _CLUSTER, namespace: Namespace = _NAMESPACE) -> None:
    """Delete a channel with all that it holds; whoever waits on it is told that it is closed."""
    with _cluster(address, name):
        if not delete_channel(name, namespace=namespace):
            raise _no_channel(name, namespace)


@app.command()
def supervisor(address: Address = _CLUSTER, namespace: Namespace = _NAMESPACE) -> None:
    """Start the namespace's supervisor, unless it runs. C++ programs need it to make, list and delete channels."""
    with _cluster(address):
        from klaw_core.runtime.channels.ray import get_channel_supervisor

        get_channel_supervisor(namespace)


# ---------------------------------------------------------------------------------------- the cluster


@contextmanager
def _cluster(address: str, name: str | None = None) -> Generator[None]:
    """Where the backend looks for it: without this it would start a cluster of its own if it finds none."""
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = address
    logging.getLogger("ray._private.worker").setLevel(logging.WARNING)  # not that it connects
    try:
        with told(name):
            yield
    finally:
        if before is None:
            del os.environ["RAY_ADDRESS"]
        else:
            os.environ["RAY_ADDRESS"] = before


def _stats(name: str, namespace: str) -> ChannelStats:
    found = blocking_channel_stats(name, namespace=namespace)
    if found is None:
        raise _no_channel(name, namespace)
    return found


def _no_channel(name: str, namespace: str) -> Failure:
    return Failure(
        Status.NO_CHANNEL,
        f"there is no channel {name!r} in namespace {namespace!r}: `klaw list` names those there are, "
        "--namespace looks into another",
    )


# ------------------------------------------------------------------------------------------------ top


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # nothing is cut off
    return console


def _follow_top(console: Console, frame: Frame, namespace: str, interval: float) -> None:
    with Live(top_table(frame, None, console), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            before, frame = frame, _frame(namespace)
            live.update(top_table(frame, before, console), refresh=True)


def _frame(namespace: str) -> Frame:
    channels = asyncio.run(_ask_all(list_channels(namespace=namespace), namespace))
    return Frame(time.monotonic(), channels)


async def _ask_all(names: list[str], namespace: str) -> dict[str, ChannelStats | None]:
    async def ask(name: str) -> tuple[str, ChannelStats | None] | None:
        try:
            found = await channel_stats(name, namespace=namespace)
        except ChannelBackendErrorException:
            return name, None
        return None if found is None else (name, found)  # deleted since it was listed

    answers = await asyncio.gather(*map(ask, names))
    return dict(answer for answer in answers if answer is not None)


# ------------------------------------------------------------------------------------ sending, receiving


def _wait_for(
    name: str, namespace: str, wait: float, hinders: Callable[[ChannelStats], Exception | None]
) -> None:
    """Until nothing hinders this command from joining; a channel is seen before its maker's handles count."""
    deadline = time.monotonic() + wait
    while True:
        found = blocking_channel_stats(name, namespace=namespace)
        hindrance = _no_channel(name, namespace) if found is None else hinders(found)
        if hindrance is None:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise hindrance
        time.sleep(min(_POLL_S, left))


def _sender(name: str, namespace: str, wait: float, *, alone: bool) -> ChannelSender[Any]:
    def hinders(found: ChannelStats) -> Exception | None:
        is_alone = not (alone or found.sender_count or found.senders_closed)
        return _used_up(found) or (_alone("sender", "", found) if is_alone else None)

    _wait_for(name, namespace, wait, hinders)
    return _made(blocking_get_sender(name, namespace=namespace))


def _receiver(name: str, namespace: str, wait: float, *, alone: bool) -> ChannelReceiver[Any]:
    def hinders(found: ChannelStats) -> Exception | None:
        is_alone = not (alone or found.receiver_count or found.receivers_closed)
        loses = ", and drop what is queued"
        return _used_up(found) or (_alone("receiver", loses, found) if is_alone else None)

    _wait_for(name, namespace, wait, hinders)
    return _made(blocking_get_receiver(name, namespace=namespace))


def _used_up(found: ChannelStats) -> Exception | None:
    return ChannelClosedError() if found.senders_closed and found.receivers_closed else None


def _alone(side: str, what_else: str, found: ChannelStats) -> Exception | None:
    if found.backend_extras.get("persistent"):
        return None
    return Failure(
        Status.ALONE,
        f"it has no other {side}: that side would close with this command{what_else}; "
        "--alone does it all the same, a channel made with persistent=True stays open",
    )


def _made(handle: _Handle | None) -> _Handle:
    if handle is None:  # used up since it was asked
        raise ChannelClosedError
    return handle


def _ticket_of(handle: Any) -> str:
    try:
        return str(handle.ticket())
    except TypeError as error:  # its payloads are elsewhere
        raise Failure(Status.FAILED, str(error)) from error


def _send_all(tx: ChannelSender[Any], messages: Iterable[Any], timeout: float | None) -> None:
    sent = 0
    try:
        for message in messages:
            tx.blocking_send(message, timeout)
            sent += 1
    except BaseException as error:
        error.add_note(f"{sent} sent before")
        raise


def _print_all(rx: ChannelReceiver[Any], count: int | None, timeout: float | None) -> None:
    """``count`` messages, or all until the channel ends in an orderly way."""
    printed = 0
    try:
        while printed != count:
            with _next(rx, timeout) as delivery:
                print(to_line(delivery.value), flush=True)
            printed += 1
    except BaseException as error:
        if count is None and isinstance(error, ChannelClosedError) and error.kind in _ORDERLY:
            return
        error.add_note(f"{printed} received before")
        raise


def _next(rx: ChannelReceiver[Any], timeout: float | None) -> Delivery[Any]:
    try:
        return rx.blocking_recv_acked(timeout)
    except ChannelError:
        raise
    except Exception as error:  # whatever its class raises when it is unpickled
        raise Failure(
            Status.FAILED,
            f"a message can't be read here, and is done with: {error!r}; have PYTHONPATH name its classes",
        ) from error
