"""Run clang-tidy over compilation databases, skipping what was found clean before."""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLANG_TIDY = Path(sys.executable).parent / "clang-tidy"
FINDING = re.compile(r"^(?=/\S+:\d+:\d+: (?:error|warning))", re.MULTILINE)
FOLDERS = ("include", "src", "tests", "bench", "examples", "python")
# Of the sources that CMake generates to verify the headers, one is enough: it includes them all.
UMBRELLA = "klaw/channels.hpp.cxx"


@dataclass(frozen=True)
class Source:
    """One source of this project, and how it is compiled."""

    path: Path
    build_dir: Path
    command: str


def own_sources(build_dir: Path) -> list[Source]:
    """List what a compilation database holds of this project's own sources."""
    entries = json.loads((build_dir / "compile_commands.json").read_text())
    sources: list[Source] = []
    for entry in entries:
        path = Path(entry["directory"], entry["file"]).resolve()
        in_folder = any(path.is_relative_to(ROOT / folder) for folder in FOLDERS)
        if in_folder or path.as_posix().endswith(UMBRELLA):
            sources.append(Source(path, build_dir, entry["command"]))
    if not sources:
        sys.exit(f"{build_dir}: no source of this project in compile_commands.json")
    return sources


def shared_digest() -> bytes:
    """Digest everything that any source may depend on: the headers, the configuration, the tool."""
    digest = hashlib.sha256(subprocess.check_output([CLANG_TIDY, "--version"]))
    inputs = [Path(__file__), ROOT / ".clang-tidy"]
    for folder in FOLDERS:
        inputs += (ROOT / folder).rglob("*.h*")
        inputs += (ROOT / folder).rglob(".clang-tidy")
    for path in sorted(inputs):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.digest()


def findings_in(source: Source, shared: bytes) -> str:
    """Check one source, unless the same text was found clean before."""
    cache = source.build_dir / "clang-tidy"
    cache.mkdir(exist_ok=True)
    content = shared + source.command.encode() + source.path.read_bytes()
    clean = cache / hashlib.sha256(content).hexdigest()
    if clean.exists():
        return ""
    run = subprocess.run(
        [CLANG_TIDY, "--quiet", "-p", source.build_dir, source.path],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        clean.touch()
        return ""
    return run.stdout or run.stderr


def main() -> int:
    """Check every source, print what is wrong, return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build_dirs", type=Path, nargs="+")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    build_dirs: list[Path] = arguments.build_dirs
    # Several builds compile the data plane: each of its sources is checked once.
    by_path: dict[Path, Source] = {}
    for build_dir in build_dirs:
        for source in own_sources(build_dir):
            by_path.setdefault(source.path, source)
    sources = list(by_path.values())
    shared = shared_digest()
    shown: set[str] = set()
    failed = False
    jobs: int = arguments.jobs
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = pool.map(findings_in, sources, itertools.repeat(shared))
        for source, findings in zip(sources, results, strict=True):
            if findings:
                failed = True
                # A header's findings come once for each source that includes it.
                new = [text for text in FINDING.split(findings) if text not in shown]
                shown.update(new)
                print(f"clang-tidy: {source.path.relative_to(ROOT)}", *new, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
