"""What Ray's errors mean for a channel, and what to do about them."""

from __future__ import annotations

from typing import Final

from ray.exceptions import GetTimeoutError, RayError

from klaw_core.runtime.channels.errors import ChannelBackendErrorException

__all__ = ["backend_error", "explain"]

_WITHOUT_KLAW: Final = (
    "the worker that was to run the channel's actor has no klaw_core; start Ray with it installed on every node, "
    "or give it to the workers: ray.init(runtime_env={'pip': ['klaw-channels']})"
)


def explain(error: BaseException) -> str:
    """In a line or two: Ray's own text is long, and mostly about Ray."""
    text = str(error).strip()
    if "No module named 'klaw_core" in text:
        return _WITHOUT_KLAW
    if isinstance(error, GetTimeoutError):
        return "it did not answer in time"
    # The last line says why; those before it are identifiers.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    last = lines[-1] if lines else ""
    return first if last == first else f"{first} {last}"


def backend_error(
    message: str,
    *,
    name: str | None = None,
    namespace: str | None = None,
    cause: BaseException | None = None,
) -> ChannelBackendErrorException:
    """To be raised: about the channel of that name, with Ray's own error as its cause."""
    if cause is not None and not isinstance(cause, RayError):
        message = f"{message}: {cause}"
    elif cause is not None:
        message = f"{message}: {explain(cause)}"
    actor_name = f"channel_{name}" if name else None
    error = ChannelBackendErrorException(message, "ray", actor_name, namespace)
    error.__cause__ = cause
    return error
