"""Where Ray itself uses TLS, so do channels between nodes: a cluster of its own, with certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

TOOL = Path(__file__).parents[4] / "tools" / "ray_cluster.py"

PROGRAM = """
import asyncio, os, socket, ssl, subprocess, sys
import ray
from klaw_core.runtime.channels import channel
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ray.init(log_to_driver=False)
here = ray.get_runtime_context().get_node_id()
[there] = [node["NodeID"] for node in ray.nodes() if node["NodeID"] != here]

def speaks_tls(address):
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=os.environ["RAY_TLS_CA_CERT"])
    context.load_cert_chain(os.environ["RAY_TLS_SERVER_CERT"], os.environ["RAY_TLS_SERVER_KEY"])
    with socket.create_connection((host, int(port)), 10) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            return secure.version()

USER = (
    "import sys; from klaw_core.runtime.channels import blocking_sender_from_ticket as join\\n"
    "with join(sys.argv[1]) as tx: tx.blocking_send('by ticket')\\n"
    "assert 'ray' not in sys.modules"
)

def join(ticket, **environment):
    return subprocess.run(
        [sys.executable, "-c", USER, ticket], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )

async def main():
    place = {"scheduling_strategy": NodeAffinitySchedulingStrategy(there, soft=False)}
    tx, rx = await channel(4, backend="ray", actor_options=place)
    await tx.send("over TLS")
    endpoint = await tx._channel.owner.actor.get_endpoint.remote()
    print(await rx.recv(), speaks_tls(endpoint["addresses"][0]))
    text = tx.ticket()
    refused = await asyncio.to_thread(join, text, RAY_USE_TLS="0")
    print(refused.stderr.strip().splitlines()[-1])
    joined = await asyncio.to_thread(join, text)
    print(await rx.recv() if joined.returncode == 0 else joined.stderr)
    await tx.close()
    await rx.close()

asyncio.run(main())
"""


@pytest.fixture
def certificates(tmp_path):
    trustme = pytest.importorskip(
        "trustme", reason="trustme, which makes certificates, is not installed"
    )
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "127.0.0.2", "127.0.0.3", "localhost")
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    authority.cert_pem.write_to_path(files["ca"])
    certificate.private_key_pem.write_to_path(files["key"])
    files["cert"].write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(files["cert"]),
        "RAY_TLS_SERVER_KEY": str(files["key"]),
        "RAY_TLS_CA_CERT": str(files["ca"]),
    }


def test_channels_between_nodes_speak_tls_and_so_does_who_joins_by_a_ticket(certificates):
    done = subprocess.run(
        [sys.executable, TOOL, sys.executable, "-c", PROGRAM],
        capture_output=True, text=True, timeout=110, check=False, env=os.environ | certificates,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    over_tls, without_certificates, by_ticket = done.stdout.splitlines()
    assert over_tls.startswith("over TLS TLSv1.")
    assert without_certificates.startswith(
        "RuntimeError: this ticket's channel uses TLS between nodes"
    )
    assert by_ticket == "by ticket"


@pytest.mark.parametrize("missing", ["RAY_TLS_SERVER_CERT", "RAY_TLS_CA_CERT"])
def test_a_file_that_is_not_named_is_told(monkeypatch, missing):
    from klaw_core.runtime.channels.tls import tls_files

    for name in ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"):
        monkeypatch.setenv(name, "/somewhere")
    monkeypatch.delenv(missing)
    monkeypatch.setenv("RAY_USE_TLS", "0")
    assert tls_files() is None
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with pytest.raises(RuntimeError, match=f"RAY_USE_TLS is set, and {missing} is not"):
        tls_files()
