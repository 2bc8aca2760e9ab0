"""docs/data-plane-rules.md names tests and invariants: all of them are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/data-plane-rules.md").read_text()
TEST = re.compile(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", re.MULTILINE)
ROW = re.compile(r"^\| (?!rule|invariant|-)(.+) \| (.+) \|$", re.MULTILINE)


def sources(folder: str) -> str:
    paths = sorted((ROOT / folder).rglob("*.[ch]pp"))
    return "\n".join(path.read_text() for path in paths)


def test_each_test_that_a_rule_names_is_there() -> None:
    there = {f"{suite}.{name}" for suite, name in TEST.findall(sources("tests/cpp"))}
    named = set(re.findall(r"`([A-Z]\w+\.\w+)`", DOCUMENT)) - {"Suite.Name"}
    assert named
    assert sorted(named - there) == []


def test_each_rule_names_a_test() -> None:
    rules = DOCUMENT[: DOCUMENT.index("## Invariants")]
    assert [
        rule for rule, tests in ROW.findall(rules) if not re.search(r"`[A-Z]\w+\.\w+`", tests)
    ] == []


def test_the_simulator_looks_at_each_invariant() -> None:
    looked_at = set(re.findall(r'"([SLOV]\d+)"', sources("tests/cpp/simulation")))
    rows = ROW.findall(DOCUMENT[DOCUMENT.index("## Invariants") :])
    elsewhere = {name for name, text in rows if "not there yet" in text or "`" in text}
    assert {name for name, _ in rows} - elsewhere == looked_at
