"""What tests of several folders share. pytest puts this folder and ``tools`` on ``sys.path``."""

from __future__ import annotations

import re
from collections.abc import Awaitable

import pytest

from klaw_core.runtime.channels import ChannelClosedError

_SLOW_STEP = re.compile(r"^Executing .* took \d+\.\d+ seconds\n", re.MULTILINE)


class Thing:
    """Something that can be weakly referenced, and refer to anything."""


async def closed(awaitable: Awaitable[object]) -> tuple[str, str]:
    """The kind and the text of the ``ChannelClosedError`` that this raises."""
    with pytest.raises(ChannelClosedError) as caught:
        await awaitable
    return caught.value.kind, str(caught.value)


async def closed_kind(awaitable: Awaitable[object]) -> str:
    """The kind of the ``ChannelClosedError`` that this raises."""
    kind, _text = await closed(awaitable)
    return kind


def without_slow_steps(stderr: str) -> str:
    """Without what asyncio's debug mode says of steps that take over 100 ms: on a loaded machine they are no fault."""
    return _SLOW_STEP.sub("", stderr)
