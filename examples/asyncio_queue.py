"""Squares numbers with workers that share an asyncio.Queue; its twin is asyncio_queue_as_channel.py."""

# [readme]
import asyncio


async def work(jobs: asyncio.Queue[int | None], results: asyncio.Queue[int | None]) -> None:
    """Square numbers until the sentinel comes."""
    while (number := await jobs.get()) is not None:
        await results.put(number * number)
    await results.put(None)


async def main() -> None:
    """Feed three workers, and collect until each has said that it is done."""
    jobs: asyncio.Queue[int | None] = asyncio.Queue(8)
    results: asyncio.Queue[int | None] = asyncio.Queue()
    workers = [asyncio.create_task(work(jobs, results)) for _ in range(3)]
    for number in range(10):
        await jobs.put(number)
    for _ in workers:
        await jobs.put(None)
    squares: list[int] = []
    running = len(workers)
    while running:
        if (square := await results.get()) is None:
            running -= 1
        else:
            squares.append(square)
    print(sorted(squares))


asyncio.run(main())
# [/readme]
