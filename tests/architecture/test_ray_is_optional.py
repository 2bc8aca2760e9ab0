"""Ray is touched only when asked for, and only a real Ray counts as installed.

Each case is an interpreter of its own.
"""

import subprocess
import sys
from pathlib import Path

# Ray is not found, whether it is installed or not; or what a folder of that name on sys.path gives is found.
WITHOUT_RAY = """
import importlib.machinery, sys

class WithoutRay:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name == "ray":
            return importlib.machinery.PathFinder.find_spec(name, sys.argv[1:])
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [WithoutRay(finder) for finder in sys.meta_path]
"""

ASK_FOR_RAY = """
import asyncio
from klaw_core.runtime.channels import channel

async def main():
    try:
        await channel(backend="ray")
    except RuntimeError as error:
        print(error)

asyncio.run(main())
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_channels_loads_no_ray():
    loaded = run(
        "import sys, klaw_core, klaw_core.runtime.channels\n"
        "print([name for name in sys.modules if 'ray' in name.split('.')])"
    )
    assert loaded == "[]"


def test_using_the_local_backend_loads_no_ray():
    loaded = run(
        "import asyncio, sys\n"
        "from klaw_core.runtime.channels import channel\n"
        "async def main():\n"
        "    tx, rx = await channel(1, backend='local')\n"
        "    async with tx, rx:\n"
        "        await tx.send(1)\n"
        "        assert await rx.recv() == 1\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if 'ray' in name.split('.')])"
    )
    assert loaded == "[]"


def test_local_channels_work_where_ray_cannot_be_imported():
    received = run(
        WITHOUT_RAY + "import asyncio\n"
        "from klaw_core.runtime.channels import channel\n"
        "async def main():\n"
        "    tx, rx = await channel(1)\n"
        "    async with tx, rx:\n"
        "        await tx.send('hello')\n"
        "        print(await rx.recv())\n"
        "asyncio.run(main())"
    )
    assert received == "hello"


def test_asking_for_ray_where_it_is_missing_says_so():
    assert run(WITHOUT_RAY + ASK_FOR_RAY) == "Ray backend requested but 'ray' is not installed."


def test_a_folder_named_ray_does_not_count_as_ray(tmp_path: Path):
    (tmp_path / "ray").mkdir()
    namespace_package = (
        WITHOUT_RAY + "import ray\nassert ray.__spec__.origin is None\ndel sys.modules['ray']\n"
    )
    message = run(namespace_package + ASK_FOR_RAY, str(tmp_path))
    assert message == "Ray backend requested but 'ray' is not installed."
