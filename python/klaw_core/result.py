"""``Ok``, ``Err`` and ``Result``: an outcome as a value.

Operations that wait raise; operations that only try (``try_send``, ``try_recv``) return one of these, since "full" and
"empty" are ordinary answers there, not failures.

- **Shape**: ``Result[T, E]`` is the union ``Ok[T] | Err[E]``. An ``Ok`` has ``.value``, an ``Err`` has ``.error``, and
  asking for the other one is an ``AttributeError``.
- **Immutable**: both are final and frozen; equal when of the same kind with equal contents; hashable when the contents
  are; they can be copied and pickled when the contents can. Safe to share between threads.
- **Typing**: ``match`` and ``isinstance(r, Ok)`` narrow the union, which no method call can do in Python's type system.
- **Errors**: ``Err(e).unwrap()`` raises the exception that belongs to ``e``; see :meth:`Err.unwrap`.
- **Cost**: one small object, no dictionary.

Example::

    match await rx.try_recv():
        case Ok(message):
            handle(message)
        case Err(ChannelEmpty()):
            ...  # nothing there now
        case Err(ChannelClosed(reason)):
            ...  # nothing will come any more
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    final,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Err", "Ok", "Result", "UnwrapError"]

T = TypeVar("T")
E = TypeVar("E")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
U = TypeVar("U")
R = TypeVar("R", bound="Ok[Any] | Err[Any]")


class UnwrapError(RuntimeError):
    """A result was unwrapped that did not hold what was asked for, and its contents cannot be raised themselves.

    Raised by ``Err.expect``, by ``Ok.unwrap_err``, and by ``Err.unwrap`` when the error is a plain value.

    Attributes:
        result: the ``Ok`` or ``Err`` that was unwrapped.
    """

    def __init__(self, message: str, result: Ok[Any] | Err[Any]) -> None:
        super().__init__(message, result)
        self.result = result

    def __str__(self) -> str:
        return str(self.args[0])


@final
class Ok(Generic[T_co]):
    """The outcome of an operation that succeeded: holds its ``value``. ``Ok(None)`` where there is nothing to tell."""

    __match_args__ = ("value",)

    if TYPE_CHECKING:
        # To a checker a read-only property, so that it may be covariant and assigning to it is an error.
        @property
        def value(self) -> T_co:
            """What the operation gave."""
            ...
    else:
        __slots__ = ("value",)

    def __init__(self, value: T_co) -> None:
        _set_value(self, value)

    def is_ok(self) -> Literal[True]:
        """True. To narrow the type of a ``Result``, use ``match`` or ``isinstance(r, Ok)``."""
        return True

    def is_err(self) -> Literal[False]:
        """False. To narrow the type of a ``Result``, use ``match`` or ``isinstance(r, Err)``."""
        return False

    def unwrap(self) -> T_co:
        """The value."""
        return self.value

    def unwrap_err(self) -> NoReturn:
        """There is no error to give: raises ``UnwrapError``."""
        raise UnwrapError(f"unwrap_err() of {self!r}", self)

    def unwrap_or(self, default: object, /) -> T_co:
        """The value; the default is for an ``Err``."""
        return self.value

    def expect(self, message: str, /) -> T_co:
        """The value; the message is for an ``Err``."""
        return self.value

    def map(self, function: Callable[[T_co], U], /) -> Ok[U]:
        """``Ok(function(value))``. What the function raises is not caught."""
        return Ok(function(self.value))

    def map_err(self, function: Callable[[Any], object], /) -> Ok[T_co]:
        """This ``Ok`` itself; the function is for an ``Err``."""
        return self

    def and_then(self, function: Callable[[T_co], R], /) -> R:
        """``function(value)``, itself a ``Result``: the next step of a chain that stops at the first ``Err``."""
        return function(self.value)

    def or_else(self, function: Callable[[Any], object], /) -> Ok[T_co]:
        """This ``Ok`` itself; the function is for an ``Err``."""
        return self

    def __eq__(self, other: object) -> bool:
        that: Any = other
        if that.__class__ is not Ok:  # final, so that nothing else can be one
            return NotImplemented
        # As tuples compare: by identity first, so that an Ok of a NaN or of an array equals itself.
        return (self.value,) == (that.value,)

    def __hash__(self) -> int:
        return hash((Ok, self.value))

    def __repr__(self) -> str:
        return f"Ok({self.value!r})"

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"cannot assign to {name!r}: Ok is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: Ok is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return Ok, (self.value,)

    def __init_subclass__(cls) -> None:
        raise TypeError("Ok is final: it cannot be subclassed")


@final
class Err(Generic[E_co]):
    """The outcome of an operation that failed: holds its ``error``, usually one of :mod:`klaw_core.runtime.errors`."""

    __match_args__ = ("error",)

    if TYPE_CHECKING:
        # See Ok.value.
        @property
        def error(self) -> E_co:
            """Why there is no value."""
            ...
    else:
        __slots__ = ("error",)

    def __init__(self, error: E_co) -> None:
        _set_error(self, error)

    def is_ok(self) -> Literal[False]:
        """False. To narrow the type of a ``Result``, use ``match`` or ``isinstance(r, Ok)``."""
        return False

    def is_err(self) -> Literal[True]:
        """True. To narrow the type of a ``Result``, use ``match`` or ``isinstance(r, Err)``."""
        return True

    def unwrap(self) -> NoReturn:
        """There is no value to give: raises the exception that belongs to the error.

        Raises:
            what ``error.to_exception()`` gives, when the error has it (all of klaw's do);
            the error itself, when it is an exception;
            UnwrapError: otherwise.
        """
        exception = _exception_of(self.error)
        if exception is None:
            raise UnwrapError(f"unwrap() of {self!r}", self)
        raise exception

    def unwrap_err(self) -> E_co:
        """The error."""
        return self.error

    def unwrap_or(self, default: U, /) -> U:
        """The default."""
        return default

    def expect(self, message: str, /) -> NoReturn:
        """There is no value to give.

        Raises:
            UnwrapError: ``message: error``, chained to the exception that ``unwrap()`` would raise.
        """
        text = self.error if _exception_of(self.error) is not None else repr(self.error)
        raise UnwrapError(f"{message}: {text}", self) from _exception_of(self.error)

    def map(self, function: Callable[[Any], object], /) -> Err[E_co]:
        """This ``Err`` itself; the function is for an ``Ok``."""
        return self

    def map_err(self, function: Callable[[E_co], U], /) -> Err[U]:
        """``Err(function(error))``. What the function raises is not caught."""
        return Err(function(self.error))

    def and_then(self, function: Callable[[Any], object], /) -> Err[E_co]:
        """This ``Err`` itself; the function is for an ``Ok``."""
        return self

    def or_else(self, function: Callable[[E_co], R], /) -> R:
        """``function(error)``, itself a ``Result``: what to do instead."""
        return function(self.error)

    def __eq__(self, other: object) -> bool:
        that: Any = other
        if that.__class__ is not Err:  # final, so that nothing else can be one
            return NotImplemented
        # As tuples compare: by identity first, so that an Err of a NaN or of an array equals itself.
        return (self.error,) == (that.error,)

    def __hash__(self) -> int:
        return hash((Err, self.error))

    def __repr__(self) -> str:
        return f"Err({self.error!r})"

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"cannot assign to {name!r}: Err is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: Err is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return Err, (self.error,)

    def __init_subclass__(cls) -> None:
        raise TypeError("Err is final: it cannot be subclassed")


# The one way past __setattr__. The slot's own setter, looked up once, is also the fastest: __init__ runs for every
# try_send and try_recv.
_set_value: Callable[[Ok[Any], Any], None] = Ok.__dict__["value"].__set__
_set_error: Callable[[Err[Any], Any], None] = Err.__dict__["error"].__set__

Result: TypeAlias = Union[Ok[T], Err[E]]  # noqa: UP007  subscriptable at run time too: Result[int, str]
"""``Ok[T] | Err[E]``."""


def _exception_of(error: object) -> BaseException | None:
    if isinstance(error, BaseException):
        return error
    to_exception = getattr(error, "to_exception", None)
    return None if to_exception is None else cast("BaseException", to_exception())
