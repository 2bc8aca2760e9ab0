"""The factory: channels made or found, on the backend asked for, with the errors of the contract."""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import inspect
import math
import pickle
import pydoc
import sys
import warnings
from pathlib import Path

import pytest

from klaw_core.runtime import channels
from klaw_core.runtime.channels import (
    ChannelReceiver,
    ChannelSender,
    LocalReceiver,
    LocalSender,
    blocking_channel,
    blocking_channel_stats,
    blocking_get_channel,
    blocking_get_receiver,
    blocking_get_sender,
    blocking_peek_channel,
    channel,
    channel_stats,
    delete_channel,
    get_channel,
    get_receiver,
    get_sender,
    list_channels,
    making,
    peek_channel,
)
from klaw_core.runtime.channels.settings import ChannelSettings

MAKERS = [channel, blocking_channel]
FINDERS = [
    get_channel,
    blocking_get_channel,
    get_sender,
    blocking_get_sender,
    get_receiver,
    blocking_get_receiver,
    channel_stats,
    blocking_channel_stats,
    peek_channel,
    blocking_peek_channel,
    delete_channel,
]
WAITERS = [get_sender, blocking_get_sender, get_receiver, blocking_get_receiver]

each_maker = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
each_finder = pytest.mark.parametrize("find", FINDERS, ids=lambda find: find.__name__)

NOT_INSTALLED = "Ray not installed."
IGNORED_NAME = r"^name is ignored by the local backend; did you mean backend='ray'\?$"


async def made(result):
    """What either twin made: the awaited one is awaited."""
    return await result if inspect.isawaitable(result) else result


async def made_in_a_thread(make, *arguments, **options):
    """As made(), called where no event loop runs: on Ray the blocking twins refuse a thread with one."""
    return await made(await asyncio.to_thread(make, *arguments, **options))


@pytest.fixture
def ray_factory(with_ray, monkeypatch):
    """In place of what talks to Ray: the calls that it got. Each gives its own name."""
    calls = []

    class Recorder:
        def __getattr__(self, name):
            return lambda *args, **options: calls.append((name, args, options)) or name

        async def in_thread(self, call):
            return call()

    monkeypatch.setattr(making, "import_module", lambda _module: Recorder())
    return calls


async def capacity_of(result) -> int | None:
    tx, rx = await made(result)
    async with tx, rx:
        assert tx.capacity == rx.capacity
        return tx.capacity


@pytest.fixture
def ray_spec(monkeypatch):
    """Decide what looking for Ray finds; importing it, or looking for anything else, goes on as usual."""
    real_find_spec = importlib.util.find_spec

    def use(spec: importlib.machinery.ModuleSpec | None) -> None:
        monkeypatch.setattr(
            making,
            "find_spec",
            lambda name, package=None: spec if name == "ray" else real_find_spec(name, package),
        )

    return use


@pytest.fixture
def without_ray(ray_spec):
    ray_spec(None)


@pytest.fixture
def with_ray(ray_spec):
    ray_spec(importlib.machinery.ModuleSpec("ray", None, origin="/somewhere/ray/__init__.py"))


# ------------------------------------------------------------------------------------------- making


@each_maker
async def test_it_makes_a_local_channel(make):
    tx, rx = await made(make(4))
    async with tx, rx:
        assert isinstance(tx, LocalSender)
        assert isinstance(rx, LocalReceiver)
        assert tx.same_channel(rx)
        await tx.send("a")
        assert await rx.recv() == "a"


@each_maker
async def test_every_call_makes_a_channel_of_its_own(make):
    tx, rx = await made(make(4))
    other_tx, other_rx = await made(make(4))
    async with tx, rx, other_tx, other_rx:
        assert not tx.same_channel(other_tx)


@each_maker
async def test_the_capacity_is_ten_thousand_unless_told(make):
    assert await capacity_of(make()) == 10_000
    assert await capacity_of(make(8)) == 8
    assert await capacity_of(make(capacity=8)) == 8
    assert await capacity_of(make(0)) == 0


