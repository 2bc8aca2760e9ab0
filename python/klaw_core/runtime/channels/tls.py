"""TLS for the connections between nodes: where Ray itself uses it, with Ray's own certificates."""

from __future__ import annotations

import os

__all__ = ["tls_files"]


def tls_files() -> tuple[str, str, str] | None:
    """The PEM files of the certificate, its key, and the authority; None where ``RAY_USE_TLS`` is not set.

    Raises:
        RuntimeError: TLS is asked for, and a file is not named.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    names = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise RuntimeError(f"RAY_USE_TLS is set, and {', '.join(missing)} is not")
    certificate, key, authority = (os.environ[name] for name in names)
    return certificate, key, authority
