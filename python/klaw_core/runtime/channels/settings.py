"""What channels are made with."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["NAMESPACE_DEFAULT"]

NAMESPACE_DEFAULT: Final = os.environ.get("KLAW_RAY_NAMESPACE", "klaw")