@each_maker
async def test_a_reference_channel_holds_sixteen_unless_told(make):
    assert await capacity_of(make(reference=True)) == 16
    assert await capacity_of(make(10_000, reference=True)) == 10_000


@each_maker
async def test_unbounded_ignores_the_capacity(make):
    assert await capacity_of(make(unbounded=True)) is None
    assert await capacity_of(make(3, unbounded=True)) is None
    assert await capacity_of(make(-1, unbounded=True)) is None


@each_maker
async def test_local_is_the_backend_unless_told_and_wins_over_distributed(make):
    assert await capacity_of(make(1, backend="local")) == 1
    assert await capacity_of(make(1, distributed=False)) == 1
    assert await capacity_of(make(1, backend="local", distributed=True)) == 1


@each_maker
async def test_local_ignores_what_only_ray_has(make, tmp_path):
    result = make(
        2,
        backend="local",
        name="jobs",
        namespace="other",
        confirm=True,
        prefetch=4,
        persistent=True,
        orphan_grace=0,
        checkpoint_dir=tmp_path,
        actor_options={"num_cpus": 1},
    )
    assert await capacity_of(result) == 2


@each_maker
async def test_it_can_be_subscripted_with_any_type_which_means_nothing_at_run_time(make):
    for subscripted in (make[int], make[int | None], make[list[str]], make["Later"]):
        assert await capacity_of(subscripted(3)) == 3


@each_maker
async def test_an_integer_of_another_library_will_do_as_a_capacity(make):
    class Integer:
        def __index__(self) -> int:
            return 5

    assert await capacity_of(make(Integer())) == 5


def test_the_awaited_one_gives_a_coroutine_and_makes_nothing_before_it_is_awaited():
    pending = channel(4)
    assert asyncio.iscoroutine(pending)
    assert pending.__qualname__ == "channel"
    pending.close()


async def test_the_blocking_one_gives_a_plain_pair_also_under_an_event_loop():
    pair = blocking_channel(4)
    assert type(pair) is tuple
    tx, rx = pair
    assert isinstance(tx, ChannelSender)
    assert isinstance(rx, ChannelReceiver)
    tx.send_nowait(1)
    assert rx.recv_nowait() == 1
    await tx.close()
    await rx.close()


@each_maker
def test_it_can_be_pickled_by_name(make):
    assert pickle.loads(pickle.dumps(make)) is make


# --------------------------------------------------------------------- bad arguments, all at the call


@each_maker
@pytest.mark.parametrize("capacity", [-1, -10_000, 2**64], ids=repr)
def test_a_capacity_out_of_range_is_a_value_error(make, capacity):
    with pytest.raises(ValueError, match=f"capacity must be between 0 and .*, got {capacity}"):
        make(capacity)


@each_maker
@pytest.mark.parametrize("capacity", [1.0, "8", None, True, False, [], math.inf], ids=repr)
def test_a_capacity_that_is_no_integer_is_a_type_error(make, capacity):
    with pytest.raises(TypeError, match=f"capacity must be an int, not {type(capacity).__name__}"):
        make(capacity)


@each_maker
@pytest.mark.parametrize("backend", ["x", "", "Local", "RAY", 5], ids=repr)
def test_an_unknown_backend_is_a_value_error_that_names_it(make, backend):
    with pytest.raises(ValueError, match=f"^Unknown backend: {backend!r}$"):
        make(backend=backend)


@each_maker
def test_an_unknown_backend_is_told_also_beside_distributed(make):
    with pytest.raises(ValueError, match=r"^Unknown backend: 'x'$"):
        make(backend="x", distributed=False)


