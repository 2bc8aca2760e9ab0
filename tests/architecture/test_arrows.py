"""The arrows of docs/architecture.md: who may include or import whom.

Each check is a function of a source tree that returns what is wrong with it. It runs on the real tree, where it must
find nothing, and on a tree with one broken arrow, which it must find.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The doors to threads: include/klaw/channels/detail/sync.hpp is the only header that opens them.
THREAD_HEADERS = {
    "atomic", "barrier", "condition_variable", "future", "latch", "mutex", "semaphore",
    "shared_mutex", "stop_token", "thread", "pthread.h",
}  # fmt: skip
SYNC = "include/klaw/channels/detail/sync.hpp"
UMBRELLA = "klaw/channels.hpp"

# Folder: patterns of what its files may include; std is always allowed. The first folder that fits a file counts.
TOP = r"klaw/(result|errors|version)\.hpp"
# All but those that need a library of their user's.
CONCEPTS = r"klaw/channels/(?!asio\.)\w+\.hpp"
VOCABULARY = r"klaw/channels/(payload|protocols|stats)\.hpp"
DETAIL = r"klaw/channels/detail/\w+\.hpp"
CORE_OF_DATAPLANE = [TOP, DETAIL, r"klaw/channels/(payload|stats)\.hpp"]
WIRE = r"dataplane/wire/\w+\.hpp"
AUTH = r"dataplane/auth/\w+\.hpp"
IO = r"dataplane/io/\w+\.hpp"
ASIO = r"asio/.+\.hpp"
SYSTEM = r"(pthread|signal|unistd|sys/\w+)\.h"
BINDINGS = [
    TOP,
    UMBRELLA,
    CONCEPTS,
    DETAIL,
    SYSTEM,
    r"nanobind/.*",
    r"(Python|structmember|cxxabi)\.h",
]
MAY_INCLUDE = {
    "include/klaw/channels.hpp": [TOP, CONCEPTS],
    "include/klaw/channels/detail/sync.hpp": [DETAIL, r"(linux|sys)/\w+\.h", r"(time|unistd)\.h"],
    "include/klaw/channels/detail/": [TOP, VOCABULARY, DETAIL],
    "include/klaw/channels/asio.hpp": [TOP, CONCEPTS, DETAIL, ASIO],
    "include/klaw/channels/": [TOP, CONCEPTS, DETAIL],
    "include/klaw/": [TOP],
    "python/bindings/await/": [*BINDINGS, IO, r"await/\w+\.hpp"],
    "python/bindings/handles/": [*BINDINGS, r"(await|handles)/\w+\.hpp"],
    "python/bindings/local/": [*BINDINGS, r"(await|handles|local)/\w+\.hpp"],
    "python/bindings/remote/": [
        *BINDINGS,
        WIRE,
        AUTH,
        IO,
        r"dataplane/(link|dialer|server|ticket)/\w+\.hpp",
        r"msgpack\.hpp",
        r"(await|handles|remote)/\w+\.hpp",
    ],
    "python/bindings/": [*BINDINGS, r"(await|handles|local|remote)/\w+\.hpp", r"select\.hpp"],
    "src/dataplane/wire/": [*CORE_OF_DATAPLANE, WIRE, r"xxhash\.h"],
    "src/dataplane/broker/": [*CORE_OF_DATAPLANE, WIRE, r"dataplane/broker/\w+\.hpp"],
    "src/dataplane/link/": [*CORE_OF_DATAPLANE, WIRE, r"dataplane/link/\w+\.hpp"],
    "src/dataplane/auth/": [*CORE_OF_DATAPLANE, WIRE, AUTH, r"openssl/\w+\.h"],
    "src/dataplane/ticket/": [*CORE_OF_DATAPLANE, WIRE, AUTH, r"dataplane/ticket/\w+\.hpp"],
    "src/dataplane/io/": [*CORE_OF_DATAPLANE, WIRE, IO, ASIO, r"openssl/crypto\.h", SYSTEM],
    "src/dataplane/server/": [
        *CORE_OF_DATAPLANE,
        WIRE,
        AUTH,
        IO,
        ASIO,
        SYSTEM,
        r"dataplane/(broker|plain|server)/\w+\.hpp",
    ],
    "src/dataplane/dialer/": [
        *CORE_OF_DATAPLANE,
        WIRE,
        AUTH,
        IO,
        ASIO,
        SYSTEM,
        r"dataplane/(link|dialer|ticket)/\w+\.hpp",
    ],
    "src/ray/plugin/plugin.h": [r"std(def|int)\.h"],
    "src/ray/plugin/plugin.cpp": [r"ray/api\.h", r"ray/plugin/plugin\.h", SYSTEM],
    "src/ray/plugin/": [
        TOP,
        SYSTEM,
        r"(dlfcn|fcntl|netdb|poll|spawn)\.h",
        r"msgpack\.hpp",
        r"ray/plugin/(loader|names|probe)\.hpp",
        r"ray/plugin/plugin\.h",
    ],
    "src/dataplane/plain/": [*CORE_OF_DATAPLANE, WIRE, r"dataplane/(broker|link|plain)/\w+\.hpp"],
}
# These rooms see of the world what their driver tells them, so that a simulator can be the driver.
PURE_ROOMS = tuple(f"src/dataplane/{room}/" for room in ("wire", "broker", "link", "plain"))
THE_WORLD = re.compile(
    r"<(?:ctime|filesystem|fstream|iostream|random)>|\w*_clock::now|\brandom_device"
)
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
STD_HEADER = re.compile(r"[a-z_0-9]+")


def cpp_violations(root: Path) -> Iterator[str]:
    sources = [
        path
        for folder in ("include", "src", "python/bindings")
        for pattern in ("*.?pp", "*.h")
        for path in (root / folder).rglob(pattern)
    ]
    for path in sorted(sources):
        name = path.relative_to(root).as_posix()
        room = next((room for room in MAY_INCLUDE if name.startswith(room)), None)
        if room is None:
            yield f"{name} is in no room: add its folder to MAY_INCLUDE, as docs/architecture.md has it"
            continue
        text = path.read_text()
        if name.startswith(PURE_ROOMS):
            for used in THE_WORLD.findall(text):
                yield f"{name} uses {used}: its driver has to tell it"
        for header in INCLUDE.findall(text):
            if header in THREAD_HEADERS:
                if name.startswith(("include/", *PURE_ROOMS)) and name != SYNC:
                    yield f"{name} includes <{header}>: only {SYNC} may"
            elif not STD_HEADER.fullmatch(header) and not any(
                re.fullmatch(p, header) for p in MAY_INCLUDE[room]
            ):
                yield f"{name} includes {header}"


# Module: what it may import from klaw_core, as prefixes; std is always allowed. The longest prefix that fits counts.
CHANNELS = "klaw_core.runtime.channels"
RAY = f"{CHANNELS}.ray"
FACTORY = f"{CHANNELS}.factory"
COMMAND = f"{CHANNELS}.command"
CORE = "klaw_core._core"
ERRORS = [CORE, "klaw_core.result", "klaw_core.runtime.errors"]
WORDS = [*ERRORS, f"{CHANNELS}.protocols", f"{CHANNELS}.stats", f"{CHANNELS}.errors"]
MAY_IMPORT = {
    "klaw_core": ["klaw_core"],
    "klaw_core.result": [CORE],
    "klaw_core.runtime": ["klaw_core"],
    "klaw_core.runtime.errors": [CORE, "klaw_core.result"],
    CHANNELS: [*ERRORS, CHANNELS],
    f"{CHANNELS}.protocols": WORDS,
    f"{CHANNELS}.stats": ERRORS,
    f"{CHANNELS}.errors": ERRORS,
    f"{CHANNELS}.checks": [],
    f"{CHANNELS}.settings": [f"{CHANNELS}.checks"],
    f"{CHANNELS}.tls": [],
    f"{CHANNELS}.pickling": [CORE],
    # Not making, which loads Ray's factory: that would be a circle.
    RAY: [
        *WORDS,
        *(f"{CHANNELS}.{module}" for module in ("checks", "pickling", "select", "settings", "tls")),
        RAY,
    ],
}


def longest_prefix(name: str, prefixes: dict[str, list[str]]) -> str:
    return max((p for p in prefixes if name == p or name.startswith(p + ".")), key=len)


def is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


class Imports(ast.NodeVisitor):
    """Collects (imported module, when, line) of one module; relative names are made absolute.

    When: at its own "import", when a function is "called", or never: for "typing" only.
    """

    def __init__(self, module: str, modules: frozenset[str], *, is_package: bool) -> None:
        self.package = module.split(".") if is_package else module.split(".")[:-1]
        self.modules = modules
        self.found: list[tuple[str, str, int]] = []
        self.when = "import"

    def visit_during(self, when: str, nodes: list[ast.stmt]) -> None:
        before, self.when = self.when, when
        for node in nodes:
            self.visit(node)
        self.when = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_during("call", node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        is_typing = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        self.visit_during("typing" if is_typing else self.when, node.body)
        self.visit_during(self.when, node.orelse)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append((alias.name, self.when, node.lineno))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package[: len(self.package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            # `from package import module` imports the module, which is seen by its being one of ours.
            full = f"{module}.{alias.name}"
            self.found.append((full if full in self.modules else module, self.when, node.lineno))


def why_not(module: str, imported: str, when: str) -> str | None:
    top = imported.partition(".")[0]
    return (
        why_not_ours(module, imported, when)
        if top == "klaw_core"
        else why_not_foreign(module, top, (imported, when))
    )


def why_not_foreign(module: str, top: str, imported_when: tuple[str, str]) -> str | None:
    if top == "ray":
        return None if is_below(module, RAY) else "only python/klaw_core/runtime/channels/ray/ may"
    if top in {"typer", "rich"} and is_below(module, COMMAND) and module != COMMAND:
        return None
    available = top in sys.stdlib_module_names or imported_when == ("typing_extensions", "typing")
    return None if available else "it is not installed with klaw"


def why_not_ours(module: str, imported: str, when: str) -> str | None:
    if is_below(imported, RAY) and not is_below(module, RAY):
        return (
            None if when == "call" else "Ray is for when it is asked for: import it in a function"
        )
    if is_below(imported, COMMAND) and not is_below(module, COMMAND):
        return "the command is above it"
    if is_below(imported, COMMAND) and module == COMMAND and when != "call":
        return "it looks first whether typer and rich are installed"
    if is_below(imported, FACTORY) and module not in {CHANNELS, FACTORY}:
        return "the factory is above it"
    allowed = MAY_IMPORT[longest_prefix(module, MAY_IMPORT)]
    return None if any(is_below(imported, prefix) for prefix in allowed) else "it is not below it"


def python_violations(root: Path) -> Iterator[str]:
    base = root / "python"
    paths = {}
    for path in sorted((base / "klaw_core").rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    modules = frozenset(paths) | {CORE}
    for module, path in paths.items():
        imports = Imports(module, modules, is_package=path.name == "__init__.py")
        imports.visit(ast.parse(path.read_text()))
        for imported, when, line in imports.found:
            if why := why_not(module, imported, when):
                yield f"{path.relative_to(root)}:{line} imports {imported}: {why}"


def test_no_include_breaks_an_arrow():
    assert list(cpp_violations(ROOT)) == []


def test_no_import_breaks_an_arrow():
    assert list(python_violations(ROOT)) == []


def test_the_checked_trees_are_not_empty():
    assert (ROOT / SYNC).exists()
    assert (ROOT / "include" / UMBRELLA).exists()
    assert (ROOT / PURE_ROOMS[0] / "frame.hpp").exists()
    assert (ROOT / "python/klaw_core/runtime/channels/factory.py").exists()


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("include/klaw/errors.hpp", "<klaw/channels/local.hpp>"),
        ("include/klaw/errors.hpp", "<mutex>"),
        ("include/klaw/channels.hpp", "<klaw/channels/detail/ring.hpp>"),
        ("include/klaw/channels.hpp", "<klaw/channels/asio.hpp>"),
        ("include/klaw/channels/local.hpp", "<klaw/channels.hpp>"),
        ("include/klaw/channels/local.hpp", "<atomic>"),
        ("include/klaw/channels/local.hpp", "<Python.h>"),
        ("include/klaw/channels/local.hpp", "<asio/post.hpp>"),
        ("include/klaw/channels/asio.hpp", "<asio.hpp>"),
        ("include/klaw/channels/ray.hpp", "<ray/api.h>"),
        ("include/klaw/channels/ray.hpp", '"../../../src/ray/plugin.hpp"'),
        ("include/klaw/channels/detail/ring.hpp", "<klaw/channels/local.hpp>"),
        ("include/klaw/channels/detail/ring.hpp", "<thread>"),
        ("include/klaw/channels/detail/ring.hpp", "<stop_token>"),
        ("include/klaw/channels/detail/ring.hpp", "<sys/syscall.h>"),
        ("python/bindings/select.cpp", "<ray/api.h>"),
        ("python/bindings/await/operation.cpp", '"handles/handle.hpp"'),
        ("python/bindings/handles/handle.cpp", '"local/flavour.hpp"'),
        ("python/bindings/handles/handle.cpp", '"remote/remote_ops.hpp"'),
        ("python/bindings/local/mpmc.cpp", '"remote/remote.hpp"'),
        ("python/bindings/local/mpmc.cpp", "<msgpack.hpp>"),
        ("python/bindings/remote/remote_watch.cpp", '"local/watch.hpp"'),
        ("src/dataplane/wire/codec.cpp", "<dataplane/broker/broker.hpp>"),
        ("src/dataplane/wire/codec.hpp", "<klaw/channels.hpp>"),
        ("src/dataplane/broker/broker.cpp", "<dataplane/link/link.hpp>"),
        ("src/dataplane/broker/broker.cpp", "<klaw/channels/mpmc.hpp>"),
        ("src/dataplane/broker/broker.cpp", "<sys/socket.h>"),
        ("src/dataplane/broker/broker.cpp", "<xxhash.h>"),
        ("src/dataplane/link/link.cpp", "<dataplane/broker/broker.hpp>"),
        ("src/dataplane/link/link.cpp", "<Python.h>"),
        ("src/dataplane/link/link.cpp", "<asio.hpp>"),
        ("src/dataplane/link/link.cpp", "<mutex>"),
        ("src/dataplane/link/link.cpp", "<random>"),
        ("src/dataplane/auth/handshake.cpp", "<dataplane/io/connection.hpp>"),
        ("src/dataplane/io/connection.cpp", "<dataplane/broker/broker.hpp>"),
        ("src/dataplane/server/server.cpp", "<dataplane/link/link.hpp>"),
        ("src/dataplane/dialer/dialer.cpp", "<dataplane/broker/broker.hpp>"),
        ("src/ray/plugin/names.cpp", "<ray/api.h>"),
        ("src/ray/plugin/names.cpp", "<klaw/channels/mpmc.hpp>"),
        ("src/ray/plugin/plugin.cpp", "<klaw/errors.hpp>"),
        ("src/ray/plugin/plugin.h", "<klaw/channels/mpmc.hpp>"),
        ("src/unknown_room/file.cpp", "<vector>"),
    ],
)
def test_a_broken_include_is_found(tmp_path: Path, path: str, include: str):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"#pragma once\n#include <vector>\n#  include {include}\n")
    assert len(list(cpp_violations(tmp_path))) == 1


@pytest.mark.parametrize("room", PURE_ROOMS)
@pytest.mark.parametrize("code", ["std::chrono::steady_clock::now()", "std::random_device{}()"])
def test_a_state_machine_that_looks_at_the_world_is_found(tmp_path: Path, room: str, code: str):
    file = tmp_path / room / "file.cpp"
    file.parent.mkdir(parents=True)
    file.write_text(f"const auto seen = {code};\n")
    assert len(list(cpp_violations(tmp_path))) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("factory.py", "import ray"),
        ("factory.py", "def f():\n    import ray"),
        ("factory.py", "import ray.util.queue as q"),
        ("factory.py", "from klaw_core.runtime.channels.ray import RaySender"),
        ("factory.py", "from .ray import RaySender"),
        ("factory.py", "from . import ray"),
        ("factory.py", "import numpy"),
        ("factory.py", "def f():\n    import rich"),
        ("factory.py", "def f():\n    from .command import main"),
        ("command/__init__.py", "import rich"),
        ("command/__init__.py", "from .app import app"),
        ("command/app.py", "import ray"),
        ("command/app.py", "import click"),
        ("command/app.py", "from klaw_core.runtime.channels.factory import channel"),
        ("factory.py", "import typing_extensions"),
        ("factory.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ray"),
        ("factory.py", "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import ray"),
        ("__init__.py", "from .ray import RaySender"),
        ("protocols.py", "from .local import LocalSender"),
        ("stats.py", "from klaw_core.runtime.channels import factory"),
        ("local.py", "from .factory import channel"),
        ("ray/core.py", "from ..local import LocalSender"),
        ("ray/core.py", "from ..making import chosen_backend"),
        ("checks.py", "from .settings import NAMESPACE_DEFAULT"),
        (
            "ray/core.py",
            "async def f():\n    from klaw_core.runtime.channels.factory import channel",
        ),
        ("../errors.py", "from .channels import protocols"),
        ("../../result.py", "from klaw_core.runtime import errors"),
    ],
)
def test_a_broken_import_is_found(tmp_path: Path, path: str, code: str):
    channels = tmp_path / "python/klaw_core/runtime/channels"
    (channels / "ray").mkdir(parents=True)
    (channels / "command").mkdir()
    for name in (
        "ray/__init__",
        "command/__init__",
        "command/app",
        "checks",
        "factory",
        "local",
        "making",
        "protocols",
        "settings",
        "../errors",
        "../__init__",
        "__init__",
    ):
        (channels / f"{name}.py").touch()
    (channels / path).write_text(f"import asyncio\n{code}\n")
    assert len(list(python_violations(tmp_path))) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("factory.py", "def f():\n    from .ray import ray_channel"),
        (
            "factory.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing_extensions import TypeVar",
        ),
        ("factory.py", "from klaw_core import _core\nfrom .local import LocalSender"),
        ("command/__init__.py", "def f():\n    from .app import app"),
        (
            "command/app.py",
            "import typer\nfrom klaw_core.runtime.channels import channel\nfrom . import tables",
        ),
        (
            "ray/core.py",
            "import ray\nfrom ray.util import queue\nfrom ..protocols import Sender\nfrom . import actor",
        ),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path: Path, path: str, code: str):
    channels = tmp_path / "python/klaw_core/runtime/channels"
    (channels / "ray").mkdir(parents=True)
    (channels / "command").mkdir()
    for name in (
        "ray/__init__",
        "ray/actor",
        "command/__init__",
        "command/tables",
        "local",
        "protocols",
    ):
        (channels / f"{name}.py").touch()
    (channels / path).write_text(code)
    assert list(python_violations(tmp_path)) == []


def test_no_test_folder_is_a_package():
    # It would put its parent on sys.path, where a folder named ray or select hides the real module.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
