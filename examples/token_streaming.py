"""An actor sends a text token by token, as it makes it up, and stops when nobody reads any more.

Its model is small, but one: which word follows which two, in the documentation that comes with Python.
"""

import asyncio
import random
from collections import defaultdict
from itertools import pairwise
from pydoc_data.topics import topics

import ray

from klaw_core.runtime.channels import ChannelClosedError, ChannelSender, channel

READ = 60  # tokens, then the reader has had enough


@ray.remote(num_cpus=0)
class Writer:
    """Makes texts up."""

    def __init__(self) -> None:
        words = " ".join(topics.values()).split()
        self.following = defaultdict[tuple[str, str], list[str]](list)
        for pair, word in zip(pairwise(words + words[:1]), words[2:] + words[:2], strict=True):
            self.following[pair].append(word)

    async def write(self, first: str, second: str, tokens: ChannelSender[str]) -> int:
        """Send one token after the other; gives how many, once nobody reads any more."""
        sent = 0
        async with tokens:
            while True:
                try:
                    await tokens.send(first)  # waits while eight tokens are unread
                except ChannelClosedError:
                    return sent
                sent += 1
                first, second = second, random.choice(self.following[first, second])


async def main() -> None:
    """Print the tokens as they come, and hang up in the middle of a sentence."""
    writer = Writer.remote()  # type: ignore[attr-defined]
    tx, rx = await channel[str](8, backend="ray")
    writing = writer.write.remote("The", "following", tx)  # it is handed a sender of its own
    await tx.close()
    for _ in range(READ):
        print(await rx.recv(), end=" ", flush=True)
    await rx.close()  # what it sends next raises ChannelClosedError
    print(f"\n{READ} tokens read, {await writing} sent")


ray.init()  # the cluster at RAY_ADDRESS; without it, one on this machine
asyncio.run(main())