@each_maker
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"distributed": "yes"}, TypeError, "distributed must be a bool, not str"),
        ({"unbounded": 1}, TypeError, "unbounded must be a bool, not int"),
        ({"confirm": None}, TypeError, "confirm must be a bool, not NoneType"),
        ({"reference": "no"}, TypeError, "reference must be a bool, not str"),
        ({"persistent": 0}, TypeError, "persistent must be a bool, not int"),
        ({"name": 5, "backend": "local"}, TypeError, "name must be a str, not int"),
        ({"namespace": None}, TypeError, "namespace must be a str, not NoneType"),
        ({"prefetch": -1}, ValueError, "prefetch must be at least 0, got -1"),
        ({"prefetch": True}, TypeError, "prefetch must be an int, not bool"),
        ({"prefetch": 1.5}, TypeError, "prefetch must be an int, not float"),
        ({"orphan_grace": -1}, ValueError, "orphan_grace must not be negative or NaN, got -1"),
        ({"orphan_grace": math.nan}, ValueError, "orphan_grace must not be negative or NaN"),
        ({"orphan_grace": "1"}, TypeError, "orphan_grace must be a number of seconds, not str"),
        ({"orphan_grace": True}, TypeError, "orphan_grace must be a number of seconds, not bool"),
        ({"checkpoint_dir": 5}, TypeError, "checkpoint_dir must be a path or None, not int"),
        ({"checkpoint_dir": ""}, ValueError, "checkpoint_dir must not be empty"),
        ({"actor_options": []}, TypeError, "actor_options must be a mapping or None, not list"),
    ],
    ids=str,
)
def test_another_bad_argument_is_told_by_name(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@each_maker
def test_an_argument_that_does_not_exist_is_a_type_error(make):
    message = rf"^{make.__name__}\(\) got an unexpected keyword argument 'capcity'$"
    with pytest.raises(TypeError, match=message):
        make(capcity=8)
    with pytest.raises(TypeError, match="positional"):
        make(8, "local")


# ------------------------------------------------------------------------------- the ignored name


@each_maker
async def test_a_name_without_a_backend_warns_where_it_was_called(make):
    with pytest.warns(UserWarning, match=IGNORED_NAME) as caught:
        pair = await made(make(1, name="jobs"))
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match=IGNORED_NAME) as caught:
        await made(make[int](1, name="jobs"))
    assert [warning.filename for warning in caught] == [__file__]
    assert pair[0].capacity == 1


