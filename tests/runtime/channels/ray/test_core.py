"""Ray channels: handles in this process on a real cluster."""

from __future__ import annotations

import pytest

from klaw_core.runtime.channels import channel

pytestmark = pytest.mark.ray


async def test_a_message_goes_through_a_channel(ray_cluster):
    tx, rx = await channel(8, backend="ray")
    async with tx, rx:
        await tx.send({"a": 1})
        assert await rx.recv() == {"a": 1}
