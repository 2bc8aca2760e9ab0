"""One version, read everywhere from include/klaw/version.hpp."""

import importlib.metadata
import re
from pathlib import Path

import klaw_core

ROOT = Path(__file__).parents[2]
HEADER = (ROOT / "include/klaw/version.hpp").read_text()


def defined(macro: str) -> str:
    match = re.search(rf'^#define {macro} "?([^"\n]+)"?$', HEADER, re.MULTILINE)
    assert match, macro
    return match[1]


def test_the_numbers_of_the_header_are_its_version():
    numbers = ".".join(defined(f"KLAW_VERSION_{part}") for part in ("MAJOR", "MINOR", "PATCH"))
    assert numbers == defined("KLAW_VERSION")


def test_the_distribution_and_the_package_have_the_version_of_the_header():
    assert importlib.metadata.version("klaw-channels") == defined("KLAW_VERSION")
    assert klaw_core.__version__ == defined("KLAW_VERSION")


def test_the_changelog_knows_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(defined('KLAW_VERSION'))}\b", changelog, re.MULTILINE)
