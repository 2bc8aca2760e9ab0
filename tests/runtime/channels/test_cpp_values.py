"""C++ and Python read and write the same values.

A C++ program, tests/cpp/echo/, decodes what Python encoded, and encodes it again. `make build` builds it, twice: Ray's
C++ library is for programs with the old std::string. Where no C++ tests are built, these are skipped. Where they are,
a missing program is an error.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klaw_core import _core

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build/release"
PROGRAMS = ["klaw_echo_new_abi", "klaw_echo_old_abi"]
DOCUMENT = (ROOT / "docs/values.md").read_text()
VALUES = 10_000

pytestmark = pytest.mark.skipif(
    not (BUILD / "build.ninja").exists(), reason="the C++ tests are not built here: make build"
)


class Echo:
    """The program, with a message going in and one coming out."""

    def __init__(self, name: str, *arguments: str):
        program = BUILD / "tests/cpp" / name
        if not program.exists():
            pytest.fail(f"there is no {program}: make build")
        self.process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()
        assert self.process.returncode == 0

    def ask(self, message: bytes) -> bytes:
        """Give what it answers; raises ValueError with the text of its error."""
        assert self.process.stdin
        self.process.stdin.write(struct.pack("<I", len(message)) + message)
        self.process.stdin.flush()
        is_good = self.read(1) == b"\1"
        answer = self.next_message()
        if not is_good:
            raise ValueError(answer.decode())
        return answer

    def next_message(self) -> bytes:
        return self.read(struct.unpack("<I", self.read(4))[0])

    def read(self, size: int) -> bytes:
        assert self.process.stdout
        content = self.process.stdout.read(size)
        assert len(content) == size, "the program ended early"
        return content


def shape(value: object) -> object:
    """Equal for what is of one type, equal, in one order and of the same bits."""
    content: object = value
    if isinstance(value, float):
        content = struct.pack("<d", value)
    elif isinstance(value, (list, tuple)):
        content = [shape(item) for item in value]
    elif isinstance(value, dict):
        content = [(shape(key), shape(item)) for key, item in value.items()]
    return type(value), content


# --- the property ---

texts = st.text(st.characters(codec="utf-8"))
bits = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", struct.pack("<Q", n))[0])
small = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    small,
    st.integers(2**63, 2**64 - 1),
    st.floats(),
    bits,
    texts,
    st.binary(),
)
keys = scalars | st.tuples(scalars, scalars)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.lists(inner, max_size=20).map(tuple),
        st.dictionaries(keys, inner, max_size=20),
    ),
    max_leaves=20,
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "None": st.none(),
    "bool": st.booleans(),
    "small_int": small,
    "large_int": st.integers(2**63, 2**64 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "float_of_any_bits": bits | st.sampled_from([-0.0, float("inf"), float("-inf"), float("nan")]),
    "ascii_str": st.text(st.characters(codec="ascii")),
    "str": texts,
    "bytes": st.binary(),
    "list": st.lists(scalars),
    "tuple": st.lists(scalars).map(tuple),
    "dict_of_str": st.dictionaries(texts, scalars),
    "dict": st.dictionaries(keys, scalars),
    "nested": anything,
}


@pytest.fixture(scope="module")
def echoes():
    with Echo(PROGRAMS[0], "echo", "Value") as new, Echo(PROGRAMS[1], "echo", "Value") as old:
        yield dict(zip(PROGRAMS, (new, old), strict=True))


@pytest.mark.parametrize(
    ("name", "kind"), [*((PROGRAMS[0], kind) for kind in KINDS), (PROGRAMS[1], "nested")]
)
def test_values_come_back_from_cpp_as_they_were(echoes, name, kind):
    echo = echoes[name]

    @given(KINDS[kind])
    @settings(
        max_examples=VALUES // (len(KINDS) - 2) + 1,  # there are not many of None and bool
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def comes_back(value):
        message = _core.encode(value)
        answer = echo.ask(message)
        assert answer == message
        assert shape(_core.decode(answer)) == shape(value)

    comes_back()


# --- the tables of docs/values.md ---


def rows(header: str) -> list[list[str]]:
    table = DOCUMENT.split(f"| {header} |", 1)[1].split("\n\n", 1)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def of(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


TAKEN = [
    (of(sent)[0], of(alternative)[0], of(others))
    for sent, alternative, others in rows(
        "sent from Python | alternative of `Value` | other types that take it"
    )
]
REFUSED = [
    (of(sent)[0], of(received)[0], error)
    for sent, received, error in rows("sent from Python | received as | error")
]
SENT = {
    of(sent)[0]: of(arrives)[0] for sent, arrives in rows("sent from C++ | arrives in Python as")
}


def evaluated(expression: str) -> object:
    return eval(expression)


def test_the_tables_have_rows():
    assert len(TAKEN) >= 14
    assert len(REFUSED) >= 8
    assert len(SENT) >= 24


@pytest.mark.parametrize(("sent", "alternative", "others"), TAKEN, ids=[row[0] for row in TAKEN])
def test_what_python_sends_arrives_as_the_table_says(sent, alternative, others):
    value = evaluated(sent)
    message = _core.encode(value)
    with Echo(PROGRAMS[0], "describe") as program:
        described = _core.decode(program.ask(message))
    assert described.split(" ")[0] == alternative
    for name in [*others, "Value", "Raw"]:
        with Echo(PROGRAMS[0], "echo", name) as program:
            arrived = _core.decode(program.ask(message))
        if "map<" in name:  # which has an order of its own
            assert isinstance(arrived, dict)
            arrived = {key: arrived[key] for key in value}
        assert shape(arrived) == shape(value), name


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("sent", "received", "error"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_does_not_fit_is_the_error_that_the_table_says(name, sent, received, error):
    with Echo(name, "echo", received) as program, pytest.raises(ValueError) as raised:
        program.ask(_core.encode(evaluated(sent)))
    assert str(raised.value) == error


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_cpp_sends_arrives_as_the_table_says(name):
    arrived = {}
    with Echo(name, "examples") as program:
        for _ in SENT:
            expression = _core.decode(program.next_message())
            arrived[expression] = _core.decode(program.next_message())
        assert program.process.stdout
        assert program.process.stdout.read() == b""
    assert list(arrived) == list(SENT)
    for expression, value in arrived.items():
        assert shape(value) == shape(evaluated(SENT[expression])), expression


# --- what C++ can't read ---


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, {1}, "\ud800", 1j], ids=repr)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_pickle_is_an_error_that_names_raw_and_stops_nothing(pickling, name, value):
    with Echo(name, "echo", "Value") as program:
        with pytest.raises(ValueError, match=r"pickled Python object.*receive klaw::channels::Raw"):
            program.ask(_core.encode(value))
        assert _core.decode(program.ask(_core.encode([1]))) == [1]


def test_raw_passes_a_pickle_on(pickling):
    with Echo(PROGRAMS[0], "echo", "Raw") as program:
        assert _core.decode(program.ask(_core.encode({1, 2}))) == {1, 2}


@pytest.mark.parametrize(
    "message", [b"", b"\5\1", b"\1\xc1", b"\1\xdd\xff\xff\xff\xff", b"\1" + b"\x91" * 100_000]
)
def test_a_message_that_is_none_is_an_error_to_both(message):
    with pytest.raises(ValueError):
        _core.decode(message)
    with Echo(PROGRAMS[0], "describe") as program, pytest.raises(ValueError):
        program.ask(message)
