"""The stub of the extension and the extension itself name the same things."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import klaw_core
from klaw_core import _core

STUB = ast.parse((Path(klaw_core.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
STUB_CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def names_in(body: list[ast.stmt]) -> set[str]:
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in body if isinstance(node, ast.ClassDef)}
    variables = {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return functions | classes | variables


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_extension_has_everything_that_its_stub_names():
    missing = {name for name in names_in(STUB.body) if not hasattr(_core, name)}
    assert not missing


@pytest.mark.parametrize("name", STUB_CLASSES)
def test_a_class_has_everything_that_its_stub_names(name):
    actual = getattr(_core, name)
    missing = {each for each in names_in(STUB_CLASSES[name].body) if not hasattr(actual, each)}
    assert not missing


@pytest.mark.parametrize("name", STUB_CLASSES)
def test_a_class_has_no_public_member_that_its_stub_does_not_name(name):
    actual = public(dir(getattr(_core, name)))
    assert actual <= names_in(STUB_CLASSES[name].body)


FINAL_CLASSES = [
    name
    for name, node in STUB_CLASSES.items()
    if any(isinstance(mark, ast.Name) and mark.id == "final" for mark in node.decorator_list)
]


@pytest.mark.parametrize("name", FINAL_CLASSES)
def test_a_final_class_cannot_be_subclassed(name):
    with pytest.raises(TypeError):
        type("Mine", (getattr(_core, name),), {})


@pytest.mark.parametrize(
    "name", sorted(STUB_CLASSES.keys() - set(FINAL_CLASSES) - {"RemoteChannel"})
)
def test_a_class_that_is_not_final_can_be_subclassed(name):
    type("Mine", (getattr(_core, name),), {})
