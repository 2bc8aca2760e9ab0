"""What type checkers must accept and infer: select, narrowed by the index."""

from __future__ import annotations

from typing import Literal, assert_type

from klaw_core.runtime.channels import ChannelReceiver, blocking_select, select, select_all


async def match_narrows(numbers: ChannelReceiver[int], names: ChannelReceiver[str]) -> str:
    match await select(numbers, names, timeout=1.0):
        case (0, number):
            assert_type(number, int)
            return str(number + 1)
        case (1, name):
            assert_type(name, str)
            return name.upper()


async def the_index_narrows_the_pair(a: ChannelReceiver[int], b: ChannelReceiver[str]) -> None:
    picked = await select(a, b, biased=True)
    assert_type(picked, tuple[Literal[0], int] | tuple[Literal[1], str])
    if picked[0] == 0:
        assert_type(picked[1], int)
    else:
        assert_type(picked[1], str)


def the_blocking_twin(a: ChannelReceiver[int], b: ChannelReceiver[bytes]) -> bytes:
    match blocking_select(a, b, timeout=1):
        case (0, number):
            return bytes(number)
        case (1, data):
            return data


async def up_to_six(a: ChannelReceiver[int], b: ChannelReceiver[str]) -> None:
    assert_type(await select(a), tuple[Literal[0], int])
    match await select(a, b, a, b, a, b):
        case (0 | 2 | 4, number):
            assert_type(number, int)
        case (1 | 3 | 5, text):
            assert_type(text, str)


async def any_number_of_one_type(many: list[ChannelReceiver[int]]) -> None:
    index, value = await select(*many)
    assert_type(index, int)
    assert_type(value, int)
    assert_type(blocking_select(*many), tuple[int, int])


async def all_of_them(a: ChannelReceiver[int], b: ChannelReceiver[str]) -> None:
    async for pair in select_all(a, b, biased=True):
        assert_type(pair, tuple[Literal[0], int] | tuple[Literal[1], str])
    for index, value in select_all(*[a, a]):
        assert_type(index, int)
        assert_type(value, int)
