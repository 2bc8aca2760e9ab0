"""docs/features.md has every public name, and each row's file and tests have what it says of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from klaw_core import result
from klaw_core.runtime import channels
from klaw_core.runtime.channels import ChannelStats, protocols

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/features.md"
ROW = re.compile(r"^\| (?!name \||-)(.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = [row.groups() for row in ROW.finditer(DOCUMENT.read_text())]
TEST = re.compile(r"`([\w/.]+\.py)::(test_\w+)`")


def identifiers(cell: str) -> list[str]:
    """Of `Ok.unwrap`, `async for`, `channel(name=)`: unwrap, async, name; each the last word of its code."""
    return [re.findall(r"\w+", code)[-1] for code in re.findall(r"`([^`]*)`", cell)]


def path_of(cell: str) -> Path:
    path = cell.strip("`")
    return ROOT / path[1:] if path.startswith("/") else ROOT / "python/klaw_core" / path


def test_the_document_has_rows():
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) > 100
    assert len(ROWS) == len([line for line in lines if not line.startswith("| name |")])


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_row_is_true(row: tuple[str, str, str]):
    names, where, shown_by = row
    assert all(cell.strip() for cell in row)
    text = path_of(where).read_text()
    for identifier in identifiers(names):
        assert re.search(rf"\b{identifier}\b", text), identifier
    tests = TEST.findall(shown_by)
    assert tests
    for file, test in tests:
        assert re.search(rf"def {test}\b", (ROOT / "tests" / file).read_text()), test


def public_methods(path: str, class_name: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    found = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == class_name)
    return {
        node.name
        for node in found.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name[0] != "_"
    }


def public_names() -> set[str]:
    names = set(channels.__all__) | set(result.__all__) | set(ChannelStats.__dataclass_fields__)
    for protocol in (*map(protocols.__dict__.get, protocols.__all__), result.Ok, result.Err):
        names |= {name for name in vars(protocol) if name[0] != "_"}
    ray = ast.parse((ROOT / "python/klaw_core/runtime/channels/ray/__init__.py").read_text())
    for node in ast.walk(ray):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names |= set(ast.literal_eval(node.value))
    return (
        names
        | public_methods("python/klaw_core/runtime/channels/ray/actor.py", "ChannelActor")
        - NOT_FOR_USERS
    )


# What handles and the supervisor ask of the actor.
NOT_FOR_USERS = {
    "get_endpoint",
    "keep_payloads",
    "peek_payloads",
    "get_payloads",
    "adopt_payloads",
    "drop_payloads",
    "remove",
}


def test_each_public_name_has_a_row():
    there = {
        name
        for names, _, _ in ROWS
        for code in re.findall(r"`([^`]*)`", names)
        for name in re.findall(r"\w+", code)
    }
    assert sorted(public_names() - there) == []
