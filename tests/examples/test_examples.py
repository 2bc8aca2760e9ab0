"""The Python examples do what they say, as a user runs them: in a process of their own."""

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from channel_tests import without_slow_steps

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TIMEOUT_S = 110  # of a process, which then tells what it said: no test may end before
pytestmark = pytest.mark.timeout(TIMEOUT_S + 10)

# Runs examples one after the other, on a cluster that it finds; prints what they printed, and with which exit code.
RUN_ALL = """
import json, subprocess, sys
for example in map(json.loads, sys.argv[1:]):
    done = subprocess.run([sys.executable, *example], capture_output=True, text=True)
    path = next(part for part in example if part.endswith(".py"))
    print(json.dumps([path, done.returncode, done.stdout, done.stderr]))
"""


def has_ray() -> bool:
    spec = importlib.util.find_spec("ray")
    return spec is not None and spec.origin is not None


def run(example: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", EXAMPLES / example, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    done.stderr = without_slow_steps(done.stderr)
    return done


@pytest.fixture(scope="module")
def wordcount() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wordcount", EXAMPLES / "wordcount.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few files, with all that may be wrong about them."""
    (tmp_path / "package").mkdir()
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "one.py").write_text("spam = spam + eggs\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "notes.txt").write_text("spam")
    (tmp_path / "package" / "two.py").write_text("def grüße(): return 'spam'\n", encoding="utf-8")
    (tmp_path / "package" / "latin.py").write_bytes(b"# -*- latin-1 -*-\neggs = 'gr\xfc\xdfe'\n")
    (tmp_path / "site-packages" / "installed.py").write_text("spam")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_every_python_example_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "asyncio_queue.py", "asyncio_queue_as_channel.py", "batch_inference.py", "broadcast.py", "hello.py",
        "hello_ray.py", "oneshot.py", "parameter_broadcast.py", "ray_queue.py", "ray_queue_as_channel.py",
        "ray_retry.py", "ray_supervisor.py", "selecting.py", "token_streaming.py", "watch.py", "wordcount.py",
    }  # fmt: skip


def test_oneshots_bring_answers_and_say_why_there_is_none():
    done = run("oneshot.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "5! is 120",
        "20! is 2432902008176640000",
        "21! is not known: too large a number",
    ]


def test_a_broadcast_reaches_all_and_tells_who_is_too_slow():
    done = run("broadcast.py")
    assert (done.returncode, done.stderr) == (0, "")
    kept = [f"line {number}" for number in range(6, 10)]
    assert sorted(done.stdout.splitlines()) == ["counted 10", f"kept {kept}", "missed 6"]


def test_watchers_go_by_the_latest_value():
    done = run("watch.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for name in ("left", "right"):
        mine = [line for line in lines if line.startswith(name)]
        assert mine == [f"{name} begins with hello", f"{name} goes on with good night"]
    assert "version 3 is there" in lines


def test_selecting_takes_what_comes_and_stops_when_all_have_ended():
    done = run("selecting.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sorted(lines[:2]) == ["job 42", "news KLAW SELECTS"]
    assert sorted(lines[2:]) == ["0 2", "1 that was all"]


def test_hello_delivers_each_number_once():
    done = run("hello.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sorted(int(number) for _, _, number in lines) == list(range(10))
    assert {name for name, _, _ in lines} <= {"left", "right"}


def trained_together(lines: list[str]) -> None:
    *shares, age, verdict = [[int(n) for n in re.findall(r"\d+", line)] for line in lines]
    assert [worker for worker, _, _ in shares] == [0, 1, 2]
    assert sum(found for _, found, _ in shares) == 300
    assert all(found > 0 for _, found, _ in shares)
    assert age[0] < 300
    assert verdict[0] > 80, "percent of the lines that it has not seen"


def test_workers_train_a_model_by_the_latest_parameters():
    done = run("parameter_broadcast.py")
    assert (done.returncode, done.stderr) == (0, "")
    trained_together(done.stdout.splitlines())


@pytest.mark.parametrize("name", ["asyncio_queue.py", "asyncio_queue_as_channel.py"])
def test_a_queue_and_its_channel_do_the_same(name: str):
    done = run(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [n * n for n in range(10)]


@pytest.mark.ray
@pytest.mark.skipif(not has_ray(), reason="Ray is not installed in this environment")
@pytest.mark.timeout(240)
def test_the_examples_on_a_ray_cluster_do_what_they_say():
    names = (
        "hello_ray", "ray_queue", "ray_queue_as_channel", "ray_retry", "batch_inference", "token_streaming",
    )  # fmt: skip
    examples = [[f"{EXAMPLES / name}.py"] for name in names]
    examples.append([f"{EXAMPLES / 'parameter_broadcast.py'}", "--backend", "ray"])
    # It tells what is left unclosed.
    examples.append(["-X", "dev", f"{EXAMPLES / 'ray_supervisor.py'}"])
    cluster = [sys.executable, ROOT / "tools" / "ray_cluster.py"]  # one of their own, of two nodes
    done = subprocess.run(
        [*cluster, sys.executable, "-c", RUN_ALL, *map(json.dumps, examples)],
        capture_output=True, text=True, timeout=230, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = {}
    for path, status, stdout, stderr in map(json.loads, done.stdout.splitlines()):
        assert status == 0, stderr
        assert "unclosed <" not in stderr
        said[Path(path).stem] = stdout.splitlines()
    shares = [line.removeprefix("a consumer got ") for line in said.pop("hello_ray")]
    assert sorted(number for share in shares for number in json.loads(share)) == list(range(10))
    assert len(shares) == 2
    assert said.pop("ray_supervisor") == [
        "took one",
        "went on with two again",
        "went on with three again",
    ]
    lines = [line for line in said.pop("ray_retry") if re.fullmatch(r"\d \w+", line)]
    assert lines == ["0 one", "1 two", "2 three"]  # beside what Ray says of the failed attempt
    written, counted = said.pop("token_streaming")
    read, sent = [int(number) for number in re.findall(r"\d+", counted)]
    assert len(written.split()) == read == 60
    assert read <= sent <= read + 8, "it went on for nobody"
    stats, *nodes, accuracy, verdict = said.pop("batch_inference")
    assert "failed=0" in stats
    assert len(nodes) == 2, "one node has done all"
    right, guessed = [int(number) for number in re.findall(r"(\d+)%", accuracy)]
    assert right > 2 * guessed
    assert verdict == "OK: the model gives the same answers in this process"
    trained_together(said.pop("parameter_broadcast"))
    squares = str(sum(n * n for n in range(10)))
    assert said == {"ray_queue": [squares], "ray_queue_as_channel": [squares]}


@pytest.mark.parametrize("counters", [1, 4, 50])
def test_wordcount_counts_a_tree(tree: Path, counters: int):
    done = run("wordcount.py", "--backend", "local", "--root", tree, "--counters", counters)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["3", "spam"]
    assert ["2", "eggs"] in [line.split() for line in lines]
    assert ["1", "grüße"] in [line.split() for line in lines]
    assert lines[-1] == "OK: 4 files; a plain count in one thread gives the same"


def test_wordcount_shows_as_many_words_as_asked_for(tree: Path):
    lines = run("wordcount.py", "--root", tree, "--top", 2).stdout.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["spam", "eggs"]
    assert len(lines) == 4


def test_wordcount_is_quiet_when_asked_to_be(tree: Path):
    done = run("wordcount.py", "--root", tree, "--quiet")
    assert done.stdout == "OK: 4 files; a plain count in one thread gives the same\n"


@pytest.mark.slow
def test_wordcount_counts_the_standard_library():
    done = run("wordcount.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split()[-1] == "self"
    verdict = done.stdout.splitlines()[-1].split()
    assert verdict[0] == "OK:"
    assert int(verdict[1].replace(",", "")) > 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--counters", "0"], "--counters must be at least 1"),
        (["--root", "/nowhere"], "/nowhere is no folder"),
        (["--backend", "carrier-pigeon"], "invalid choice: 'carrier-pigeon'"),
    ],
)
def test_wordcount_refuses_bad_arguments(arguments: list[str], said: str):
    done = run("wordcount.py", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_wordcount_says_when_there_is_nothing_to_count(tmp_path: Path):
    done = run("wordcount.py", "--root", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"no .py file below {tmp_path}\n"


def test_the_self_check_of_wordcount_finds_wrong_counts(wordcount: ModuleType):
    right = Counter(spam=2, eggs=1)
    assert wordcount.differences(right, Counter(right)) == []
    assert wordcount.differences(Counter(spam=1, ham=1), right) == [
        "eggs: 0 through channels, 1 in a plain count",
        "ham: 1 through channels, 0 in a plain count",
        "spam: 1 through channels, 2 in a plain count",
    ]


def test_wordcount_fails_when_the_counts_differ(
    wordcount: ModuleType,
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["wordcount.py", "--root", str(tree)])
    monkeypatch.setattr(wordcount, "count_plainly", lambda _: Counter(spam=4))
    assert wordcount.main() == 1
    assert "FAILED" in capsys.readouterr().err


def test_wordcount_ends_when_a_file_cannot_be_read(
    wordcount: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """An error in one task ends all of them, instead of leaving the others waiting."""

    def broken(file: Path) -> str:
        raise OSError(f"cannot read {file}")

    monkeypatch.setattr(sys, "argv", ["wordcount.py", "--root", str(tree)])
    monkeypatch.setattr(wordcount, "text_of", broken)
    with pytest.raises(ExceptionGroup) as raised:
        wordcount.main()
    assert raised.group_contains(OSError, match="cannot read")
