"""Count the words of every .py file of a folder, by default of Python's own standard library.

    reader ──texts──> N counters ──counts──> collector

Only channels connect them: in one process (--backend local), or with the counters in processes of their
own, on all nodes of a Ray cluster (--backend ray). What comes out is checked against a plain count in a
single thread: the exit code is 1 if they differ.
"""

import argparse
import asyncio
import os
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, channel
from klaw_core.runtime.channels.factory import Backend

BACKENDS: tuple[Backend, ...] = ("local", "ray")
STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
NOT_STANDARD = {"site-packages", "dist-packages"}  # what pip and apt put below it
TEXTS_QUEUED_MAX = 16  # files read ahead: the reader waits when all the counters are busy
PRETTY = sys.stdout.isatty() and find_spec("rich") is not None


# ----------------------------------------------------------------------------------- plain functions


def python_files(root: Path) -> list[Path]:
    """List the .py files below a folder that can be read, but for installed packages."""
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - NOT_STANDARD)
        files = (Path(folder, name) for name in sorted(names) if name.endswith(".py"))
        found += (file for file in files if file.is_file() and os.access(file, os.R_OK))
    return found


def text_of(file: Path) -> str:
    """Read a file; bytes that are not UTF-8 (some of Python's own tests) become U+FFFD."""
    return file.read_text(encoding="utf-8", errors="replace")


def count_words(text: str) -> Counter[str]:
    """Count the words of one text."""
    return Counter(re.findall(r"\w+", text))


def count_plainly(files: list[Path]) -> Counter[str]:
    """Count the words of all files in this thread, without any channel."""
    total = Counter[str]()
    for file in files:
        total.update(count_words(text_of(file)))
    return total


def differences(counts: Counter[str], expected: Counter[str]) -> list[str]:
    """Say which words were counted differently."""
    words = sorted(counts.keys() | expected.keys())
    return [
        f"{word}: {counts[word]} through channels, {expected[word]} in a plain count"
        for word in words
        if counts[word] != expected[word]
    ]


# -------------------------------------------------------------------------------------- the pipeline


async def read(files: list[Path], texts: ChannelSender[str]) -> None:
    """Send the text of every file. Leaving the block closes the sender, which ends the counters."""
    async with texts:
        for file in files:
            await texts.send(await asyncio.to_thread(text_of, file))


async def count(texts: ChannelReceiver[str], counts: ChannelSender[Counter[str]]) -> None:
    """Count the words of whatever text comes, in a thread, until the reader is done."""
    async with texts, counts:
        async for text in texts:
            await counts.send(await asyncio.to_thread(count_words, text))


def count_in_a_process(texts: ChannelReceiver[str], counts: ChannelSender[Counter[str]]) -> None:
    """Count in an event loop of its own."""
    asyncio.run(count(texts, counts))


def start_counter(
    backend: Backend, texts: ChannelReceiver[str], counts: ChannelSender[Counter[str]]
) -> Awaitable[object]:
    """Start a counter: as a task of this event loop, or as a Ray task in another process."""
    if backend == "local":
        return asyncio.ensure_future(count(texts, counts))
    ray: Any = import_module("ray")  # only here: it need not be installed
    remote = ray.remote(count_in_a_process)
    # Each handle is pickled, and is a clone of its own over there.
    started = remote.options(num_cpus=0.1, scheduling_strategy="SPREAD").remote(texts, counts)
    texts.close()
    counts.close()
    return asyncio.wrap_future(started.future())


async def collect(
    counts: ChannelReceiver[Counter[str]], advance: Callable[[], None]
) -> Counter[str]:
    """Add up what the counters send, until the last one is done."""
    total = Counter[str]()
    async with counts:
        async for words in counts:
            total.update(words)
            advance()
    return total


async def count_through_channels(
    files: list[Path], *, backend: Backend, counters: int, advance: Callable[[], None]
) -> Counter[str]:
    """Run one reader, some counters and one collector."""
    text_tx, text_rx = await channel[str](TEXTS_QUEUED_MAX, backend=backend)
    count_tx, count_rx = await channel[Counter[str]](counters, backend=backend)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(files, text_tx))
        async with text_rx, count_tx:  # each counter has clones of its own, which keep both open
            started = [
                start_counter(backend, text_rx.clone(), count_tx.clone()) for _ in range(counters)
            ]
        total = tasks.create_task(collect(count_rx, advance))
        await asyncio.gather(*started)
    return total.result()


# ------------------------------------------------------------------------------------------- display


@contextmanager
def progress(files: int) -> Generator[Callable[[], None], None, None]:
    """Draw a progress bar if there is a terminal; gives the call that advances it by a file."""
    if not PRETTY:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    with Progress("Counting", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=files)
        yield lambda: bar.advance(task)


def show_top(counts: Counter[str], top: int) -> None:
    """Print a table of the most frequent words."""
    if not PRETTY:
        for word, number in counts.most_common(top):
            print(f"{number:>12,}  {word}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("word", "times")
    table.columns[1].justify = "right"
    for word, number in counts.most_common(top):
        table.add_row(word, f"{number:,}")
    Console().print(table)


def arguments() -> argparse.Namespace:
    """Parse the command line, and refuse what cannot work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, default="local")
    parser.add_argument("--counters", type=int, default=4, help="how many count (default: 4)")
    parser.add_argument("--root", type=Path, default=STANDARD_LIBRARY, help="the folder to count")
    parser.add_argument("--top", type=int, default=15, help="how many words to show (default: 15)")
    parser.add_argument("--quiet", action="store_true", help="print the verdict only")
    args = parser.parse_args()
    if args.counters < 1:
        parser.error("--counters must be at least 1")
    if not args.root.is_dir():
        parser.error(f"--root: {args.root} is no folder")
    return args


def main() -> int:
    """Count through channels, then plainly; 0 if both agree, 1 if not, 2 for nothing to count."""
    args = arguments()
    files = python_files(args.root)
    if not files:
        print(f"no .py file below {args.root}", file=sys.stderr)
        return 2
    with progress(len(files)) as advance:
        start = time.perf_counter()
        counts = asyncio.run(
            count_through_channels(
                files, backend=args.backend, counters=args.counters, advance=advance
            )
        )
        seconds = time.perf_counter() - start
    if not args.quiet:
        show_top(counts, args.top)
        print(f"{counts.total():,} words, {len(counts):,} different ones, in {seconds:.1f} s")

    wrong = differences(counts, count_plainly(files))
    if wrong:
        print(
            f"FAILED: {len(wrong)} words differ, such as", *wrong[:10], sep="\n  ", file=sys.stderr
        )
        return 1
    print(f"OK: {len(files):,} files; a plain count in one thread gives the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
