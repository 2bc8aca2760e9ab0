"""Channels on a Ray cluster. Importing this package loads Ray; ``klaw_core.runtime.channels`` does it when asked to.

Example::

    from klaw_core.runtime.channels import channel, get_receiver

    tx, rx = await channel[str](100, backend="ray", name="jobs")
    await tx.send("a job")

    # in another process, on any node
    rx = await get_receiver("jobs", wait=10)
    async for job in rx:
        print(job)
"""

from klaw_core.runtime.channels.ray.actor import RayChannelActor, ReaderInfo
from klaw_core.runtime.channels.ray.broadcast import RayBroadcastReceiver, RayBroadcastSender
from klaw_core.runtime.channels.ray.core import RayReceiver, RaySender
from klaw_core.runtime.channels.ray.factory import (
    delete_ray_channel,
    get_ray_channel,
    list_ray_channels,
    ray_channel,
)
from klaw_core.runtime.channels.ray.oneshot import RayOneshotReceiver, RayOneshotSender
from klaw_core.runtime.channels.ray.pools import (
    ChannelReader,
    DeadLetter,
    PoolStats,
    ReaderPoolController,
    ReaderStats,
)
from klaw_core.runtime.channels.ray.reference import RayReferenceReceiver, RayReferenceSender
from klaw_core.runtime.channels.ray.supervisor import ChannelSupervisor, get_channel_supervisor
from klaw_core.runtime.channels.ray.watch import RayWatchReceiver, RayWatchSender

__all__ = [
    "ChannelReader",
    "ChannelSupervisor",
    "DeadLetter",
    "PoolStats",
    "RayBroadcastReceiver",
    "RayBroadcastSender",
    "RayChannelActor",
    "RayOneshotReceiver",
    "RayOneshotSender",
    "RayReceiver",
    "RayReferenceReceiver",
    "RayReferenceSender",
    "RaySender",
    "RayWatchReceiver",
    "RayWatchSender",
    "ReaderInfo",
    "ReaderPoolController",
    "ReaderStats",
    "delete_ray_channel",
    "get_channel_supervisor",
    "get_ray_channel",
    "list_ray_channels",
    "ray_channel",
]
