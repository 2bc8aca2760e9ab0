"""A task that Ray runs again when it fails sends on a channel, whose stream goes on."""

# [readme]
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import ray

from klaw_core.runtime.channels import ChannelSender, blocking_channel


def lines_of(folder: str) -> Iterator[str]:
    """Give three lines; the first time, fail after two."""
    yield from ("one", "two")
    failed = Path(folder) / "failed"
    if not failed.exists():
        failed.touch()
        raise OSError("the disk was not ready")
    yield "three"


@ray.remote(num_cpus=0, max_retries=3, retry_exceptions=True)
def produce(tx: ChannelSender[tuple[int, str]], folder: str) -> None:
    """Send each line with its number: what a failed attempt has sent comes again."""
    try:
        for number, line in enumerate(lines_of(folder)):
            tx.blocking_send((number, line))
    finally:
        tx.blocking_close()  # `with tx:` would tell the receivers that the stream is broken


def main(folder: str) -> None:
    """Keep a sender until the task has ended for good; print each line once."""
    tx, rx = blocking_channel[tuple[int, str]](8, backend="ray")
    with rx:
        with tx:  # which keeps the channel open for the next attempt
            ray.get(produce.remote(tx, folder))
        for number, line in sorted(set(rx)):
            print(number, line)


ray.init(log_to_driver=False)  # the cluster at RAY_ADDRESS; without it, one on this machine
with TemporaryDirectory() as made:
    main(made)
# [/readme]
