"""What channels tell Ray's metrics.

The agent that serves them comes with ray[default], which the tests' cluster has not: they look at what is recorded.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from klaw_core.runtime.channels import ChannelStats, channel_stats

# Ray is imported when the cluster is there, whose token it reads then.
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """(name, value, tags) of all that is recorded in this process."""
    from ray.util.metrics import Metric

    found: list[tuple[str, float, dict[str, str]]] = []

    def record(metric: Any, value: float, tags: dict[str, str]) -> None:
        found.append((metric.info["name"].removeprefix("klaw_channel_"), value, tags))

    monkeypatch.setattr(Metric, "_record", record)
    return found


def test_gauges_are_set_and_counters_grow_by_what_is_new(
    recorded: list[Any], some_stats: ChannelStats
):
    from klaw_core.runtime.channels.ray.metrics import ChannelMetrics

    metrics = ChannelMetrics("jobs", "klaw")
    stats = replace(some_stats, waiting_senders=5, waiting_receivers=6, in_flight=7, oldest_age=8.5)
    metrics.record(stats, (1000, 970))
    gauges = {
        "queue_size": 3,
        "capacity": 64,
        "in_flight": 7,
        "oldest_age_seconds": 8.5,
        "senders": 1,
        "receivers": 2,
        "waiting_senders": 5,
        "waiting_receivers": 6,
    }
    counters = {"sent_messages": 100, "received_messages": 97, "sent_bytes": 1000, "received_bytes": 970}  # fmt: skip
    assert {name: value for name, value, _ in recorded} == gauges | counters
    assert all(tags == {"channel": "jobs", "namespace": "klaw"} for _, _, tags in recorded)

    recorded.clear()
    later = replace(stats, total_sent=103, redelivered=2, queue_size=0, capacity=None)
    metrics.record(later, (1030, 970))
    found = {name: value for name, value, _ in recorded}
    assert {name: found[name] for name in found if name not in gauges} == {
        "sent_messages": 3,
        "redelivered_messages": 2,
        "sent_bytes": 30,
    }
    assert found["queue_size"] == 0
    assert "capacity" not in found


class Faulty:
    def record(self, *_: object) -> None:
        raise ValueError("no")


def test_metrics_that_fail_stop_and_are_logged(
    caplog: pytest.LogCaptureFixture, some_stats: ChannelStats
):
    from klaw_core.runtime.channels.ray.metrics import export

    with caplog.at_level(logging.ERROR):
        export(Faulty(), lambda: (some_stats, (0, 0)), 0.0, threading.Event())
    assert "metrics stop" in caplog.text


@pytest.mark.parametrize(("text", "period"), [("", 5.0), ("0", 0.0), ("0.25", 0.25)])
def test_the_period_is_in_the_environment(
    text: str, period: float, monkeypatch: pytest.MonkeyPatch
):
    from klaw_core.runtime.channels.ray.metrics import metrics_period

    monkeypatch.setenv("KLAW_METRICS_PERIOD", text)
    assert metrics_period() == period


@pytest.mark.parametrize("text", ["often", "-1", "nan", "inf"])
def test_a_bad_period_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    from klaw_core.runtime.channels.ray.metrics import metrics_period

    monkeypatch.setenv("KLAW_METRICS_PERIOD", text)
    with pytest.raises(ValueError, match="KLAW_METRICS_PERIOD must be"):
        metrics_period()


async def test_the_actor_records_what_happens(ray: Any, eventually: Any):
    from klaw_core.runtime.channels.ray.actor import ChannelActor

    class Watched(ChannelActor):
        def __init__(self) -> None:
            from ray.util.metrics import Metric

            self._totals: dict[str, float] = {}
            Metric._record = self._add  # this process is this actor's
            super().__init__(4, name="watched", namespace="metrics")

        def _add(self, value: float, tags: dict[str, str]) -> None:
            assert tags == {"channel": "watched", "namespace": "metrics"}
            self._totals[str(value)] = self._totals.get(str(value), 0) + 1

        async def seen(self) -> dict[str, float]:
            return dict(self._totals)

    actor = (
        ray.remote(num_cpus=0, concurrency_groups={"waiting": 10, "control": 10})(Watched)
        .options(runtime_env={"env_vars": {"KLAW_METRICS_PERIOD": "0.05"}})
        .remote()
    )
    assert await actor.put.remote(b"x" * 1_000_003) == "ok"
    size = (await actor.get_stats.remote()).backend_extras["sent_bytes"]
    assert size > 1_000_003

    async def is_recorded() -> bool:
        return (await actor.seen.remote()).get(str(size)) == 1

    await eventually.true(is_recorded)
    ray.kill(actor)


async def test_bytes_are_in_the_statistics(ray_channel: Any, name: str):
    tx, rx = await ray_channel(4, name=name)
    await tx.send(b"x" * 100)
    await tx.send(b"y" * 50)
    assert len(await rx.recv()) == 100
    await rx.try_recv()  # a round trip after the first was confirmed
    extras = (await channel_stats(name)).backend_extras
    assert 100 < extras["received_bytes"] <= extras["sent_bytes"] < 200


def test_the_document_and_the_dashboard_have_every_metric():
    from klaw_core.runtime.channels.ray.metrics import _COUNTERS, _GAUGES

    names = {f"ray_klaw_channel_{name}" for name in _GAUGES}
    names |= {f"ray_klaw_channel_{name}_total" for name in _COUNTERS}
    metric = re.compile(r"ray_klaw_channel_\w+")
    dashboard = json.loads((DOCS / "metrics-dashboard.json").read_text())
    assert set(metric.findall(json.dumps(dashboard["panels"]))) == names
    assert set(metric.findall((DOCS / "metrics.md").read_text())) == names
