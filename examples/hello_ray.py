"""One channel, used by tasks on any node of a Ray cluster."""

# [readme]
import asyncio

import ray

from klaw_core.runtime.channels import (
    ChannelReceiver,
    blocking_get_sender,
    channel,
    delete_channel,
)


@ray.remote(num_cpus=0)
def produce(first: int) -> None:
    """Find the channel by its name, and send five numbers; leaving the block closes this sender."""
    tx = blocking_get_sender("hello")
    if tx is None:
        raise LookupError("there is no such channel")
    with tx:
        for number in range(first, first + 5):
            tx.blocking_send(number)  # waits while four numbers are queued


@ray.remote(num_cpus=0)
def consume(rx: ChannelReceiver[int]) -> list[int]:
    """Take a share of the numbers, until the last sender is gone and the queue is empty."""
    with rx:
        return list(rx)


async def main() -> None:
    """Run two producers and two consumers; each number reaches exactly one consumer."""
    tx, rx = await channel[int](capacity=4, backend="ray", name="hello")
    async with tx:  # this sender keeps the channel open until the producers are done
        shares = [consume.remote(rx) for _ in range(2)]  # each is handed a receiver of its own
        await rx.close()
        await asyncio.gather(produce.remote(0), produce.remote(5))
    for share in await asyncio.gather(*shares):
        print("a consumer got", sorted(share))
    delete_channel("hello")


ray.init()  # the cluster at RAY_ADDRESS; without it, one on this machine
asyncio.run(main())
# [/readme]
