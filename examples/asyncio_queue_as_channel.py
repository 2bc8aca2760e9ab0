"""Squares numbers with workers that share a channel; its twin is asyncio_queue.py."""

# [readme]
import asyncio

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, channel


async def work(jobs: ChannelReceiver[int], results: ChannelSender[int]) -> None:
    """Square numbers until the jobs end; leaving the block says that this worker is done."""
    async with results:
        async for number in jobs:
            await results.send(number * number)


async def main() -> None:
    """Feed three workers, and collect until the last has closed its sender."""
    jobs_tx, jobs = await channel[int](8)
    results_tx, results = await channel[int](unbounded=True)
    async with jobs, results:
        async with asyncio.TaskGroup() as tasks, results_tx, jobs_tx:
            for _ in range(3):
                tasks.create_task(work(jobs, results_tx.clone()))
            for number in range(10):
                await jobs_tx.send(number)
        print(sorted([square async for square in results]))


asyncio.run(main())
# [/readme]
