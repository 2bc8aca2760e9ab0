"""The Python benchmarks run; what they measure means nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "bench" / "python"
TIMEOUT_S = 110


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_queues_are_measured_side_by_side(tmp_path: Path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, BENCHMARKS, "--quick", "--json", figures]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "commit" in done.stdout
    assert ">= 3x" in done.stdout

    cells = json.loads(figures.read_text())["cells"]
    one_loop = [cell for cell in cells if cell["shape"] == "one event loop, 1 to 1"]
    assert [cell["capacity"] for cell in one_loop] == [1, 100, 10_000, None]
    assert one_loop[1]["target"] == {"asyncio": 3, "anyio": 20}
    for cell in cells:
        for cost in cell["ns_per_message"].values():
            assert len(cost["cpu_ns"]) == len(cost["wall_ns"]) >= 3
