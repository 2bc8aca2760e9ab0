"""``klaw`` without a cluster: its arguments, its texts, and what it says when something is not installed."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from klaw_core.runtime.channels import (
    ChannelBackendErrorException,
    ChannelClosedError,
    ChannelStats,
    RecvTimeoutError,
    SendTimeoutError,
)
from klaw_core.runtime.channels.command.app import app
from klaw_core.runtime.channels.command.failures import Failure, Status, told
from klaw_core.runtime.channels.command.messages import from_arguments, from_lines, to_line
from klaw_core.runtime.channels.command.tables import Frame, stats_table, top_table


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


# ---------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("command", ["list", "stats", "top", "send", "recv", "delete"])
def test_each_command_has_a_help(command: str):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "--address" in done.stdout
    assert "--namespace" in done.stdout
    assert command in run("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["stats"],
        ["send", "jobs"],
        ["recv", "jobs", "--count", "0"],
        ["recv", "jobs", "--timeout", "-1"],
        ["send", "jobs", "1", "--timeout", "soon"],
        ["send", "jobs", "1", "--wait", "-1"],
        ["top", "--interval", "0"],
        ["delete"],
    ],
)
def test_bad_arguments_are_told_before_anything_happens(arguments: list[str]):
    done = run(*arguments)
    assert done.exit_code == Status.USAGE
    assert done.stdout == ""
    assert "Error" in done.stderr


def test_what_is_not_json_is_told_before_anything_is_sent():
    done = run("send", "jobs", "1", "two", "--address", "127.0.0.1:1")
    assert done.exit_code == Status.USAGE
    assert done.stderr.startswith("klaw: argument 2 is not JSON")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("before", [None, "127.0.0.1:2"])
def test_the_address_is_that_of_the_command_alone(monkeypatch, before: str | None):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if before is not None:
        monkeypatch.setenv("RAY_ADDRESS", before)
    run("send", "jobs", "no JSON", "--address", "127.0.0.1:1")
    assert os.environ.get("RAY_ADDRESS") == before


# ------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (Failure(Status.ALONE, "it has no other sender"), Status.ALONE, "it has no other sender"),
        (ChannelBackendErrorException("nobody there"), Status.NO_CLUSTER, "ray start --head"),
        (
            ChannelBackendErrorException("its actor is dead", "ray", "channel_jobs", "klaw"),
            Status.NO_ANSWER,
            "its actor is dead",
        ),
        (
            ChannelClosedError(),
            Status.CLOSED,
            "channel 'jobs' is closed (its senders have closed); ",
        ),
        (ChannelClosedError("shop is shut"), Status.CLOSED, "closed: shop is shut); "),
        (SendTimeoutError(4, 0.5), Status.TIMED_OUT, "channel 'jobs': send timed out after 0.5 s"),
        (RecvTimeoutError(0.5), Status.TIMED_OUT, "channel 'jobs': receive timed out after 0.5 s"),
        (RuntimeError("not over\nRay Client"), Status.FAILED, "not over Ray Client"),
        (KeyboardInterrupt(), Status.INTERRUPTED, "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_a_status(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]
):
    error.add_note("3 sent before")
    with pytest.raises(typer.Exit) as ended, told("jobs"):
        raise error
    assert ended.value.exit_code == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("klaw: ")
    assert text in lines[0]
    assert lines[0].endswith("; 3 sent before")


def test_a_mistake_in_the_command_itself_is_not_hidden():
    with pytest.raises(ZeroDivisionError), told("jobs"):
        raise ZeroDivisionError


def test_the_document_has_every_command_and_status():
    document = (Path(__file__).parents[3] / "docs/command.md").read_text()
    statuses = {int(status) for status in re.findall(r"^\| (\d+) \|", document, re.MULTILINE)}
    assert statuses == {0, *Status}
    commands = {command.name for command in app.registered_commands if command.name} | {
        command.callback.__name__
        for command in app.registered_commands
        if command.callback and not command.name
    }
    assert set(re.findall(r"^\| `klaw (\w+)", document, re.MULTILINE)) == commands


# ------------------------------------------------------------------------------------------ messages


def test_arguments_are_json():
    texts = ["1", '"two"', "null", '{"three": [3]}']
    assert from_arguments(texts) == [1, "two", None, {"three": [3]}]


def test_lines_are_read_as_they_come():
    values = from_lines(iter(["1\n", "\n", "[2]\n", "three\n"]))
    assert next(values) == 1
    assert next(values) == [2]
    with pytest.raises(Failure, match="line 4 is not JSON"):
        next(values)


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("no")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"a": [1, None, "ü\n"]}, '{"a": [1, null, "\\u00fc\\n"]}'),
        ("\ud800", '"\\ud800"'),
        ({"a": b"b"}, '{"a": "b\'b\'"}'),
        ({(1, 2): 3}, '"{(1, 2): 3}"'),
        ([float("nan")], '"[nan]"'),
        (CYCLE, '"[[...]]"'),
        (Unspeakable(), "\"<Unspeakable without a repr: ValueError('no')>\""),
    ],
)
def test_any_value_is_a_line_of_json(value: object, line: str):
    assert to_line(value) == line
    json.loads(line)


# -------------------------------------------------------------------------------------------- tables


def shown(table: object) -> list[list[str]]:
    console = Console(width=1000)
    with console.capture() as captured:
        console.print(table)
    return [line.split() for line in captured.get().splitlines()]


def top(frame: Frame, before: Frame | None = None, width: int = 1000) -> dict[str, str]:
    head, row = shown(top_table(frame, before, Console(width=width)))
    return dict(zip(head, row, strict=True))


def test_rates_are_those_since_the_frame_before(some_stats: ChannelStats):
    before = Frame(10.0, {"jobs": some_stats})
    later = replace(some_stats, total_sent=120, total_received=107)
    row = top(Frame(12.0, {"jobs": later}), before)
    assert (row["SENT"], row["SENT/S"]) == ("120", "10")
    assert (row["RECEIVED"], row["RECEIVED/S"]) == ("107", "5")
    assert (row["CHANNEL"], row["QUEUED"], row["TX"], row["RX"]) == ("jobs", "3", "1", "2")
    assert (row["OLDEST"], row["STATE"]) == ("0.0s", "open")


@pytest.mark.parametrize("before", [None, Frame(10.0, {}), Frame(10.0, {"jobs": None})])
def test_without_a_frame_to_compare_with_there_are_no_rates(
    before: Frame | None, some_stats: ChannelStats
):
    now = Frame(12.0, {"jobs": some_stats})
    head, row = shown(top_table(now, before, Console(width=1000)))
    assert len(row) == len(head) - 2


def test_a_channel_that_counts_anew_has_no_rates(some_stats: ChannelStats):
    before = Frame(10.0, {"jobs": some_stats})
    anew = Frame(12.0, {"jobs": replace(some_stats, total_sent=1, total_received=0)})
    wide = Console(width=1000)
    assert shown(top_table(anew, before, wide)) == shown(top_table(anew, None, wide))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_terminal_has_fewer_columns(width: int, some_stats: ChannelStats):
    frame = Frame(12.0, {"jobs": some_stats})
    row = top(frame, frame, width)
    assert {"CHANNEL", "QUEUED", "SENT/S", "RECEIVED/S", "STATE"} <= set(row)
    assert sum(len(column) + 1 for column in row) <= width


def test_a_channel_that_does_not_answer_has_a_row():
    _, row = shown(top_table(Frame(0.0, {"[red]": None}), None, Console(width=1000)))
    assert row == ["[red]", "no", "answer"]


@pytest.mark.parametrize(
    ("sides", "state"),
    [((True, False), "senders closed"), ((False, True), "receivers closed"), ((True, True), "closed")],
)  # fmt: skip
def test_a_closed_side_is_told(sides: tuple[bool, bool], state: str, some_stats: ChannelStats):
    closed = dict(zip(("senders_closed", "receivers_closed"), sides, strict=True))
    found = replace(some_stats, **closed, capacity=None, backend_extras={"epoch": 2})
    rows = {row[0]: " ".join(row[1:]) for row in shown(stats_table(found))}
    assert rows["state"] == state
    assert rows["queued"] == "3 of unbounded"
    assert rows["epoch"] == "2"


# ------------------------------------------------------------------------------- what is not installed


@pytest.mark.parametrize("missing", ["typer", "rich", "ray"])
def test_it_says_what_to_install(missing: str, tmp_path: Path):
    (tmp_path / missing).mkdir()  # a mere folder of the name does not count
    code = (
        "import importlib.util, sys\n"
        "from importlib.machinery import PathFinder, ModuleSpec\n"
        "find = importlib.util.find_spec\n"
        "there = {name: ModuleSpec(name, None, origin='there') for name in ('typer', 'rich', 'ray')}\n"
        f"there[{missing!r}] = PathFinder.find_spec({missing!r}, [{str(tmp_path)!r}])\n"
        "importlib.util.find_spec = lambda name, *rest: there.get(name) or find(name, *rest)\n"
        "from klaw_core.runtime.channels.command import main\n"
        "status = main()\n"
        "assert not {'typer', 'rich', 'ray'} & set(sys.modules)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    wanted = f"klaw: this command needs {missing}: pip install 'klaw-channels[cli]'\n"
    assert done.stderr == wanted
