"""What the factories of all flavours share: their form, their options, and the choice of a backend.

A factory is a class only in form: calling one gives what its ``__new__`` makes, a coroutine or a
tuple, never an instance. That form is what lets every type checker take any type expression in
``channel[...]``, unions included, which a ``__getitem__(type[T])`` cannot express.

A factory and its ``blocking_`` twin take the same options, of one TypedDict, and hand them to one private function,
which has the defaults and says how to make the channel. One awaits that, the other does it.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypedDict, cast

from klaw_core import _core
from klaw_core.runtime.channels.checks import check_bool, check_string
from klaw_core.runtime.channels.settings import ChannelSettings

if TYPE_CHECKING:
    # With a default, so that a bare channel(8) is of Any. Every type checker carries these stubs;
    # nothing of typing_extensions is needed at run time.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "RAY_IS_MISSING",
    "Backend",
    "Making",
    "MakingOptions",
    "Plan",
    "T",
    "check_keywords",
    "known_backend",
    "planned",
    "ray_factory",
    "shows",
]

Backend: TypeAlias = Literal["local", "ray"]
"""The backends there are."""

RAY_IS_MISSING: Final = "Ray backend requested but 'ray' is not installed."


if TYPE_CHECKING:

    class Making(Coroutine[object, object, R_co]):
        """What an awaited factory returns, as type checkers see it."""

        def send(self, value: Any, /) -> Any: ...  # noqa: D102  as of any coroutine
        def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...  # noqa: D102
        def close(self) -> None: ...  # noqa: D102
        def __await__(self) -> Generator[Any, Any, R_co]: ...

else:

    class Making:
        """The base of awaited factories, which can be subscripted with the type of the messages."""

        __slots__ = ()

        # Not typing.Generic, whose alias would make the call one frame deeper: warnings would point
        # at typing.py.
        def __class_getitem__(cls, item: object) -> type:
            return cls


def known_backend(backend: object) -> Backend:
    """``backend``, if there is one of that name."""
    if backend not in ("local", "ray"):
        raise ValueError(f"Unknown backend: {backend!r}")
    return backend


def ray_factory(missing: str) -> Any:
    """What makes and finds channels on Ray, loaded now; ``missing`` is what is said if Ray is not installed."""
    # A spec without an origin is a namespace package: some folder named "ray" on sys.path, not Ray.
    spec = find_spec("ray")
    if spec is None or spec.origin is None:
        raise RuntimeError(missing)
    return import_module("klaw_core.runtime.channels.ray.factory")


# ------------------------------------------------------------------------------------------- making


class MakingOptions(TypedDict, total=False):
    """What the factories of all flavours take."""

    backend: Backend | None
    """``'local'`` (the default) or ``'ray'``."""
    name: str | None
    """On Ray, the name under which others find it. Nothing to ``local``."""
    namespace: str
    """On Ray, where the name holds. Nothing to ``local``."""


class Plan(NamedTuple):
    """A channel to make, or to find: the arguments are checked, and nothing else has happened."""

    make: Callable[[], Any]
    ray: Any = None  # Ray's factory, if it is to do it

    def awaited(self, function: str) -> Coroutine[object, object, Any]:
        """What the function of that name returns: nothing happens before it is awaited."""
        coroutine = cast("CoroutineType[object, object, Any]", self._made())
        # As in "'channel' was never awaited".
        coroutine.__name__ = coroutine.__qualname__ = function
        return coroutine

    def blocking(self, instead: str) -> Any:
        """What a blocking twin returns. On Ray it waits: refused in a thread that runs an event loop.

        ``instead`` is what to write there.
        """
        if self.ray is not None:
            _core.refuse_event_loop(f"await {instead}")
        return self.make()

    async def _made(self) -> Any:
        return self.make() if self.ray is None else await self.ray.in_thread(self.make)


def planned(
    settings: ChannelSettings,
    make_local: Callable[[], Any],
    backend: object,
    name: object,
    namespace: object,
    *,
    distributed: object = None,
    **for_ray: Any,
) -> Plan:
    """How to make a channel with these settings on the backend that is meant.

    Called by the function that the factory calls: a name that would be ignored warns where the factory is called.

    Args:
        make_local: makes a local one.
        for_ray: what Ray's factory wants to know beside the settings.
    """
    if name is not None:
        check_string("name", name)
    check_string("namespace", namespace)
    if _chosen_backend(backend, distributed, name) == "local":
        return Plan(make_local)
    ray = ray_factory(RAY_IS_MISSING)
    where = {"name": name, "namespace": namespace}
    return Plan(partial(ray.blocking_make_channel, settings, **where, **for_ray), ray)


def _chosen_backend(backend: object, distributed: object, name: object) -> Backend:
    if distributed is not None:
        check_bool("distributed", distributed)
    if backend is not None:
        return known_backend(backend)
    if distributed is None and name is not None:
        warnings.warn(
            "name is ignored by the local backend; did you mean backend='ray'?",
            UserWarning,
            stacklevel=5,
        )
    return "ray" if distributed else "local"


# ------------------------------------------------------------------------------------------ options


def check_keywords(factory: str, options: Mapping[str, object], known: type) -> None:
    """``options`` are of the TypedDict ``known``: Python takes any for ``**options``."""
    for name in options:
        if name not in known.__annotations__:
            raise TypeError(f"{factory}() got an unexpected keyword argument {name!r}")


def shows(plan: Callable[..., Any], *, without: int = 0) -> Callable[[F], F]:
    """Has ``help()`` and notebooks show what ``plan`` takes, defaults included, in place of ``**options``.

    ``without`` so many of its first parameters.
    """

    def decorate(factory: F) -> F:
        taken = inspect.signature(plan)
        given_back = inspect.signature(factory).return_annotation
        shown = inspect.Signature(
            [*taken.parameters.values()][without:], return_annotation=given_back
        )
        cast("Any", factory).__signature__ = shown
        return factory

    return decorate
