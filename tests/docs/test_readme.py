"""The README's code is code that runs: each marked block is a region of a file in examples/."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED_BLOCK = re.compile(
    r"<!-- from (?P<path>\S+) -->\n+```\w*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
REGION = re.compile(
    r"^(?:#|//) \[readme\]\n(?P<code>.*?)^(?:#|//) \[/readme\]$", re.MULTILINE | re.DOTALL
)
CODE_BLOCK = re.compile(r"^```(?:python|cpp)$", re.MULTILINE)


def marked_blocks() -> list[tuple[Path, str, str]]:
    return [
        (document, block["path"], block["code"])
        for document in DOCUMENTS
        for block in MARKED_BLOCK.finditer(document.read_text())
    ]


@pytest.mark.parametrize(
    ("document", "example", "code"), marked_blocks(), ids=lambda value: getattr(value, "name", None)
)
def test_a_marked_block_equals_the_region_of_its_example(document: Path, example: str, code: str):
    region = REGION.search((ROOT / example).read_text())
    assert region, f"{example} has no [readme] region"
    assert code == region["code"], f"{document.name} differs from {example}"


def test_every_code_block_of_the_readme_is_marked():
    readme = (ROOT / "README.md").read_text()
    assert len(CODE_BLOCK.findall(readme)) == len(MARKED_BLOCK.findall(readme)) > 0


def test_the_two_commands_are_on_the_first_screen_of_the_readme():
    first_screen = (ROOT / "README.md").read_text().splitlines()[:60]
    assert "make demo" in "\n".join(first_screen)
    assert "make test" in "\n".join(first_screen)
