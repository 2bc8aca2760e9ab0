"""A Ray cluster of our own on loopback, for demos, benchmarks and tests.

    python tools/ray_cluster.py COMMAND...    runs it on a cluster of two nodes (RAY_ADDRESS is set)

The head node is at 127.0.0.2, others at 127.0.0.3 and on, with a port, a temporary folder and a token of
their own, so it is in the way of no other cluster. What it started ends with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

HEAD_IP = "127.0.0.2"
SECOND_IP = "127.0.0.3"
START_LIMIT_S = 120.0
CPUS_PER_NODE = 4


class RayCluster:
    """Start nodes with ``start_head`` and ``start_node``; ``with`` stops them all.

    Sets this process's environment for Ray. ``import ray`` only after that: it reads the token once.
    """

    def __init__(self, object_store_bytes: int = 100_000_000, node: Path | None = None) -> None:
        self._object_store_bytes = object_store_bytes  # on each node
        self._node = node  # a program that starts nodes in place of ``ray``
        self.folder = tempfile.mkdtemp(prefix="kr-", dir="/tmp")
        self.address = f"{HEAD_IP}:{_free_port()}"
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SCHEDULER_EVENTS": "0",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_head(self) -> None:
        """The first node."""
        port = self.address.rpartition(":")[2]
        self._start(
            HEAD_IP,
            "--head",
            f"--port={port}",
            f"--temp-dir={self.folder}",
            "--include-dashboard=false",
        )

    def start_node(self, ip: str = SECOND_IP) -> None:
        """One more node."""
        self._start(ip, f"--address={self.address}")

    def kill_node(self, ip: str) -> None:
        """End it at once with all that runs on it, as a machine dies."""
        node = self._nodes.pop(ip)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def stop(self) -> None:
        """End all nodes, and remove what they wrote."""
        for ip in list(self._nodes):
            self.kill_node(ip)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, ip: str, *options: str) -> None:
        log = Path(self.folder, f"start-{ip}.log")
        ray = [str(Path(sys.executable).with_name("ray"))]
        if self._node is not None:
            ray = [sys.executable, str(self._node), f"{self.folder}/{ip}.socket"]
        command = [
            *ray,
            "start",
            "--block",
            f"--node-ip-address={ip}",
            f"--num-cpus={CPUS_PER_NODE}",
            f"--object-store-memory={self._object_store_bytes}",
            "--disable-usage-stats",
            *options,
        ]
        with log.open("wb") as output:
            self._nodes[ip] = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + START_LIMIT_S
        while b"Ray runtime started" not in log.read_bytes():
            if self._nodes[ip].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ray's node {ip} did not start:\n{log.read_text()}")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server((HEAD_IP, 0)) as server:
        return int(server.getsockname()[1])


def main() -> int:
    """Run the command on a cluster of two nodes; its exit status."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    with RayCluster() as cluster:
        cluster.start_head()
        cluster.start_node()
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
