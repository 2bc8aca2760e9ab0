"""The table of flavours says what the handles have, no more and no less, and every entry of it is tested."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from klaw_core.runtime.channels import ChannelReceiver, ChannelSender, protocols

SENDER, RECEIVER = 0, 1


def members_of(protocol: type) -> set[str]:
    return {
        name
        for name, member in vars(protocol).items()
        if (callable(member) or isinstance(member, property))
        and name not in ("__init__", "__subclasshook__", "__class_getitem__")
    }


@pytest.mark.parametrize(
    ("protocol", "side"), [(ChannelSender, SENDER), (ChannelReceiver, RECEIVER)], ids=["tx", "rx"]
)
def test_every_method_of_the_matrix_belongs_to_exactly_one_capability(table, protocol, side):
    assert protocol.__module__ == protocols.__name__
    for member in members_of(protocol):
        owners = [name for name, sides in table.methods.items() if member in sides[side]]
        assert len(owners) == 1, f"{member}: {owners}"


async def test_handles_have_what_the_table_says_and_nothing_else(table, flavour, open_channel):
    handles = await open_channel()
    for side, handle in enumerate(handles):
        for name, sides in table.methods.items():
            for member in sides[side]:
                has = name in flavour.offers
                assert hasattr(handle, member) is has, f"{name}: {member}"
        listed = {member for sides in table.methods.values() for member in sides[side]}
        own = set(dir(handle)) - set(dir(object)) - table.other_members
        own = {name for name in own if name.startswith("__") or not name.startswith("_")}
        assert own <= listed, f"in no capability: {own - listed}"


async def test_other_flavours_have_what_their_table_says_and_nothing_else(table, other_flavour):
    handles = await other_flavour.make()
    for side, handle in enumerate(handles):
        common = {m for name in table.common_capabilities for m in table.methods[name][side]}
        particular = (other_flavour.sender, other_flavour.receiver)[side]
        own = set(dir(handle)) - set(dir(object)) - table.other_members
        own = {name for name in own if name.startswith("__") or not name.startswith("_")}
        assert own == common | particular
        handle.close()


def test_every_capability_that_a_flavour_offers_is_needed_by_a_test(table):
    needed = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "needs":
                needed |= {argument.value for argument in node.args}
    offered = frozenset().union(*(flavour.offers for flavour in table.flavours))
    assert offered <= table.capabilities
    assert offered - needed == set()


def test_flavours_have_names_of_their_own(table):
    names = [flavour.name for flavour in table.flavours]
    assert len(set(names)) == len(names)
