"""What the factories of all flavours share: their form, and the choice of a backend.

A factory is a class only in form: calling one gives what its ``__new__`` makes, a coroutine or a
tuple, never an instance. That form is what lets every type checker take any type expression in
``channel[...]``, unions included, which a ``__getitem__(type[T])`` cannot express.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Generator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from klaw_core.runtime.channels.checks import check_bool, check_string

if TYPE_CHECKING:
    # With a default, so that a bare channel(8) is of Any. Every type checker carries these stubs;
    # nothing of typing_extensions is needed at run time.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

R_co = TypeVar("R_co", covariant=True)

__all__ = [
    "RAY_IS_MISSING",
    "Backend",
    "Making",
    "T",
    "chosen_backend",
    "known_backend",
    "makes_on_ray",
    "ray_factory",
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


def chosen_backend(
    backend: object, distributed: object, name: object, *, depth: int = 3
) -> Backend:
    """The backend that is meant.

    Warns of a ``name`` that it would ignore, ``depth`` frames up: where the factory is called.
    """
    if distributed is not None:
        check_bool("distributed", distributed)
    if backend is not None:
        return known_backend(backend)
    if distributed is None and name is not None:
        warnings.warn(
            "name is ignored by the local backend; did you mean backend='ray'?",
            UserWarning,
            stacklevel=depth,
        )
    return "ray" if distributed else "local"


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


def makes_on_ray(
    flavour: str, backend: object, name: object, namespace: object
) -> Callable[..., Any] | None:
    """What makes a channel of that flavour on Ray, and blocks; None for a local one. Checks the arguments."""
    if name is not None:
        check_string("name", name)
    check_string("namespace", namespace)
    if chosen_backend(backend, None, name, depth=4) == "local":
        return None
    make: Callable[..., Any] = getattr(ray_factory(RAY_IS_MISSING), f"blocking_ray_{flavour}")
    return make
