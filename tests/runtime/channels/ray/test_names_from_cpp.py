"""Names from C++: a program that loads the Ray plugin finds, makes, lists and deletes them, or says why."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from klaw_core.runtime.channels import (
    blocking_channel,
    blocking_get_channel,
    delete_channel,
    list_channels,
)

FOLDER = Path(__file__).parents[4] / "build/ray/ray"
LIMIT_S = 50
SET_IT = (
    ", and this process is no driver, task or actor of ray-cpp: set it to the cluster's HOST:PORT"
)
AS_THE_CLUSTER = (
    "Set RAY_AUTH_MODE and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) as the cluster has them"
)

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not FOLDER.exists(), reason="make build/stamps/ray-plugin has not built it"),
]


class Program:
    """Runs commands of ``tests/cpp/ray/commands.cpp`` in a process; gives the lines that it writes."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(
        self,
        *commands: str,
        program: str = "klaw_names",
        prefix: str = "",
        fails: bool = False,
        **environment: str | None,
    ) -> list[str]:
        words = " then ".join(f"{prefix} {self.namespace} {command}" for command in commands)
        changed = os.environ | environment
        known = {name: value for name, value in changed.items() if value is not None}
        done = subprocess.run(
            [FOLDER / program, *words.split()],
            env=known, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == int(fails), done
        return done.stdout.splitlines()

    def error(self, command: str = "list", **environment: str | None) -> str:
        [line] = self(command, fails=True, **environment)
        return line


@pytest.fixture
def namespace(ray_cluster: Any) -> Iterator[str]:
    """One of this test's own; its channels are deleted afterwards."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    yield chosen
    for name in list_channels(namespace=chosen):
        delete_channel(name, namespace=chosen)


@pytest.fixture
def cpp(namespace: str) -> Program:
    return Program(namespace)


@pytest.fixture
def end_supervisor(ray: Any, namespace: str) -> Iterator[None]:
    yield
    ray.kill(ray.get_actor("klaw_supervisor", namespace=namespace))


@pytest.fixture
def supervisor(namespace: str, request: pytest.FixtureRequest) -> Any:
    from klaw_core.runtime.channels.ray import get_channel_supervisor

    made = get_channel_supervisor(namespace)
    request.getfixturevalue("end_supervisor")
    return made


@pytest.fixture
def make(namespace: str) -> Callable[..., Any]:
    def make(name: str, *arguments: Any, **settings: Any) -> Any:
        return blocking_channel(
            *arguments, backend="ray", name=name, namespace=namespace, **settings
        )

    return make


def endpoint_words(ray: Any, namespace: str, name: str) -> list[str]:
    """As the program writes them."""
    actor = ray.get_actor(f"channel_{name}", namespace=namespace)
    told = actor.get_endpoint.remote().future().result()  # ray.get() warns in an event loop
    return [
        told["channel"].hex(), str(told["epoch"]), told["secret"].hex(), told["node_id"], told["unix_path"],
        *told["addresses"],
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------- names


def test_it_makes_lists_and_deletes_channels(cpp: Program, namespace: str, supervisor: Any):
    assert cpp("make jobs 5", "make jobs 7", "make more unbounded", "list") == [
        "made", "exists", "made", "jobs more",
    ]  # fmt: skip
    found = blocking_get_channel("jobs", namespace=namespace)
    assert found is not None
    tx, rx = found
    assert tx.capacity == 5
    with tx, rx:
        pass
    assert cpp("delete jobs", "delete jobs", "list") == ["deleted", "missing", "more"]
    assert list_channels(namespace=namespace) == ["more"]


def test_it_finds_what_a_channel_is_and_where(
    cpp: Program, ray: Any, namespace: str, make: Callable[..., Any]
):
    for name, settings, shown in [
        ("bounded", {"capacity": 3}, "mpmc 3"),
        ("without-a-limit", {"unbounded": True}, "mpmc unbounded"),
        ("large", {"reference": True}, "mpmc 16 reference"),
    ]:
        tx, rx = make(name, **settings)
        with tx, rx:
            assert cpp(f"find {name}") == [" ".join([shown, *endpoint_words(ray, namespace, name)])]


def test_a_channel_that_nobody_made_is_missing(cpp: Program):
    assert cpp("find nothing") == ["missing"]


def test_it_tells_that_a_channel_is_used_up(cpp: Program, make: Callable[..., Any]):
    tx, rx = make("over", 3)
    with tx, rx:
        pass
    [line] = cpp("find over")
    assert line.startswith("mpmc 3 used-up ")


async def test_a_channel_is_found_again_after_its_actor_restarted(
    cpp: Program, ray: Any, namespace: str, supervisor: Any, eventually: Any
):
    cpp("make again 3")
    before = endpoint_words(ray, namespace, "again")
    assert cpp("find again") == [" ".join(["mpmc 3", *before])]
    ray.kill(ray.get_actor("channel_again", namespace=namespace), no_restart=False)
    await eventually.true(lambda: endpoint_words(ray, namespace, "again")[1] == "2")
    now = endpoint_words(ray, namespace, "again")
    assert cpp("find again") == [" ".join(["mpmc 3", *now])]
    assert (before[0], before[1]) == (now[0], "1")


@pytest.mark.parametrize("place", ["driver", "task", "actor"])
def test_a_process_of_ray_cpp_uses_the_ray_that_it_has(
    cpp: Program, supervisor: Any, tmp_path: Path, place: str
):
    # A process that had to join the cluster would need the probe beside the plugin.
    alone = shutil.copy(FOLDER / "libklaw_ray_plugin.so", tmp_path)
    commands = ["make jobs 2", "find jobs", "list"]
    lines = cpp(*commands, program="klaw_names_driver", KLAW_RAY_PLUGIN=str(alone), PLACE=place)
    assert [lines[0], lines[1][:6], lines[2]] == ["made", "mpmc 2", "jobs"]


def test_many_threads_may_make_the_first_call_at_once(cpp: Program, supervisor: Any):
    assert sorted(cpp("make jobs 2", prefix="at-once")) == ["exists"] * 7 + ["made"]


def test_bad_arguments_are_told_in_the_words_of_the_supervisor(cpp: Program, supervisor: Any):
    assert cpp.error("make jobs -5").startswith("invalid: capacity must be between 0 and ")
    assert cpp("list") == [""]


# ------------------------------------------------------------------------------------------ errors


def test_without_a_supervisor_it_names_the_command_that_starts_one(
    cpp: Program, namespace: str, request: pytest.FixtureRequest
):
    message = cpp.error("make jobs")
    assert message.startswith(
        f"error: [ray] actor='klaw_supervisor' ns='{namespace}' no channel supervisor runs in namespace '{namespace}': "
        "start it with `klaw supervisor "
    )
    command = message.split("`")[1].split()
    subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]], timeout=LIMIT_S, check=True
    )
    request.getfixturevalue("end_supervisor")
    assert cpp("make jobs") == ["made"]


@pytest.mark.parametrize(
    ("actor", "command", "wanted"),
    [("channel_mine", "find mine", "ChannelActor"), ("klaw_supervisor", "list", "Supervisor")],
)
def test_an_actor_that_is_not_ours_is_not_called(
    cpp: Program, ray: Any, namespace: str, actor: str, command: str, wanted: str
):
    class Foreign:
        def answer(self) -> int:
            return 42

    foreign = ray.remote(num_cpus=0)(Foreign).options(name=actor, namespace=namespace).remote()
    ray.get(foreign.__ray_ready__.remote())
    assert cpp.error(command) == (
        f"error: [ray] actor='{actor}' ns='{namespace}' an actor that is no {wanted} of klaw has this name: "
        "use another name or namespace"
    )
    assert (
        ray.get(foreign.answer.remote()) == 42
    )  # a call of a method that it lacks would have ended it
    ray.kill(foreign)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"protocol": 0, "klaw": "0.0.1"}, "its actor runs klaw 0.0.1 (protocol 0), this process klaw "),
        (["no", "dict"], "its answer is not what this version of klaw ("),
    ],
)  # fmt: skip
def test_an_actor_of_another_klaw_is_told(
    cpp: Program, ray: Any, namespace: str, metadata: object, why: str
):
    class Older:
        def get_metadata(self) -> object:
            return metadata

    Older.__module__ = "klaw_core.runtime.channels.ray.actor"
    Older.__qualname__ = "ChannelActor"
    actor = ray.remote(num_cpus=0)(Older).options(name="channel_old", namespace=namespace).remote()
    assert ray.get(actor.get_metadata.remote()) == metadata
    assert why in cpp.error("find old")
    assert ray.get(actor.get_metadata.remote()) == metadata  # nothing else was called
    ray.kill(actor)


def test_a_forked_process_is_told_that_it_cannot_use_ray(cpp: Program):
    own, forked = (
        line
        for line in subprocess.run(
            [FOLDER / "klaw_names", *f"{cpp.namespace} find x then forked {cpp.namespace} find x".split()],
            capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False,
        ).stdout.splitlines()
    )  # fmt: skip
    assert own == "missing"
    assert forked.endswith(
        "this process was forked from one that uses Ray, and can't use it itself"
    )


def closed_port() -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.2", 0))  # and nobody listens
        yield f"127.0.0.2:{unused.getsockname()[1]}"


def silent_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.2", 0)) as silent:
        yield f"127.0.0.2:{silent.getsockname()[1]}"


@pytest.mark.parametrize(
    ("listener", "why"),
    [
        (closed_port, "Connection refused"),
        (silent_port, "whoever listens there did not answer as Ray does within 20 s"),
    ],
)
def test_an_address_where_no_cluster_is_is_told(
    cpp: Program, listener: Callable[[], Iterator[str]], why: str
):
    for address in listener():
        message = cpp.error(RAY_ADDRESS=address)
        assert message.endswith(f"Ray can't be reached at {address} (RAY_ADDRESS): {why}")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (None, f"RAY_ADDRESS is not set{SET_IT}"),
        ("", f"RAY_ADDRESS is not set{SET_IT}"),
        ("nonsense", "RAY_ADDRESS must be HOST:PORT, not 'nonsense'"),
        ("ray://127.0.0.2:1", "RAY_ADDRESS must be HOST:PORT, not 'ray://127.0.0.2:1'"),
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_told(cpp: Program, address: str | None, why: str):
    assert cpp.error(RAY_ADDRESS=address).endswith(why)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, AS_THE_CLUSTER),
        ({"RAY_AUTH_TOKEN": None, "RAY_AUTH_MODE": None}, AS_THE_CLUSTER),
        ({"RAY_AUTH_TOKEN": None}, "or set the RAY_AUTH_TOKEN environment variable."),
    ],
)  # fmt: skip
def test_a_token_that_the_cluster_refuses_is_told(
    cpp: Program, tmp_path: Path, environment: dict[str, str | None], why: str
):
    message = cpp.error(**environment, HOME=str(tmp_path))
    assert f"Ray can't be reached at {os.environ['RAY_ADDRESS']} (RAY_ADDRESS): " in message
    assert message.endswith(why)


def test_a_missing_plugin_is_told(cpp: Program, tmp_path: Path):
    message = cpp.error(KLAW_RAY_PLUGIN=str(tmp_path / "gone.so"))
    assert f"the Ray plugin is missing: there is no {tmp_path}/gone.so. Build klaw with" in message


def test_a_plugin_without_its_probe_is_told(cpp: Program, tmp_path: Path):
    alone = shutil.copy(FOLDER / "libklaw_ray_plugin.so", tmp_path)
    message = cpp.error(KLAW_RAY_PLUGIN=str(alone), KLAW_RAY_CPP=str(FOLDER / "libray_api.so"))
    assert f"the Ray plugin is incomplete: there is no {tmp_path}/klaw_ray_probe" in message


def test_a_missing_ray_cpp_is_told(cpp: Program, tmp_path: Path):
    message = cpp.error(KLAW_RAY_CPP=str(tmp_path / "libray_api.so"))
    assert f"ray-cpp is missing: {tmp_path}/libray_api.so: cannot open shared object" in message
    assert "Install it (pip install 'ray[cpp]'), and set KLAW_RAY_CPP" in message


def test_an_installed_plugin_needs_nothing_of_the_build(cpp: Program, tmp_path: Path):
    subprocess.run(
        ["cmake", "--install", FOLDER.parent, "--component", "klaw_ray_plugin", "--prefix", tmp_path],
        check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    [plugin] = tmp_path.rglob("libklaw_ray_plugin.so")
    ray_cpp = (FOLDER / "libray_api.so").resolve()
    assert cpp("find x", KLAW_RAY_PLUGIN=str(plugin), KLAW_RAY_CPP=str(ray_cpp)) == ["missing"]


def test_another_library_than_ray_cpp_is_told(cpp: Program):
    file = FOLDER / "libklaw_no_plugin.so"
    assert f"ray-cpp is missing: {file} is another library" in cpp.error(KLAW_RAY_CPP=str(file))


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        ("libklaw_no_plugin.so", "is no Ray plugin of klaw"),
        ("libklaw_other_version.so", "has version 2 of the interface, and this klaw version 1: build both from"),
        ("libklaw_other_abi.so", "the Ray plugin does not fit this ray-cpp"),
    ],
)  # fmt: skip
def test_a_plugin_that_does_not_fit_is_told(cpp: Program, plugin: str, why: str):
    assert why in cpp.error(KLAW_RAY_PLUGIN=str(FOLDER / plugin))
