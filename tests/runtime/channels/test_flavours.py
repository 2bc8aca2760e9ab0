"""The factories of oneshot, broadcast and watch: their arguments, their twins, what they are to the rest."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
import warnings
from importlib.machinery import ModuleSpec

import pytest

from klaw_core.runtime import channels
from klaw_core.runtime.channels import (
    blocking_broadcast,
    blocking_oneshot,
    blocking_watch,
    broadcast,
    making,
    oneshot,
    watch,
)
from klaw_core.runtime.channels.settings import ChannelSettings

# Each with the arguments that it needs.
AWAITED = {"oneshot": (), "broadcast": (), "watch": (0,)}
MAKERS = [
    pytest.param(getattr(channels, prefix + name), arguments, id=prefix + name)
    for name, arguments in AWAITED.items()
    for prefix in ("", "blocking_")
]
each_maker = pytest.mark.parametrize(("make", "arguments"), MAKERS)

IGNORED_NAME = r"^name is ignored by the local backend; did you mean backend='ray'\?$"


async def made(result):
    return await result if inspect.isawaitable(result) else result


async def made_in_a_thread(make, *arguments, **options):
    """As made(), called where no event loop runs: on Ray the blocking twins refuse a thread with one."""
    return await made(await asyncio.to_thread(make, *arguments, **options))


async def dispose(result) -> None:
    for handle in await made(result):
        await handle.close()


@each_maker
async def test_it_makes_a_channel_each_time(make, arguments):
    tx, rx = await made(make(*arguments))
    other_tx, other_rx = await made(make(*arguments))
    assert tx.same_channel(rx)
    assert not tx.same_channel(other_rx)
    for handle in (tx, rx, other_tx, other_rx):
        await handle.close()


@each_maker
async def test_it_can_be_subscripted_with_any_type_which_means_nothing_at_run_time(make, arguments):
    await dispose(make[int | None](*arguments))


@each_maker
async def test_local_is_the_backend_unless_told(make, arguments):
    await dispose(make(*arguments, backend="local", name="x", namespace="y"))


@each_maker
def test_ray_is_asked_for_where_it_is_not_installed(make, arguments, monkeypatch):
    monkeypatch.setattr(making, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="^Ray backend requested but 'ray' is not installed.$"):
        make(*arguments, backend="ray", name="x")


@each_maker
async def test_on_ray_it_is_made_there_with_its_name(make, arguments, monkeypatch):
    calls = []

    class Recorder:
        def __getattr__(self, name):
            return lambda *args, **options: calls.append((name, args, options)) or name

        async def in_thread(self, call):
            return call()

    monkeypatch.setattr(
        making, "find_spec", lambda name: ModuleSpec(name, None, origin="/somewhere")
    )
    monkeypatch.setattr(making, "import_module", lambda _module: Recorder())
    flavour = make.__name__.removeprefix("blocking_")
    result = await made_in_a_thread(make, *arguments, backend="ray", name="x")
    assert result == "blocking_make_channel"
    settings = ChannelSettings(kind=flavour, capacity=16 if flavour == "broadcast" else 1)
    options = {"name": "x", "namespace": "klaw"} | ({"initial": 0} if flavour == "watch" else {})
    assert calls == [("blocking_make_channel", (settings,), options)]


@each_maker
def test_an_unknown_backend_is_a_value_error(make, arguments):
    with pytest.raises(ValueError, match="^Unknown backend: 'carrier-pigeon'$"):
        make(*arguments, backend="carrier-pigeon")


@each_maker
def test_an_argument_that_does_not_exist_is_a_type_error(make, arguments):
    message = rf"^{make.__name__}\(\) got an unexpected keyword argument 'nmae'$"
    with pytest.raises(TypeError, match=message):
        make(*arguments, nmae="x")


@each_maker
@pytest.mark.parametrize("argument", ["name", "namespace"])
def test_a_name_or_namespace_that_is_no_string_is_a_type_error(make, arguments, argument):
    with pytest.raises(TypeError, match=f"^{argument} must be a str, not int$"):
        make(*arguments, backend="local", **{argument: 5})


@each_maker
async def test_a_name_without_a_backend_warns_where_it_was_called(make, arguments):
    with pytest.warns(UserWarning, match=IGNORED_NAME) as caught:
        result = make(*arguments, name="x")
    assert caught[0].filename == __file__
    await dispose(result)


@each_maker
def test_it_can_be_pickled_by_name(make, arguments):
    assert pickle.loads(pickle.dumps(make)) is make


@pytest.mark.parametrize("name", AWAITED)
def test_the_awaited_one_gives_a_coroutine_and_makes_nothing_before_it_is_awaited(name, no_leak):
    coroutine = getattr(channels, name)(*AWAITED[name])
    assert inspect.iscoroutine(coroutine)
    assert coroutine.__qualname__ == name
    no_leak()
    with pytest.warns(RuntimeWarning, match=f"'{name}' was never awaited"):
        del coroutine


@pytest.mark.parametrize("make", [broadcast, blocking_broadcast])
@pytest.mark.parametrize("capacity", [True, 1.0, "8", None], ids=repr)
def test_a_capacity_that_is_no_integer_is_a_type_error(make, capacity):
    with pytest.raises(TypeError, match="^capacity must be an int, not "):
        make(capacity)


def test_they_have_the_parameters_of_the_contract():
    common = {"backend": None, "name": None, "namespace": "klaw"}
    empty = inspect.Parameter.empty
    expected = {
        oneshot: common,
        broadcast: {"capacity": 16, "overflow": "lag"} | common,
        watch: {"initial": empty} | common,
    }
    twins = {oneshot: blocking_oneshot, broadcast: blocking_broadcast, watch: blocking_watch}
    for make, parameters in expected.items():
        for twin in (make, twins[make]):
            found = inspect.signature(twin).parameters
            assert {name: each.default for name, each in found.items()} == parameters
            keyword_only = inspect.Parameter.KEYWORD_ONLY
            assert all(found[name].kind is keyword_only for name in [*common])


def test_they_are_what_their_names_say_also_where_modules_have_them():
    for name in AWAITED:
        assert inspect.isclass(getattr(channels, name))
        assert inspect.ismodule(sys.modules[f"{channels.__name__}.{name}"])


def test_no_warning_beside_a_backend():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tx, rx = blocking_oneshot(name="x", backend="local")
    tx.close()
    rx.close()
