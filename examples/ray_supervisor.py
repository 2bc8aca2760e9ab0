"""What a channel on a Ray cluster holds, taken along into another channel."""

# [readme]
import asyncio

import ray

from klaw_core.runtime.channels import get_channel
from klaw_core.runtime.channels.ray import get_channel_supervisor


async def main() -> None:
    """Fill a channel, and go on with what it holds in another one."""
    supervisor = get_channel_supervisor()
    await supervisor.create_channel.remote("jobs", 100)
    found = await get_channel("jobs")
    if found is None:
        raise LookupError("there is no such channel")
    tx, rx = found
    async with tx, rx:
        await tx.send_batch(["one", "two", "three"])
        print("took", await rx.recv())
        state = await supervisor.get_checkpoint.remote("jobs", messages=True)
    await supervisor.delete_channel.remote("jobs")

    await supervisor.create_channel.remote("jobs")  # another one, in which there is nothing
    await supervisor.restore_from_checkpoint.remote("jobs", state)
    found = await get_channel("jobs")
    if found is None:
        raise LookupError("there is no such channel")
    tx, rx = found
    await tx.close()
    async with rx:
        async for message in rx.acked():
            async with message:
                print("went on with", message.value, "again" if message.redelivered else "")
    await supervisor.delete_channel.remote("jobs")


ray.init()  # the cluster at RAY_ADDRESS; without it, one on this machine
asyncio.run(main())
# [/readme]
