"""What a user's type checker sees: ``good_*.py`` is accepted, ``bad_*.py`` fails on its marked lines and nowhere else.

A marked line ends in ``# error: CODE | RULE``: mypy's error code and pyright's rule, several with commas, or ``-`` for
none. Both checkers run strict, each once over all files, on the package that this interpreter imports.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import klaw_core

GOLDENS = sorted(Path(__file__).parent.glob("good_*.py")) + sorted(
    Path(__file__).parent.glob("bad_*.py")
)
PACKAGE_ROOT = Path(klaw_core.__file__).parent.parent
# An installed package is found the way a user's is; a source tree has to be named.
IS_INSTALLED = PACKAGE_ROOT.name in ("site-packages", "dist-packages")
CHECKERS = ["mypy", "basedpyright"]
CHECK_SECONDS_MAX = 300
MARK = re.compile(r"# error: (?P<mypy>[a-z, -]+) \| (?P<basedpyright>[a-zA-Z, -]+)$")
# What follows from an error found already, and would only hide it: the value got no type.
ECHO = re.compile(r"has-type|no-any-return|reportUnknown\w+")

pytestmark = pytest.mark.timeout(CHECK_SECONDS_MAX)

Errors = dict[int, set[str]]  # line number, from 1 -> codes


def marked(golden: Path, checker: str) -> Errors:
    """The errors that the comments in a golden file announce."""
    found = {}
    for number, line in enumerate(golden.read_text(encoding="utf-8").splitlines(), start=1):
        mark = MARK.search(line)
        assert mark or "# error:" not in line, f"{golden.name}:{number}: a mark nobody understands"
        if mark and mark[checker] != "-":
            found[number] = set(mark[checker].split(", "))
    return found


def by_file(errors: list[tuple[str, int, str]]) -> dict[str, Errors]:
    grouped: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for file, line, code in errors:
        name = Path(file).name
        if not (name.startswith("bad_") and ECHO.fullmatch(code)):
            grouped[name][line].add(code)
    return {name: dict(lines) for name, lines in grouped.items()}


def run(command: list[str], **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_SECONDS_MAX,
    )
    # 0: all well; 1: errors found; anything else: the checker itself failed.
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return result.stdout


def run_mypy(scratch: Path) -> dict[str, Errors]:
    config = scratch / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n", encoding="utf-8")
    output = run(
        [
            "mypy",
            f"--config-file={config}",
            f"--cache-dir={scratch / 'cache'}",
            "--python-version=3.11",
            "--output=json",
            *map(str, GOLDENS),
        ],
        MYPYPATH="" if IS_INSTALLED else str(PACKAGE_ROOT),
    )
    errors = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return by_file(
        [
            (error["file"], error["line"], error["code"])
            for error in errors
            if error["severity"] == "error"
        ]
    )


def run_basedpyright(scratch: Path) -> dict[str, Errors]:
    config = scratch / "pyrightconfig.json"
    settings = {
        "include": [str(golden) for golden in GOLDENS],
        "extraPaths": [] if IS_INSTALLED else [str(PACKAGE_ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    output = run(
        [
            "basedpyright",
            f"--project={config}",
            f"--pythonpath={sys.executable}",
            "--outputjson",
        ]
    )
    report = json.loads(output)
    assert report["summary"]["filesAnalyzed"] == len(GOLDENS), output
    return by_file(
        [
            (error["file"], error["range"]["start"]["line"] + 1, error.get("rule", "syntax"))
            for error in report["generalDiagnostics"]
            if error["severity"] == "error"
        ]
    )


@pytest.fixture(scope="module", params=CHECKERS)
def checker(request) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed in {sys.prefix}")
    return request.param


@pytest.fixture(scope="module")
def reported(checker, tmp_path_factory) -> dict[str, Errors]:
    run_checker = {"mypy": run_mypy, "basedpyright": run_basedpyright}[checker]
    return run_checker(tmp_path_factory.mktemp(checker))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.stem)
def test_a_checker_finds_exactly_the_marked_errors(checker, reported, golden):
    assert reported.get(golden.name, {}) == marked(golden, checker)


def test_nothing_is_reported_outside_of_the_goldens(reported):
    assert set(reported) <= {golden.name for golden in GOLDENS}


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.stem)
def test_good_files_mark_no_errors_and_bad_ones_some(golden):
    assert bool(marked(golden, "mypy")) is golden.stem.startswith("bad_")


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE_ROOT / "klaw_core" / "py.typed").is_file()
    assert (PACKAGE_ROOT / "klaw_core" / "_core.pyi").is_file()


@pytest.mark.skipif(
    not IS_INSTALLED, reason="pyright verifies the types of installed packages only"
)
@pytest.mark.skipif(
    importlib.util.find_spec("basedpyright") is None,
    reason=f"basedpyright is not installed in {sys.prefix}",
)
def test_every_type_in_the_public_interface_is_known():
    output = run(
        [
            "basedpyright",
            f"--pythonpath={sys.executable}",
            "--outputjson",
            "--ignoreexternal",
            "--verifytypes=klaw_core",
        ]
    )
    report = json.loads(output)["typeCompleteness"]
    unknown = [symbol["name"] for symbol in report["symbols"] if not symbol["isTypeKnown"]]
    assert report["packageName"] == "klaw_core"
    assert not unknown
    assert report["completenessScore"] == 1
