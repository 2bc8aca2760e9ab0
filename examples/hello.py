"""One producer, two consumers, one channel."""

# [readme]
import asyncio

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, channel


async def produce(tx: ChannelSender[int]) -> None:
    """Send ten numbers; leaving the block closes the sender, which ends the consumers' loops."""
    async with tx:
        for number in range(10):
            await tx.send(number)  # waits while four numbers are queued


async def consume(name: str, rx: ChannelReceiver[int]) -> None:
    """Print what comes, until the last sender is gone and the queue is empty."""
    async with rx:
        async for number in rx:
            print(f"{name} got {number}")


async def main() -> None:
    """Run a producer and two consumers; each number reaches exactly one consumer."""
    tx, rx = await channel[int](capacity=4)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(consume("left", rx.clone()))
        tasks.create_task(consume("right", rx))
        tasks.create_task(produce(tx))


asyncio.run(main())
# [/readme]
