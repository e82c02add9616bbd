"""Events for calibration, and numbers for Prometheus."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reference_daemon.observability.lines import RotatingFile
from reference_daemon.observability.metrics import BUCKETS_S, Metrics
from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.core import Policy
from reference_daemon.policy.snapshot import Snapshot

Labels = dict[str, str]


@pytest.fixture
def idle() -> Snapshot:
    """What is in use in a daemon that has just started."""
    return Policy(PolicyConfig()).snapshot()


def samples(page: bytes) -> dict[str, list[tuple[Labels, float]]]:
    """Read a page as Prometheus does."""
    read: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            read.setdefault(sample.name, []).append((sample.labels, sample.value))
    return read


class TestEvents:
    def test_event_is_one_line_with_what_is_set(self, tmp_path: Path) -> None:
        """A line has its name, its moment and the fields that belong to it; others are left out."""
        file = RotatingFile(tmp_path / "m.jsonl", max_bytes=10_000)
        Metrics(file).emit("accepted", tool="analyze", provider=None, timeout_s=180.0)
        file.close()
        event = json.loads((tmp_path / "m.jsonl").read_text("utf-8"))
        assert event.pop("at") > 1.6e9  # Unix seconds of any year in which this can run
        assert event == {"event": "accepted", "tool": "analyze", "timeout_s": 180.0}

    def test_unknown_field_is_a_mistake_of_ours(self, tmp_path: Path) -> None:
        """Fields are named in one place, so that readers can rely on them."""
        file = RotatingFile(tmp_path / "m.jsonl", max_bytes=10_000)
        with pytest.raises(TypeError):
            Metrics(file).emit("accepted", colour="red")
        file.close()

    def test_without_a_file_nothing_is_written(self) -> None:
        """A daemon in a test needs no file."""
        Metrics().emit("accepted", tool="analyze")


class TestExposition:
    def test_fresh_daemon_shows_its_caps(self, idle: Snapshot) -> None:
        """Every scope has its cap and what is in use of it, from the first moment on."""
        read = samples(Metrics().exposition(idle, sessions=0))
        caps = {labels["scope"]: value for labels, value in read["exai_cap"]}
        assert caps == {
            "global": 16.0,
            "tool:analyze": 3.0,
            "tool:codereview": 3.0,
            "tool:testgen": 4.0,
            "provider:GLM": 4.0,
            "provider:KIMI": 6.0,
        }
        assert {value for _, value in read["exai_in_flight"]} == {0.0}
        assert [value for _, value in read["exai_draining"]] == [0.0]

    def test_counts_grow_by_their_labels(self, idle: Snapshot) -> None:
        """Calls by tool and outcome, refusals by code and scope, heartbeats, sessions."""
        metrics = Metrics()
        metrics.finished("analyze", "ok", 40.0)
        metrics.finished("analyze", "ok", 50.0)
        metrics.finished("chat", "timeout", 180.0)
        metrics.rejected("OVER_CAPACITY", "tool:analyze")
        metrics.rejected("BAD_REQUEST", None)
        metrics.heartbeat()
        read = samples(metrics.exposition(idle, sessions=7))
        assert ({"tool": "analyze", "outcome": "ok"}, 2.0) in read["exai_calls_total"]
        assert ({"tool": "chat", "outcome": "timeout"}, 1.0) in read["exai_calls_total"]
        assert ({"code": "OVER_CAPACITY", "scope": "tool:analyze"}, 1.0) in read["exai_rejections_total"]
        assert ({"code": "BAD_REQUEST", "scope": ""}, 1.0) in read["exai_rejections_total"]
        assert read["exai_heartbeats_total"] == [({}, 1.0)]
        assert read["exai_sessions"] == [({}, 7.0)]

    def test_durations_are_a_cumulative_histogram(self, idle: Snapshot) -> None:
        """A duration on a bound counts below it; the last bucket has all; sum and count fit."""
        metrics = Metrics()
        for duration_s in (0.1, 40.0, 40.1, 1_000.0):
            metrics.finished("analyze", "ok", duration_s)
        read = samples(metrics.exposition(idle, sessions=0))
        buckets = {labels["le"]: value for labels, value in read["exai_call_duration_seconds_bucket"]}
        assert (buckets["0.1"], buckets["40.0"], buckets["50.0"], buckets["+Inf"]) == (1.0, 2.0, 3.0, 4.0)
        assert len(buckets) == len(BUCKETS_S) + 1
        assert list(buckets.values()) == sorted(buckets.values())
        assert read["exai_call_duration_seconds_count"] == [({"tool": "analyze"}, 4.0)]
        (total,) = read["exai_call_duration_seconds_sum"]
        assert total[1] == pytest.approx(1080.2)

    def test_each_family_has_help_and_type(self, idle: Snapshot) -> None:
        """A page explains itself."""
        metrics = Metrics()
        metrics.finished("analyze", "ok", 1.0)
        families = list(text_string_to_metric_families(metrics.exposition(idle, sessions=0).decode()))
        assert all(family.documentation and family.type != "unknown" for family in families)
        assert all(family.name.startswith("exai_") for family in families)
        assert len({family.name for family in families}) == len(families)

    def test_page_is_made_twice_the_same(self, idle: Snapshot) -> None:
        """Looking changes nothing."""
        metrics = Metrics()
        metrics.finished("analyze", "ok", 1.0)
        assert metrics.exposition(idle, sessions=0) == metrics.exposition(idle, sessions=0)