@each_maker
async def test_a_name_beside_a_backend_or_distributed_does_not_warn(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await capacity_of(make(1, name="jobs", backend="local")) == 1
        assert await capacity_of(make(1, name="jobs", distributed=False)) == 1


# --------------------------------------------------------------------------------------------- Ray


@each_maker
@pytest.mark.parametrize(
    "arguments",
    [
        {"backend": "ray"},
        {"distributed": True},
        {"backend": "ray", "distributed": False},
        {"backend": "ray", "name": "jobs"},
    ],
    ids=str,
)
def test_a_ray_channel_without_ray_is_a_runtime_error(make, arguments, without_ray):
    with pytest.raises(
        RuntimeError, match=r"^Ray backend requested but 'ray' is not installed\.$"
    ) as caught:
        make(**arguments)
    assert type(caught.value) is RuntimeError


@each_finder
def test_finding_a_channel_without_ray_is_a_runtime_error(find, without_ray):
    with pytest.raises(RuntimeError, match=f"^{NOT_INSTALLED}$") as caught:
        find("jobs")
    assert type(caught.value) is RuntimeError


def test_listing_channels_without_ray_is_a_runtime_error(without_ray):
    with pytest.raises(RuntimeError, match=f"^{NOT_INSTALLED}$"):
        list_channels()


def test_a_folder_named_ray_is_not_ray(tmp_path, monkeypatch):
    (tmp_path / "ray").mkdir()
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(RuntimeError, match=f"^{NOT_INSTALLED}$"):
        list_channels()


@each_maker
def test_a_reference_channel_with_a_checkpoint_dir_is_told_at_the_call(make, ray_factory):
    with pytest.raises(ValueError, match="a reference channel can't have a checkpoint_dir"):
        make(backend="ray", reference=True, checkpoint_dir="/somewhere")
    assert ray_factory == []


@each_maker
async def test_a_checkpoint_dir_is_the_same_from_anywhere(make, ray_factory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("kept", Path("other", "..", "kept"), tmp_path / "kept"):
        await made_in_a_thread(make, backend="ray", checkpoint_dir=given)
    paths = [settings.checkpoint_dir for _, [settings], _ in ray_factory]
    assert paths == [str(tmp_path / "kept")] * 3


@each_maker
async def test_a_ray_channel_is_made_with_all_its_settings(make, ray_factory):
    settings = {"persistent": True, "orphan_grace": 2.0, "reference": True}
    options = {
        "name": "jobs",
        "namespace": "ns",
        "actor_options": {"num_cpus": 1},
        "prefetch": 3,
    }
    result = await made_in_a_thread(make, 5, backend="ray", **settings, **options)
    assert result == "blocking_make_channel"
    assert ray_factory == [
        ("blocking_make_channel", (ChannelSettings(capacity=5, **settings),), options)
    ]


@each_maker
async def test_a_prefetch_of_zero_is_none(make, ray_factory):
    await made_in_a_thread(make, 5, backend="ray", prefetch=0)
    await made_in_a_thread(blocking_get_receiver, "jobs", prefetch=0)
    assert [options["prefetch"] for _, _, options in ray_factory] == [0, 0]


@each_finder
async def test_a_ray_channel_is_found_by_its_name(find, ray_factory):
    found = await made_in_a_thread(find, "jobs", namespace="ns")
    [(called, args, options)] = ray_factory
    name = find.__name__.removeprefix("blocking_")
    assert (
        found
        == called
        == ("delete_ray_channel" if name == "delete_channel" else f"blocking_{name}")
    )
    assert args == ("jobs",)
    assert options["namespace"] == "ns"


async def test_the_blocking_twins_refuse_a_thread_with_an_event_loop_before_anything_is_done(
    ray_factory,
):
    finders = (
        blocking_get_channel,
        blocking_get_sender,
        blocking_get_receiver,
        blocking_channel_stats,
        blocking_peek_channel,
    )
    with pytest.raises(RuntimeError, match=r"loop .* write: await channel\(\.\.\.\)$"):
        blocking_channel(4, backend="ray")
    for find in finders:
        name = find.__name__.removeprefix("blocking_")
        with pytest.raises(RuntimeError, match=rf"loop .* write: await {name}\(\.\.\.\)$"):
            find("jobs")
    assert ray_factory == []


@each_maker
def test_bad_arguments_are_told_before_ray_is_looked_for(make, without_ray):
    with pytest.raises(ValueError, match="capacity"):
        make(-1, backend="ray")


@each_maker
def test_another_missing_module_is_not_taken_for_a_missing_ray(make, monkeypatch):
    def broken(name: str) -> None:
        raise ModuleNotFoundError(f"{name} needs something else", name="something_else")

    monkeypatch.setattr(making, "find_spec", broken)
    with pytest.raises(ModuleNotFoundError, match="something else"):
        make(backend="ray")


# ------------------------------------------------------------------------------------------ finding


@each_finder
def test_finding_a_channel_is_not_implemented_on_local(find):
    message = rf"^{find.__name__}\(\) only implemented for backend='ray'$"
    with pytest.raises(NotImplementedError, match=message):
        find("jobs", backend="local")


def test_listing_channels_is_not_implemented_on_local():
    message = r"^list_channels\(\) only implemented for backend='ray'$"
    with pytest.raises(NotImplementedError, match=message):
        list_channels(backend="local")


@each_finder
def test_finding_a_channel_on_an_unknown_backend_is_a_value_error(find):
    with pytest.raises(ValueError, match=r"^Unknown backend: 'x'$"):
        find("jobs", backend="x")


@pytest.mark.parametrize("find", FINDERS[:-1], ids=lambda find: find.__name__)
def test_an_argument_that_no_finder_has_is_a_type_error(find):
    message = rf"^{find.__name__}\(\) got an unexpected keyword argument 'nmespace'$"
    with pytest.raises(TypeError, match=message):
        find("jobs", nmespace="ns")


@each_finder
def test_a_name_or_namespace_that_is_no_string_is_a_type_error(find):
    with pytest.raises(TypeError, match="name must be a str, not int"):
        find(5, backend="local")
    with pytest.raises(TypeError, match="namespace must be a str, not NoneType"):
        find("jobs", namespace=None, backend="local")


@pytest.mark.parametrize("find", WAITERS, ids=lambda find: find.__name__)
def test_a_bad_wait_is_told_at_the_call(find):
    for wait in (-1, math.nan):
        with pytest.raises(ValueError, match="wait must not be negative or NaN"):
            find("jobs", wait=wait, backend="local")
    for wait in ("1", None, True):
        with pytest.raises(TypeError, match="wait must be a number of seconds"):
            find("jobs", wait=wait, backend="local")


def test_a_bad_prefetch_or_confirm_is_told_at_the_call():
    for find in (get_receiver, blocking_get_receiver):
        with pytest.raises(ValueError, match="prefetch must be at least 0, got -1"):
            find("jobs", prefetch=-1, backend="local")
    for find in (get_sender, blocking_get_sender):
        with pytest.raises(TypeError, match="confirm must be a bool"):
            find("jobs", confirm=1, backend="local")


def test_a_bad_number_of_messages_to_look_at_is_told_at_the_call():
    for peek in (peek_channel, blocking_peek_channel):
        with pytest.raises(ValueError, match="max_items must be at least 1, got 0"):
            peek("jobs", 0, backend="local")


# -------------------------------------------------------------------------------- signatures, exports


def test_the_makers_have_the_parameters_of_the_contract():
    expected = {
        "capacity": 10_000,
        "distributed": None,
        "backend": None,
        "unbounded": False,
        "name": None,
        "namespace": "klaw",
        "confirm": False,
        "prefetch": None,
        "reference": False,
        "persistent": False,
        "orphan_grace": 10.0,
        "checkpoint_dir": None,
        "actor_options": None,
    }
    for make in MAKERS:
        parameters = inspect.signature(make).parameters.values()
        assert {parameter.name: parameter.default for parameter in parameters} == expected
        kinds = [parameter.kind for parameter in parameters]
        assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("function", [*MAKERS, *FINDERS], ids=lambda function: function.__name__)
def test_help_shows_each_option_with_its_default(function):
    shown = pydoc.plain(pydoc.render_doc(function))
    options = inspect.signature(function).parameters
    assert "namespace" in options
    for option in options.values():
        assert str(option) in shown
    assert "**options" not in str(inspect.signature(function))


def test_the_blocking_twins_have_the_parameters_of_the_awaited_ones():
    for name in (
        "get_channel",
        "get_sender",
        "get_receiver",
        "channel_stats",
        "peek_channel",
        "select",
    ):
        awaited, blocking = getattr(channels, name), getattr(channels, f"blocking_{name}")
        assert inspect.signature(awaited).parameters == inspect.signature(blocking).parameters, name


def test_the_package_exports_everything_sorted_and_nothing_of_ray():
    assert channels.__all__ == sorted(channels.__all__)
    assert len(set(channels.__all__)) == len(channels.__all__)
    for name in channels.__all__:
        assert hasattr(channels, name), name
        assert not name.startswith("Ray"), name


def test_select_is_the_function_also_where_a_module_has_its_name():
    assert inspect.isfunction(channels.select)
    assert inspect.isfunction(channels.blocking_select)


async def test_select_without_receivers_is_told_at_the_call():
    for select in (channels.select, channels.blocking_select):
        with pytest.raises(channels.NoReceiversError, match=r"select\(\) without receivers"):
            select()
