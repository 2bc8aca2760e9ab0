"""``ChannelSupervisor``: the channels of a namespace by plain actor calls, from any language that can call an actor.

One detached actor ``klaw_supervisor`` for each namespace, which ``get_channel_supervisor`` finds, or makes::

    supervisor = get_channel_supervisor()
    await supervisor.create_channel.remote("jobs", 100)  # 'ok'
    state = await supervisor.get_checkpoint.remote("jobs", messages=True)
    await supervisor.restore_from_checkpoint.remote("jobs again", state)

- **Status codes**: ``'ok'``, and ``'exists'`` or ``'missing'``. Bad input, and what can't be done, is a ``ValueError``.
- **State**: it keeps none. Channels are found by their names, whoever made them; so it supervises those that are
  there already, also after its own restart, of which there may be any number.
- **Watching**: it logs a channel whose actor died for good, within some seconds; ``get_channel_states`` tells which
  did. Handles learn of it by themselves.
- **Checkpoints** are taken while the channel goes on, and are of one moment. Those of a channel that goes on alone
  when its actor dies are another thing: ``docs/checkpoints.md``.
- **Retries**: Ray repeats a call whose supervisor died with it. What the first one did is not done again, but the
  answer is that of the second: ``'exists'``, ``'missing'``, or that a channel was used already.
- **Cost**: two actor calls each, some milliseconds.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import ray

from klaw_core.runtime.channels.checks import check_string
from klaw_core.runtime.channels.ray.explain import backend_error
from klaw_core.runtime.channels.ray.factory import (
    _ensure_ray,
    ask_channel,
    delete_ray_channel,
    find_channel,
    list_ray_channels,
    make_named_channel,
    possible_names,
)
from klaw_core.runtime.channels.settings import NAMESPACE_DEFAULT, ChannelSettings

__all__ = ["ChannelSupervisor", "get_channel_supervisor"]

_LOGGER: Final = logging.getLogger(__name__)
_NAME: Final = "klaw_supervisor"
_START_LIMIT_S: Final = 20.0
_CHECKPOINT_LIMIT_S: Final = 60.0  # they may be large
_WATCH_PERIOD_S: Final = 2.0


class Supervisor:
    """See the module."""

    def __init__(self, namespace: str = NAMESPACE_DEFAULT) -> None:
        self._namespace = namespace
        self._watched = _Watched(namespace)
        threading.Thread(target=self._watched.keep_looking, name="klaw-watch", daemon=True).start()

    def create_channel(self, name: str, capacity: int = 10_000, unbounded: bool = False) -> str:
        """Make a channel without handles; ``'exists'`` if there is one, whatever its settings.

        One that is closed on both sides and drained is made anew.
        """
        check_string("name", name)
        settings = ChannelSettings.of_queue(capacity, unbounded)
        return "ok" if make_named_channel(name, settings, self._namespace) else "exists"

    def get_checkpoint(self, name: str, messages: bool = False) -> dict[str, Any] | None:
        """The channel's counters, as ``ChannelCheckpoint`` has them; None if there is no such channel.

        With ``messages`` also all that it holds, under ``'messages'``: bytes, with a checksum, that mean
        something to ``restore_from_checkpoint`` only. What is out at receivers and not settled is among it.

        Raises:
            ValueError: the messages of a reference channel are asked for, whose payloads are elsewhere.
        """
        state: dict[str, Any] | None = ask_channel(
            name, self._namespace, _CHECKPOINT_LIMIT_S, "get_checkpoint_state", messages
        )
        return state

    def restore_from_checkpoint(self, name: str, state: dict[str, Any]) -> str:
        """Have a channel go on with what another one was; ``'missing'`` if there is no such channel.

        A state without messages sets the counters, of any channel. On a channel that nobody has used yet it also
        closes the sides that were closed; otherwise handles and messages stay as they are.

        A state with messages needs a channel that nobody has used yet. They come in their order, each marked as
        redelivered: the other channel may have handed them out. Sides that were closed are. Capacity and the like are
        the fresh channel's own; messages beyond its capacity come first.

        Raises:
            ValueError: ``state`` has messages, and the channel has some, or has had clients; or ``state`` is damaged.
        """
        status = ask_channel(
            name, self._namespace, _CHECKPOINT_LIMIT_S, "apply_checkpoint_state", state
        )
        if status == "closed" and "messages" in state:
            raise ValueError(
                f"channel {name!r} in namespace {self._namespace!r} was used already: restore messages into one that "
                "has just been made, before anybody has a handle on it (create_channel)"
            )
        # (Counters alone are only refused by a channel that is being deleted.)
        return "ok" if status == "ok" else "missing"

    def save_checkpoint(self, name: str) -> str:
        """Have a channel with ``checkpoint_dir`` write a checkpoint now; ``'missing'`` if there is no such channel.

        What was stored before survives the channel's actor.

        Raises:
            ValueError: the channel has no ``checkpoint_dir``.
            OSError: it can't be written there.
        """
        limit = _CHECKPOINT_LIMIT_S
        status = ask_channel(name, self._namespace, limit, "save_checkpoint")
        return "missing" if status is None else "ok"

    def delete_channel(self, name: str) -> str:
        """Delete the channel: whoever waits on it anywhere gets ``ChannelClosed``."""
        check_string("name", name)
        was_there = delete_ray_channel(name, namespace=self._namespace)
        self._watched.forget(name)
        return "ok" if was_there else "missing"

    def list_channels(self) -> list[str]:
        """The names of all channels in the namespace, sorted."""
        return list_ray_channels(namespace=self._namespace)

    def get_channel_states(self) -> dict[str, str]:
        """Of each channel: ``'alive'``, ``'starting'`` (its actor is, perhaps again), or ``'dead'``.

        Dead is one whose actor died for good while this supervisor watched, until its name is made anew, or
        ``delete_channel`` is called for it. One that was deleted, or ended by ``ray.kill``, is not listed.
        """
        return self._watched.look()


class _Watched:
    """The actors of the namespace's channels, as Ray's control plane knows them. Several threads look."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._lock = threading.Lock()  # protects what follows
        self._actors: dict[
            str, str
        ] = {}  # name -> actor id, of those that are not known to be dead
        self._dead: set[str] = set()

    def keep_looking(self) -> None:
        pause = threading.Event()
        while not pause.wait(_WATCH_PERIOD_S):
            try:
                self.look()
            except Exception:  # the control plane may be out of reach for a while
                _LOGGER.exception("the channels of namespace %s can't be watched", self._namespace)

    def look(self) -> dict[str, str]:
        from ray._private.state import actors

        with self._lock:
            alive = actors(actor_state_name="ALIVE")
            states: dict[str, str] = {}
            for name, actor_id in list(self._actors.items()):
                if actor_id not in alive and (found := actors(actor_id))["State"] == "DEAD":
                    del self._actors[name]
                    self._note_death(name, found["DeathCause"])
            self._adopt()
            for name, actor_id in self._actors.items():
                states[name] = "alive" if actor_id in alive else "starting"
            return dict(sorted((states | dict.fromkeys(self._dead, "dead")).items()))

    def _adopt(self) -> None:
        for name in possible_names(self._namespace):
            if name not in self._actors and (actor := find_channel(name, self._namespace)):
                self._actors[name] = actor._actor_id.hex()
                self._dead.discard(name)

    def _note_death(self, name: str, cause: Any) -> None:
        context = cause.actor_died_error_context
        if context.reason == context.RAY_KILL:
            return  # somebody wanted it: that is also how a channel that is deleted ends
        self._dead.add(name)
        _LOGGER.error(
            "channel %s in namespace %s died for good, and what it held is lost unless a checkpoint has it: %s",
            name,
            self._namespace,
            context.error_message or "its actor could not be started",
        )

    def forget(self, name: str) -> None:
        with self._lock:
            self._dead.discard(name)


