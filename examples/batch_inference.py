"""Text batch inference on a Ray cluster: a pool of readers on all nodes says which package a docstring is from.

    docstrings ──batches──> a pool of classifiers ──answers──> the numbers

The text is real: the docstrings of Python's standard library. The model is small, but one: naive Bayes, trained here
on every other docstring of some packages, and asked about the rest. The exit code is 1 if the pool's answers are not
those of the same model in this process.
"""

import ast
import asyncio
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from math import log
from pathlib import Path

import ray

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, channel, delete_channel
from klaw_core.runtime.channels.ray import ChannelReader, ReaderPoolController

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
    "urllib",
    "xml",
)
READERS = 4
BATCH = 8  # docstrings in a message
WORDS_MIN = 5  # shorter docstrings say too little


# ----------------------------------------------------------------------------------- text and model


def docstrings(package: str) -> Iterator[str]:
    """Give each docstring of a package once."""
    seen = set[str]()
    for file in sorted((STANDARD_LIBRARY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if len(words_of(text)) >= WORDS_MIN and text not in seen:
                    seen.add(text)
                    yield text


def words_of(text: str) -> list[str]:
    """Split a text into words."""
    return re.findall(r"[a-z]+", text.lower())


class NaiveBayes:
    """Says which label a text is likely to have, by its words alone."""

    def __init__(self, examples: list[tuple[str, str]]) -> None:
        self._texts = Counter(label for _, label in examples)
        self._words = {label: Counter[str]() for label in self._texts}
        for text, label in examples:
            self._words[label].update(words_of(text))
        self._vocabulary = len(set[str]().union(*self._words.values()))

    def label_of(self, text: str) -> str:
        """Give the likeliest label."""
        words = words_of(text)

        def likelihood(label: str) -> float:
            seen = self._words[label]
            # Each word counts once more than it was seen, so that none is impossible.
            known = sum(log(seen[word] + 1) for word in words)
            return (
                log(self._texts[label]) + known - len(words) * log(seen.total() + self._vocabulary)
            )

        return max(self._texts, key=likelihood)


# ------------------------------------------------------------------------------------------ the pool

# [readme]
Batch = tuple[int, list[str]]
Answer = tuple[int, list[str], str]


class Classifier(ChannelReader[Batch]):
    """Labels batches of texts, each on its own."""

    def __init__(
        self,
        channel_name: str,
        namespace: str,
        *,
        model: NaiveBayes,
        answers: ChannelSender[Answer],
    ) -> None:
        super().__init__(channel_name, namespace)
        self.model = model
        self.answers = answers
        self.node = ray.get_runtime_context().get_node_id()

    def process(self, item: Batch) -> None:
        """Run in a thread; the batch is acknowledged when this returns."""
        number, texts = item
        labels = [self.model.label_of(text) for text in texts]
        self.answers.blocking_send((number, labels, self.node))


async def classify(batches: list[Batch], model: NaiveBayes) -> list[Answer]:
    """Have a pool on all nodes answer each batch."""
    batch_tx, batch_rx = await channel[Batch](16, backend="ray", name="batches")
    answer_tx, answer_rx = await channel[Answer](16, backend="ray")
    pool = ReaderPoolController.remote(
        "batches",
        READERS,
        reader_class=Classifier,
        reader_kwargs={"model": model, "answers": answer_tx},
        reader_options={"num_cpus": 0.5, "scheduling_strategy": "SPREAD"},
        max_attempts=3,  # a batch that fails more often goes into the channel "batches.dead_letters"
    )
    while (await pool.stats.remote()).readers < READERS:  # a share of the work for each node
        await asyncio.sleep(0.1)
    await batch_rx.close()  # the pool has receivers of its own
    await answer_tx.close()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send(batches, batch_tx))
        answers = tasks.create_task(receive(answer_rx))
    print(await pool.wait_closed.remote())
    delete_channel("batches")
    delete_channel("batches.dead_letters")
    return answers.result()


async def send(batches: list[Batch], tx: ChannelSender[Batch]) -> None:
    """Send all. Leaving the block closes the only sender, which ends the pool."""
    async with tx:
        for batch in batches:
            await tx.send(batch)


async def receive(rx: ChannelReceiver[Answer]) -> list[Answer]:
    """Receive until all readers are gone. If one had died, an answer might come twice."""
    async with rx:
        return list({answer[0]: answer async for answer in rx}.values())


# [/readme]


def main() -> int:
    """Classify with the pool, then plainly; 0 if both agree."""
    labelled = [(text, package) for package in PACKAGES for text in docstrings(package)]
    model = NaiveBayes(labelled[::2])
    asked = labelled[1::2]
    texts = [text for text, _ in asked]
    batches = [(n, texts[n : n + BATCH]) for n in range(0, len(texts), BATCH)]
    ray.init()  # the cluster at RAY_ADDRESS; without it, one on this machine
    start = time.perf_counter()
    answers = sorted(asyncio.run(classify(batches, model)))
    seconds = time.perf_counter() - start

    labels = [label for _, labels, _ in answers for label in labels]
    for node, number in Counter(node for _, _, node in answers).items():
        print(f"node {node[:8]} has done {number} of {len(batches)} batches")
    right = sum(label == package for label, (_, package) in zip(labels, asked, strict=True))
    guess = Counter(package for _, package in asked).most_common(1)[0][1]
    print(
        f"{right} of {len(asked)} docstrings are in the package that the model says "
        f"({right / len(asked):.0%}; always the same guess: {guess / len(asked):.0%}), in {seconds:.1f} s"
    )
    if labels != [model.label_of(text) for text in texts]:
        print("FAILED: the model gives other answers in this process", file=sys.stderr)
        return 1
    print("OK: the model gives the same answers in this process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
