"""Workers fed by a channel; ``ray_queue.py`` is the same with ``ray.util.queue.Queue``."""

# [readme]
import ray

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, blocking_channel

WORKERS = 2


@ray.remote(num_cpus=0)
def feed(jobs: ChannelSender[int]) -> None:
    """Send ten jobs. Leaving the block closes the only sender, which ends the workers' loops."""
    with jobs:
        for job in range(10):
            jobs.blocking_send(job)


@ray.remote(num_cpus=0)
def work(jobs: ChannelReceiver[int], results: ChannelSender[int]) -> None:
    """Square what comes, until the jobs end. The last worker that closes its sender ends the results."""
    with jobs, results:
        for job in jobs:
            results.blocking_send(job * job)


ray.init()
job_tx, job_rx = blocking_channel[int](4, backend="ray")
result_tx, result_rx = blocking_channel[int](4, backend="ray")
tasks = [feed.remote(job_tx), *(work.remote(job_rx, result_tx) for _ in range(WORKERS))]
for handle in (job_tx, job_rx, result_tx):  # each task has handles of its own, which count already
    handle.blocking_close()
with result_rx:
    print(sum(result_rx))
ray.get(tasks)
# [/readme]
