"""A setting that changes while others use it: each worker looks at the latest one, and never at an old one twice."""

# [readme]
import asyncio
from dataclasses import dataclass

from klaw_core.runtime.channels import WatchReceiver, watch


@dataclass(frozen=True)
class Settings:
    """What the workers go by."""

    version: int
    greeting: str


async def greet(name: str, settings: WatchReceiver[Settings]) -> None:
    """Go by the latest settings until there are no more to come."""
    with settings:
        print(f"{name} begins with {settings.borrow().greeting}")
        async for now in settings:  # changes that come faster than this collapse into the latest
            print(f"{name} goes on with {now.greeting}")


async def wait_for_version(version: int, settings: WatchReceiver[Settings]) -> None:
    """Somebody who waits for one thing only."""
    with settings:
        found = await settings.wait_for(lambda now: now.version >= version)
        print(f"version {found.version} is there")


async def main() -> None:
    """Change the settings twice under two workers."""
    tx, rx = await watch(Settings(1, "hello"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(greet("left", rx.resubscribe()))
        tasks.create_task(greet("right", tx.subscribe()))
        tasks.create_task(wait_for_version(3, rx))
        async with tx:  # ends the workers' loops, once they have seen the last value
            await asyncio.sleep(0.01)
            await tx.send(Settings(2, "good evening"))
            await tx.send(Settings(3, "good night"))


asyncio.run(main())
# [/readme]
