"""Messages as text: JSON in, one line of JSON out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from klaw_core.runtime.channels.command.failures import Failure, Status

__all__ = ["from_arguments", "from_lines", "to_line"]


def from_arguments(texts: Iterable[str]) -> list[Any]:
    """Their values; all of them are read before the first is sent."""
    return [_value(text, f"argument {number}") for number, text in enumerate(texts, 1)]


def from_lines(lines: Iterable[str]) -> Iterator[Any]:
    """The value of each line as it comes; empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _value(line, f"line {number}")


def _value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(
            Status.USAGE, f"{where} is not JSON ({error}); a text needs its quotes: '\"text\"'"
        ) from error


def to_line(value: object) -> str:
    """JSON, in ASCII. What JSON has no form for is told by its ``repr``, as a string."""
    try:
        return json.dumps(value, default=repr, allow_nan=False)
    except Exception:  # noqa: BLE001  a key or a number that JSON does not know, a cycle, a faulty repr
        return json.dumps(_shown(value))


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  it must not come back for ever
        return f"<{type(value).__name__} without a repr: {error!r}>"
