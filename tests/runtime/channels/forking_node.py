"""``ray start`` for a node that forks its workers.

    python forking_node.py SOCKET start --head ...    the arguments of ``ray``

Each actor needs a worker: a Python process that imports Ray and all that Ray needs. That takes a third of a second of
CPU time, more than anything else in most tests on Ray. Here Ray starts its workers as ever, but the program that it
takes for Python asks a process of the node to fork. That process has imported what Ray needs, but not Ray, which
reads its settings when it is imported.

Clusters that ``tools/ray_cluster.py`` starts by itself (for the examples, the benchmarks, TLS) start workers as usual.
"""

from __future__ import annotations

# Each worker's start imports this module: what it does not need is imported where it is used.
import json
import os
import socket
import sys

WORKER = "default_worker.py"
REQUEST_BYTES_MAX = 200_000  # arguments and environment
MODULES = "import sys, ray._private.workers.default_worker; print(*sys.modules)"
PYTHON = """\
#!{python} -IS
import sys
sys.path.insert(0, {folder!r})
import forking_node
forking_node.run({python!r}, {path!r}, sys.argv[1:])
"""


def run(python: str, path: str, arguments: list[str]) -> None:
    """Runs Python with these arguments; a worker is forked instead."""
    if not arguments[0].endswith(WORKER):
        os.execv(python, [python, *arguments])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(path)
        request = json.dumps([arguments, dict(os.environ)]).encode()
        socket.send_fds(asking, [request], [0, 1, 2])
        asking.recv(1)  # until it is forked


def serve(listener: socket.socket, node: int) -> tuple[bytes, list[int]]:
    """Forks a worker for each request until the node has ended. Returns in the worker, with its request."""
    import select
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    while node not in select.select([listener, node], [], [])[0]:
        asking, _ = listener.accept()
        with asking:
            request, files, _, _ = socket.recv_fds(asking, REQUEST_BYTES_MAX, 3)
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                os.close(node)
                return request, files
        for file in files:
            os.close(file)
    os._exit(0)


def become_worker(request: bytes, files: list[int]) -> None:
    import runpy

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    arguments, environment = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.path[0] = arguments[0].rpartition("/")[0]
    runpy.run_path(arguments[0], run_name="__main__")


def import_what_ray_needs() -> None:
    import contextlib
    import importlib
    import subprocess

    found = subprocess.run(
        [sys.executable, "-c", MODULES], capture_output=True, text=True, check=True
    )
    for name in found.stdout.split():
        if name.partition(".")[0] not in ("__main__", "ray"):
            with contextlib.suppress(ImportError):  # some are found by way of Ray alone
                importlib.import_module(name)


def write_python(path: str) -> str:
    """Writes the program that Ray takes for Python."""
    from pathlib import Path

    program = Path(f"{path}.python")
    folder = str(Path(__file__).parent)
    program.write_text(PYTHON.format(python=sys.executable, folder=folder, path=path))
    program.chmod(0o755)
    return str(program)


def main() -> None:
    from pathlib import Path

    path, *arguments = sys.argv[1:]
    Path(path).unlink(missing_ok=True)  # of a lost node that had this address
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(1000)
    import_what_ray_needs()
    node, held = os.pipe()  # this process holds the other end, until it ends, however it does
    if os.fork() == 0:
        os.close(held)
        become_worker(*serve(listener, node))
        return
    listener.close()
    from ray.scripts.scripts import main as ray_command

    sys.executable = write_python(path)
    # No driver of the tests asks for its workers' logs, and reading them costs a tenth of the CPU time.
    sys.argv = ["ray", *arguments, "--include-log-monitor=false"]
    ray_command()


if __name__ == "__main__":
    main()
