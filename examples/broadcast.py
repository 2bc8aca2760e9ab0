"""One stream, several readers: a log that is printed and counted, and followed by one that is too slow for it."""

# [readme]
import asyncio

from klaw_core.runtime.channels import BroadcastReceiver, LaggedError, broadcast


async def count(lines: BroadcastReceiver[str]) -> None:
    """Count all lines, until the last sender is gone."""
    with lines:
        total = len([line async for line in lines])
        print(f"counted {total}")


async def follow_slowly(lines: BroadcastReceiver[str]) -> None:
    """Look once all is over: what is not kept any more was missed, and that is told."""
    with lines:
        await lines.closed()
        try:
            print(await lines.recv())
        except LaggedError as error:
            print(f"missed {error.skipped}")
        print(f"kept {[line async for line in lines]}")


async def main() -> None:
    """Send ten lines to both."""
    tx, rx = await broadcast[str](4)  # keeps four messages for the slowest; a send never waits
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(count(tx.subscribe()))
        tasks.create_task(follow_slowly(rx))
        async with tx:
            for number in range(10):
                await tx.send(f"line {number}")
                await asyncio.sleep(0)  # others may run


asyncio.run(main())
# [/readme]
