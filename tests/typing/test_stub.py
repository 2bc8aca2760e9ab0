"""The stub of the extension and the extension itself name the same things."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import klaw_core
from klaw_core import _core

STUB = ast.parse((Path(klaw_core.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
ALL_CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
# Those that the stub has only to say once what several classes have.
ONLY_IN_STUB = {
    name
    for name, node in ALL_CLASSES.items()
    if any(
        isinstance(mark, ast.Name) and mark.id == "type_check_only" for mark in node.decorator_list
    )
}
STUB_CLASSES = {name: node for name, node in ALL_CLASSES.items() if name not in ONLY_IN_STUB}


def names_in(body: list[ast.stmt]) -> set[str]:
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in body if isinstance(node, ast.ClassDef)}
    variables = {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return functions | classes | variables


def members_of(name: str) -> set[str]:
    generic = (
        base.value if isinstance(base, ast.Subscript) else base for base in ALL_CLASSES[name].bases
    )
    bases = {base.id for base in generic if isinstance(base, ast.Name)}
    own = names_in(ALL_CLASSES[name].body)
    return own.union(*(members_of(base) for base in bases if base in ALL_CLASSES))


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_extension_has_everything_that_its_stub_names():
    named = names_in(STUB.body) - ONLY_IN_STUB
    missing = {name for name in named if not hasattr(_core, name)}
    assert not missing


@pytest.mark.parametrize("name", STUB_CLASSES)
def test_a_class_has_everything_that_its_stub_names(name):
    actual = getattr(_core, name)
    missing = {each for each in members_of(name) if not hasattr(actual, each)}
    assert not missing


@pytest.mark.parametrize("name", STUB_CLASSES)
def test_a_class_has_no_public_member_that_its_stub_does_not_name(name):
    actual = public(dir(getattr(_core, name)))
    assert actual <= members_of(name)


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
