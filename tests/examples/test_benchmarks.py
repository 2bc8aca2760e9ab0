"""The benchmarks' runners run; what they measure means nothing here. And their tables are right."""

import importlib
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "bench" / "python"
PEERS = ROOT / "bench" / "peers"
KLAW_PEERS_BENCH = ROOT / "build" / "release" / "bench" / "klaw_peers_bench"
TIMEOUT_S = 110  # of a process, which then tells what it said: no test may end before
pytestmark = pytest.mark.timeout(TIMEOUT_S + 10)


@pytest.mark.slow
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


def program(path: Path, figures: dict[tuple[str, str], str], log: Path) -> Path:
    """Make a program that knows the protocol of bench/peers and prints these figures; it logs its runs."""
    path.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import sys
            figures = {figures!r}
            if sys.argv[1] == "list":
                for scenario, peer in figures:
                    print(scenario, peer, "1.0", sep="\\t")
            else:
                scenario, peer = sys.argv[2:4]
                with open({str(log)!r}, "a") as log:
                    print(peer, file=log)
                figure = figures[scenario, peer]
                if figure == "lost":
                    sys.exit("7 messages arrived of 8")
                print(scenario, peer, figure, sep="\\t")
        """)
    )
    path.chmod(0o755)
    return path


def run_peers(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PEERS, "--rounds", "3", "--seconds", "0.001", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_peers_take_turns_and_klaw_is_set_beside_the_best(tmp_path: Path):
    log, figures = tmp_path / "log", tmp_path / "figures.json"
    klaw = program(tmp_path / "klaws", {("threads/1P1C/100", "klaw"): "300\t-\t-"}, log)
    rivals = {
        ("threads/1P1C/100", "slow"): "100\t-\t-",
        ("threads/1P1C/100", "fast"): "200\t-\t-",
        ("ping-pong/tasks", "fast"): "200\t7\t9",
    }
    others = program(tmp_path / "others", rivals, log)
    done = run_peers("--program", klaw, "--program", others, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert log.read_text().split() == ["klaw", "slow", "fast"] * 3 + ["fast"] * 3
    assert "| klaw | **300** |" in done.stdout
    assert "| threads/1P1C/100 | fast | 1.5x |" in done.stdout
    assert "klaw 1.0, slow 1.0, fast 1.0" in done.stdout
    written = json.loads(figures.read_text())["scenarios"]["ping-pong/tasks"]
    assert written == {"fast": [{"per_second": 200, "p50_ns": 7, "p99_ns": 9}] * 3}
    again = run_peers("--read", figures, "--scenario", "^threads", "--peer", "klaw|slow")
    assert again.returncode == 0, again.stderr
    assert "| threads/1P1C/100 | slow | 3.0x |" in again.stdout
    assert "ping-pong" not in again.stdout


def test_a_peer_that_loses_messages_drops_out_and_is_named(tmp_path: Path):
    log = tmp_path / "log"
    figures = {
        ("threads/1P1C/1", "klaw"): "300\t-\t-",
        ("threads/1P1C/1", "broken"): "lost",
    }
    done = run_peers("--program", program(tmp_path / "both", figures, log))
    assert done.returncode == 1
    assert "broken failed in threads/1P1C/1" in done.stderr
    assert "7 messages arrived of 8" in done.stderr
    assert "| klaw | **300** |" in done.stdout
    assert log.read_text().split().count("broken") == 1


def test_scenarios_and_peers_can_be_chosen(tmp_path: Path):
    names = [("threads/1P1C/1", "klaw"), ("threads/1P1C/1", "go"), ("select/tasks/2", "go")]
    all_of_them = program(tmp_path / "all", dict.fromkeys(names, "1\t-\t-"), log=tmp_path / "log")
    done = run_peers("--program", all_of_them, "--list", "--scenario", "^threads", "--peer", "go")
    assert done.stdout == "threads/1P1C/1 go\n"


@pytest.mark.skipif(not KLAW_PEERS_BENCH.exists(), reason="make build makes it")
def test_klaw_itself_knows_the_protocol():
    done = run_peers("--program", KLAW_PEERS_BENCH, "--scenario", "^(tasks|ping-pong/tasks)")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| klaw \|( \*{0,2}[\d.]+[kM]?~?\*{0,2} \|){5}$", done.stdout, re.MULTILINE)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module("tables")


def test_a_ratio_is_the_median_of_the_rounds_ratios(tables: ModuleType):
    rates = {"klaw": [10.0, 90.0, 30.0], "rival": [20.0, 30.0, 30.0]}
    assert tables.Column("t", "c", rates).ratio("klaw", "rival") == 1
    times = tables.Column("t", "c", {"klaw": [10.0], "rival": [25.0]}, is_better_low=True)
    assert times.ratio("klaw", "rival") == 2.5


def test_the_best_rival_is_none_of_klaws_own_ways(tables: ModuleType):
    rates = {"klaw": [9.0], "klaw-run-loop": [8.0], "slow": [1.0], "fast": [2.0]}
    fast_is_more = tables.Column("t", "c", rates)
    assert (fast_is_more.best, fast_is_more.best_rival) == ("klaw", "fast")
    fast_is_less = tables.Column("t", "c", rates, is_better_low=True)
    assert (fast_is_less.best, fast_is_less.best_rival) == ("slow", "slow")
    assert tables.Column("t", "c", {"klaw": [9.0]}).best_rival is None


def test_a_wide_spread_is_marked(tables: ModuleType):
    column = tables.Column("t", "c", {"calm": [10.0, 15.0], "wild": [10.0, 15.1]})
    assert column.spread_mark("calm") == ""
    assert column.spread_mark("wild") == "~"
    assert column.spread_mark("calm", "wild") == "~"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (7, "7"),
        (999, "999"),
        (1_234, "1.23k"),
        (99_940, "99.9k"),
        (99_960, "100k"),
        (999_600, "1.00M"),
        (12_345_678, "12.3M"),
        (123_456_789, "123M"),
    ],
)
def test_numbers_are_shortened(tables: ModuleType, number: float, text: str):
    assert tables.short(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.123, "0.12x"), (0.994, "0.99x"), (0.996, "1.0x"), (2.04, "2.0x"), (12.3, "12x")],
)
def test_ratios_are_shortened(tables: ModuleType, number: float, text: str):
    assert tables.as_ratio(number) == text


def test_a_peer_that_has_no_part_in_a_column_has_a_dash(tables: ModuleType):
    columns = [
        tables.Column("t", "0", {"klaw": [1.0]}),
        tables.Column("t", "1", {"rival": [4.0, 8.0, 4.0], "klaw": [2.0, 2.0, 2.0]}),
    ]
    assert tables.detailed_table("t", columns).splitlines() == [
        "### t",
        "",
        "| peer | 0 | 1 |",
        "| --- | --: | --: |",
        "| klaw | **1** | 2 |",
        "| rival | - | **4~** |",
        "| *klaw / best peer* | - | 0.50x~ rival |",
    ]
