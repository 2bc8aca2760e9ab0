"""Workers fed by ``ray.util.queue.Queue``; ``ray_queue_as_channel.py`` is the same with channels."""

# [readme]
from collections.abc import Iterator

import ray
from ray.util.queue import Queue

WORKERS = 2


@ray.remote(num_cpus=0)
def feed(jobs: Queue) -> None:
    """Put ten jobs, and an end for each worker."""
    for job in range(10):
        jobs.put(job)
    for _ in range(WORKERS):
        jobs.put(None)


@ray.remote(num_cpus=0)
def work(jobs: Queue, results: Queue) -> None:
    """Square what comes, until an end comes; then put an end, too."""
    while (job := jobs.get()) is not None:
        results.put(job * job)
    results.put(None)


def all_of(results: Queue) -> Iterator[int]:
    """Give what the workers put, until each of them has ended."""
    running = WORKERS
    while running:
        if (result := results.get()) is None:
            running -= 1
        else:
            yield result


ray.init()
jobs, results = Queue(maxsize=4), Queue(maxsize=4)
tasks = [feed.remote(jobs), *(work.remote(jobs, results) for _ in range(WORKERS))]
print(sum(all_of(results)))
ray.get(tasks)
for queue in (jobs, results):
    queue.shutdown()
# [/readme]
