"""What type checkers must accept: functions against the protocols, and their variance."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Self, TypeVar, assert_type

from klaw_core.runtime.channels import (
    ChannelClosed,
    ChannelEmpty,
    ChannelReceiver,
    ChannelSender,
    LocalReceiver,
    LocalSender,
    Ok,
    Receiver,
    ReferenceReceiver,
    ReferenceSender,
    Result,
    Sender,
    channel,
)

T = TypeVar("T")


class Animal: ...


class Dog(Animal): ...


async def feed(sink: Sender[Dog]) -> None:
    await sink.send(Dog())


async def watch(source: Receiver[Animal]) -> None:
    async for animal in source:
        assert_type(animal, Animal)


async def relay(source: Receiver[T], sink: Sender[T]) -> None:
    async for value in source:
        await sink.send(value)


async def a_channel_is_a_sender_and_a_receiver() -> None:
    dogs, dogs_out = await channel[Dog](8)
    animals, animals_out = await channel[Animal](8)
    await feed(dogs)
    await feed(animals)  # contravariant: who takes any animal takes a dog
    await watch(animals_out)
    await watch(dogs_out)  # covariant: who gives dogs gives animals
    await relay(dogs_out, animals)


def whole_handles_vary_too(tx: ChannelSender[Animal], rx: ChannelReceiver[Dog]) -> None:
    dogs: ChannelSender[Dog] = tx
    animals: ChannelReceiver[Animal] = rx
    large_in: ReferenceSender[Dog] = tx
    large_out: ReferenceReceiver[Dog] = rx
    assert dogs
    assert animals
    assert large_in
    assert large_out


async def a_reference_channel_moves_batches(
    tx: ReferenceSender[bytes], rx: ReferenceReceiver[bytes]
) -> None:
    await tx.send_batch([b"1", b"2"])
    assert_type(await rx.recv_batch(2), list[bytes])


def local_handles_are_channel_handles(tx: LocalSender[int], rx: LocalReceiver[int]) -> None:
    sender: ChannelSender[int] = tx
    receiver: ChannelReceiver[int] = rx
    assert sender.same_channel(receiver)
    assert_type(len(rx), int)


def the_protocols_narrow_at_run_time(handle: object) -> None:
    if isinstance(handle, Receiver):
        handle.close()
    if isinstance(handle, ChannelSender):
        handle.blocking_close()


class Countdown:
    """A receiver of one's own needs no base class."""

    def __init__(self, start: int) -> None:
        self.left = start

    async def recv(self) -> int:
        self.left -= 1
        return self.left

    async def try_recv(self) -> Result[int, ChannelEmpty | ChannelClosed]:
        return Ok(await self.recv())

    def clone(self) -> Self:
        return self

    async def close(self) -> None:
        self.left = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        if self.left == 0:
            raise StopAsyncIteration
        return await self.recv()


async def ones_own_receiver_fits() -> None:
    source: Receiver[int] = Countdown(3)
    pending: Coroutine[object, object, int] = source.recv()
    assert_type(await pending, int)
    assert_type(await anext(source), int)
