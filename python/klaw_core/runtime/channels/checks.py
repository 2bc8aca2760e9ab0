"""Checks of arguments, alike for every flavour and backend: a bad one is told at the call, by its name.

Each check takes the parameter's name first. It imports nothing of the package, so every module may use it.
"""

from __future__ import annotations

import math
import operator
from typing import cast

__all__ = [
    "at_least",
    "check_bool",
    "check_named",
    "check_optional",
    "check_seconds",
    "check_string",
    "check_type",
    "integer",
]


def integer(what: str, value: object) -> int:
    """``value`` as an int. True is an int to Python, but a mistake here; numpy's integers are welcome."""
    if not isinstance(value, bool):
        try:
            return operator.index(cast("int", value))
        except TypeError:
            pass  # told below, in our words
    raise _wrong_type(what, "an int", value)


def at_least(what: str, value: object, least: int) -> int:
    """``value`` as an int that is ``least`` or more."""
    count = integer(what, value)
    if count < least:
        raise ValueError(f"{what} must be at least {least}, got {count}")
    return count


def check_seconds(what: str, value: object) -> None:
    """A number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(what, "a number of seconds", value)
    if math.isnan(value) or value < 0:
        raise ValueError(f"{what} must not be negative or NaN, got {value}")


def check_bool(what: str, value: object) -> None:
    """A bool, and nothing that merely counts as one."""
    check_type(what, "a bool", value, bool)


def check_string(what: str, value: object) -> None:
    """A str."""
    check_type(what, "a str", value, str)


def check_named(name: object, namespace: object) -> None:
    """The name of a channel, and where it holds."""
    check_string("name", name)
    check_string("namespace", namespace)


def check_type(what: str, wanted: str, value: object, *types: type) -> None:
    """One of these types, which ``wanted`` describes."""
    if not isinstance(value, types):
        raise _wrong_type(what, wanted, value)


def check_optional(what: str, wanted: str, value: object, *types: type) -> None:
    """None, or one of these types."""
    if value is not None:
        check_type(what, wanted, value, *types)


def _wrong_type(what: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{what} must be {wanted}, not {type(value).__name__}")
