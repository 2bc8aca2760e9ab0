"""klaw: channels between threads, coroutines and processes.

The channels live in :mod:`klaw_core.runtime.channels`. This package itself re-exports only the result type, needs
nothing but the standard library, and does not load the C++ extension.
"""

from __future__ import annotations

from klaw_core.result import Err, Ok, Result, UnwrapError

__all__ = ["Err", "Ok", "Result", "UnwrapError", "__version__"]

__version__: str


def __getattr__(name: str) -> str:
    # The version comes from the installed distribution, the one place that names it. Reading that costs more than the
    # rest of this import, so only who asks pays.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        version = metadata.version("klaw-channels")
    except metadata.PackageNotFoundError:
        version = "0+unknown"  # run from a source tree that was never installed
    globals()["__version__"] = version
    return version
