"""The command ``klaw``: the named channels of a Ray cluster, from a terminal. ``docs/command.md`` describes it.

It needs what ``pip install 'klaw-channels[cli]'`` installs, and loads none of it before it has looked.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("typer", "rich", "ray")


def main() -> int:
    """Run it; its exit status."""
    missing = [package for package in _NEEDED if not _is_installed(package)]
    if missing:
        print(
            f"klaw: this command needs {' and '.join(missing)}: pip install 'klaw-channels[cli]'",
            file=sys.stderr,
        )
        return 1
    from klaw_core.runtime.channels.command.app import app

    app()
    return 0


def _is_installed(package: str) -> bool:
    # Without an origin it is some folder of that name on sys.path.
    spec = find_spec(package)
    return spec is not None and spec.origin is not None
