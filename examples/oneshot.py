"""A question that carries its own way back: each request brings a oneshot, into which its answer goes."""

# [readme]
import asyncio
import math

from klaw_core.runtime.channels import (
    ChannelClosedError,
    ChannelReceiver,
    ChannelSender,
    OneshotSender,
    channel,
    oneshot,
)

Request = tuple[int, OneshotSender[int]]


async def serve(requests: ChannelReceiver[Request]) -> None:
    """Answer until nobody can ask any more."""
    async with requests:
        async for number, answer in requests:
            if number > 20:
                answer.close("too large a number")  # whoever asked is told
            else:
                await answer.send(math.factorial(number))  # never waits


async def ask(requests: ChannelSender[Request], number: int) -> None:
    """Ask, and print the answer."""
    tx, rx = await oneshot[int]()
    await requests.send((number, tx))
    try:
        print(f"{number}! is {await rx.recv(timeout=10)}")
    except ChannelClosedError as error:
        print(f"{number}! is not known: {error}")
        rx.close()


async def main() -> None:
    """Run a server, and ask it three times."""
    requests, rx = await channel[Request](16)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(rx))
        async with requests:  # ends the server's loop
            for number in (5, 20, 21):
                await ask(requests, number)


asyncio.run(main())
# [/readme]