ChannelSupervisor: Any = ray.remote(
    num_cpus=0,
    max_restarts=-1,
    max_task_retries=-1,
    max_concurrency=100,
)(Supervisor)
"""The actor class: ``ChannelSupervisor.remote(namespace='klaw')``; mostly ``get_channel_supervisor`` makes it."""


def get_channel_supervisor(namespace: str = NAMESPACE_DEFAULT) -> Any:
    """The supervisor of that namespace, which is made if there is none. A plain call; returns once it runs.

    Raises:
        ChannelBackendErrorException: Ray can't be reached, or the actor can't be placed.
    """
    check_string("namespace", namespace)
    _ensure_ray()
    options = {"name": _NAME, "namespace": namespace, "lifetime": "detached", "get_if_exists": True}
    supervisor = ChannelSupervisor.options(**options).remote(namespace)
    if supervisor._ray_actor_creation_function_descriptor.class_name != Supervisor.__name__:
        raise backend_error(
            f"the actor {_NAME!r} is no channel supervisor: end it, or use another namespace",
            namespace=namespace,
        )
    try:
        ray.get(supervisor.__ray_ready__.remote(), timeout=_START_LIMIT_S)
    except ray.exceptions.RayError as error:
        raise backend_error(
            f"its {_NAME} does not answer", namespace=namespace, cause=error
        ) from error
    return supervisor
