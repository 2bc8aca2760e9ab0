"""What is received is what was sent: of the same types, equal, and of the same bits, in whatever flavour.

The property test draws values, and shrinks one that is decoded as another. Each flavour then carries a few hundred.
"""

from __future__ import annotations

import collections
import decimal
import enum
import fractions
import http
import struct
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from klaw_core import _core

DRAWN = 200
DEEPEST = 40  # beyond what is packed: that is pickled, too


class Celsius(float):
    pass


class Name(str):
    __slots__ = ()


class Row(list):
    pass


class Blob(bytes):
    pass


class Size(int):
    pass


class Colour(enum.IntEnum):
    RED = 1


class Settings(dict):
    pass


def of_bits(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def nested(value: object, depth: int, *, in_dicts: bool) -> object:
    for _ in range(depth):
        value = {"in": value} if in_dicts else [value]
    return value


EDGES: tuple[Any, ...] = (
    1.0, 0.0, -0.0, -1.0, 2.0**31, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e300, 5e-324, 0.1,
    float("inf"), float("-inf"), float("nan"), of_bits(0xFFF8_0000_DEAD_BEEF), of_bits(0x7FF8_0000_0000_0001),
    {"lr": 1.0}, {1.0: "x"}, {-0.0: 0}, [1, 1.0, True], {0: 0.0}, {None: 1.0, True: 2.0, b"k": 3.0, 4: 4.0},
    0, -1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, True, False, None,
    "", "\0", "\ud800", ["\udfff", 1.0], "\U0010ffff", b"", b"\0\xff", [b"\xff", 1.0], bytearray(b"\0\xff"),
    (), (1.0,), [(1.0, -0.0)], {(1, 2.0): 3.0}, {1.0}, frozenset({1.0}), 1j, range(3), ...,
    http.HTTPStatus.OK, {http.HTTPMethod.GET: 1.0}, decimal.Decimal("1.0"), fractions.Fraction(2, 1),
    collections.OrderedDict(a=1.0), collections.Counter(a=1), collections.defaultdict(int, {1.0: 2}),
    nested(-0.0, DEEPEST, in_dicts=False), nested(1.0, DEEPEST, in_dicts=True), nested(1.0, 200, in_dicts=False),
)  # fmt: skip
OF_OWN_CLASSES: tuple[Any, ...] = (
    Celsius(1.0), Celsius(-0.0), Name("x"), Row([1.0]), Blob(b"x"), Size(1), Colour.RED, Settings(a=1.0),
    [1.0, Celsius(1.0), Size(1), 1, Colour.RED], {Name("x"): 1.0, Size(2): -0.0}, {"x": [Row(), Settings(), 0.0]},
)  # fmt: skip

numbers = st.one_of(
    st.integers(),
    st.integers(-(2**64), 2**65),
    st.integers(-(2**70), 2**70).map(float),
    st.floats(),
    st.integers(0, 2**64 - 1).map(of_bits),
)
texts = st.text(st.characters(codec=None, categories=None))  # with lone surrogates
keys = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=40))
leaves = keys | st.sampled_from([edge for edge in EDGES if edge.__hash__ is not None])
values = st.recursive(
    leaves | st.binary(max_size=10).map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.dictionaries(keys | st.tuples(keys), inner, max_size=20),
        st.lists(inner, max_size=3).map(tuple),
        st.builds(nested, inner, st.integers(0, DEEPEST), in_dicts=st.booleans()),
    ),
    max_leaves=30,
)


def shape(value: object) -> object:
    """Equal for what is of one type, equal and of the same bits."""
    content: object = value
    if isinstance(value, float):
        content = struct.pack("<d", value)
    elif isinstance(value, (list, tuple)):
        content = [shape(item) for item in value]
    elif isinstance(value, dict):
        content = [(shape(key), shape(item)) for key, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        content = {shape(item) for item in value}
    return type(value), content


@given(
    values | st.sampled_from(OF_OWN_CLASSES) | st.lists(values | st.sampled_from(OF_OWN_CLASSES))
)
@settings(deadline=None)
def test_what_is_decoded_is_what_was_encoded(pickling, value):
    assert shape(_core.decode(_core.encode(value))) == shape(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, b"\1\xc3"),
        (b"ab", b"\0ab"),
        ((), b"\4\x91\xc7\0\1"),
        ((1, 2), b"\4\x93\xc7\0\1\1\2"),
        ([(1,), {(2,): None}], b"\4\x92\x92\xc7\0\1\1\x81\x92\xc7\0\1\2\xc0"),
        ([[]], b"\1\x91\x90"),
    ],
)
def test_plain_data_is_not_pickled(value, message):
    assert _core.encode(value) == message
    assert shape(_core.decode(message)) == shape(value)


@pytest.mark.parametrize(
    "message", [b"\1\x91\xc7\0\1", b"\4\xc7\0\1", b"\4\x91\xc7\0\2", b"\4\x91\xd4\1\0"]
)
def test_an_extension_that_marks_no_tuple_is_an_error(message):
    with pytest.raises(ValueError, match="extension type, which klaw does not send"):
        _core.decode(message)


@pytest.fixture(scope="module")
def drawn():
    """The same in each run; what fails for a flavour alone is no matter of the value."""
    found = []

    @given(values)
    @settings(max_examples=DRAWN, derandomize=True, deadline=None, phases=[Phase.generate])
    def draw(value):
        found.append(value)

    draw()
    return [*EDGES, *found]


async def test_a_queue_carries_values_of_all_types(open_channel, drawn):
    tx, rx = await open_channel(3)
    for value in [*drawn, *OF_OWN_CLASSES]:
        await tx.send(value)
        assert shape(await rx.recv()) == shape(value)


async def test_a_batch_carries_values_of_all_types(open_channel, drawn):
    tx, rx = await open_channel(None)
    await tx.send_batch(drawn)
    found = []
    while len(found) < len(drawn):
        found += await rx.recv_batch(len(drawn))
    assert shape(found) == shape(drawn)


async def test_each_other_flavour_carries_values_of_all_types(open_any, drawn):
    tx, rx = await open_any()
    wanted = [*drawn, *OF_OWN_CLASSES]
    for value in [wanted] if open_any.flavour.is_once else [*wanted, wanted]:
        await tx.send(value)
        assert shape(await open_any.receive_one(rx)) == shape(value)


@pytest.mark.needs("identified")
async def test_plain_calls_of_the_actor_carry_values_of_all_types(open_channel, drawn):
    tx, _ = await open_channel(None)
    actor = tx._channel.owner.actor
    assert await actor.put_batch.remote(drawn) == "ok"
    assert shape(await actor.get_batch.remote(len(drawn))) == shape(("ok", drawn))


@pytest.mark.needs("identified")
async def test_a_memoryview_arrives_as_bytes_like_in_any_pickle_of_rays(open_channel):
    tx, rx = await open_channel(None)
    await tx.send([memoryview(b"seen"), 1.0])
    assert shape(await rx.recv()) == shape([b"seen", 1.0])
