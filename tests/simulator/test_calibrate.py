"""From recorded calls to a scenario: what is read, what is learned, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exai
import simulator.calibrate.calibration
import simulator.calibrate.scenario
from reference_daemon.policy.config import Caps, PolicyConfig
from reference_daemon.policy.events import CallKind
from scenarios.history import Body, Call, Outcome, TimeoutLayer, write_calls
from scenarios.load import load_scenario
from scenarios.model import Provider, Scenario
from simulator.calibrate.calibration import LEAST_ENDED, calibrate
from simulator.calibrate.recordings import CalibrationError, Recording, Seen, read_recording
from simulator.calibrate.scenario import scenario_of, to_text
from simulator.calibrate.study import headline, study_of
from simulator.model.engine import simulate

EXPERT_S = 90.0


def a_call(**changes: Any) -> Call:
    """Return a row of a history: a chat to GLM that took 40 s."""
    call = Call(
        body=Body.REAL,
        scenario="recorded",
        phase="all",
        session="one",
        tool="chat",
        provider="GLM",
        model=None,
        expert=False,
        call_key_hash=None,
        trace_id="0" * 32,
        request_id="r1",
        attempts=1,
        intended_at=10.0,
        sent_at=10.0,
        acked_at=10.0,
        finished_at=50.0,
        outcome=Outcome.OK,
        status=None,
        timeout_layer=None,
        latency_s=40.0,
        service_s=40.0,
        retry_wait_s=0.0,
        first_heartbeat_s=None,
        max_heartbeat_gap_s=None,
        faults=(),
    )
    return replace(call, **changes)


def read(path: Path, calls: list[Call]) -> Recording:
    """Write a history and read it as a recording."""
    write_calls(path, calls)
    return read_recording(path, EXPERT_S)


def seen(at_s: float, took_s: float | None = 40.0, **changes: Any) -> Seen:
    """Return a chat to GLM that ended."""
    call = Seen(
        at_s=at_s,
        session="one",
        tool="chat",
        provider="GLM",
        kind=CallKind.CHAT,
        model=None,
        end="ended",
        took_s=took_s,
        why="ok",
    )
    return replace(call, **changes)


def a_recording(calls: list[Seen], source: str = "calls.parquet") -> Recording:
    """Return a recording of these calls."""
    return Recording(source=source, calls=tuple(calls), settings={})


def spread(n: int, seed: int = 1) -> list[float]:
    """Return durations that scatter."""
    return [float(value) for value in 40 * np.exp(0.2 * np.random.default_rng(seed).standard_normal(n))]


def metrics(path: Path, *, n: int = 40, duration_factor: float = 1.0, status: int = 200) -> Path:
    """Write the metrics of a daemon that answered n chats."""
    lines: list[dict[str, object]] = [{"event": "session_opened", "at": 1e9, "session": "s", "client": "one"}]
    for number, took_s in enumerate(spread(n)):
        facts = {"session": "s", "tool": "chat", "provider": "GLM", "kind": "chat", "trace_id": f"{number:032x}"}
        began_at = 100.0 + 10 * number
        lines.append({"event": "accepted", "at": 1e9, "clock_at": began_at, **facts})
        end = {"outcome": "ok", "status": status, "duration_s": took_s * duration_factor}
        lines.append({"event": "finished", "at": 1e9, "clock_at": began_at + took_s, **facts, **end})
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


class TestReadingAHistory:
    def test_an_answered_call_ended(self, tmp_path: Path) -> None:
        """The daemon's own measure is the duration; moments count from the first call."""
        recording = read(tmp_path / "calls.parquet", [a_call(service_s=39.5), a_call(intended_at=5.0, latency_s=45.0)])
        assert [(call.at_s, call.end, call.took_s) for call in recording.calls] == [
            (0.0, "ended", 40.0),
            (5.0, "ended", 39.5),
        ]

    def test_a_timeout_is_a_cut(self, tmp_path: Path) -> None:
        """A call that somebody gave up took longer than that; its provider is the one that its tool asks."""
        late = a_call(outcome=Outcome.TIMEOUT, timeout_layer=TimeoutLayer.CLIENT, provider=None, service_s=None)
        (call,) = read(tmp_path / "calls.parquet", [late]).calls
        assert (call.end, call.took_s, call.provider) == ("cut", 40.0, "GLM")

    def test_an_expert_that_was_late_is_a_cut_at_its_budget(self, tmp_path: Path) -> None:
        """A call that succeeds after the expert's budget did so without its expert."""
        late = a_call(tool="analyze", expert=True, latency_s=90.2, service_s=90.1, finished_at=100.2)
        (call,) = read(tmp_path / "calls.parquet", [late]).calls
        assert (call.end, call.took_s) == ("cut", EXPERT_S)

    @pytest.mark.parametrize("outcome", [Outcome.OVER_CAPACITY, Outcome.DUPLICATE, Outcome.REPLAYED, Outcome.UNKNOWN])
    def test_what_did_not_run_or_got_lost_says_nothing(self, tmp_path: Path, outcome: Outcome) -> None:
        """Refusals, replays and lost calls belong to the load, not to the durations."""
        (call,) = read(tmp_path / "calls.parquet", [a_call(outcome=outcome)]).calls
        assert (call.end, call.why) == (None, outcome.value)

    def test_a_step_asks_nobody(self, tmp_path: Path) -> None:
        """An intermediate step has no provider, whatever its tool does elsewhere."""
        (call,) = read(tmp_path / "calls.parquet", [a_call(tool="analyze", provider=None)]).calls
        assert (call.kind, call.provider) == (CallKind.STEP, None)


class TestReadingMetrics:
    def test_durations_and_moments_are_the_daemons(self, tmp_path: Path) -> None:
        """Each trace is a call; its duration stands in its last line."""
        recording = read_recording(metrics(tmp_path / "m.jsonl", n=3), EXPERT_S)
        assert [call.at_s for call in recording.calls] == [0.0, 10.0, 20.0]
        assert [call.took_s for call in recording.calls] == pytest.approx(spread(3))
        assert {call.end for call in recording.calls} == {"ended"}

    @pytest.mark.parametrize(("status", "end"), [(504, "cut"), (499, "cut"), (502, "failed"), (409, None)])
    def test_the_status_tells_the_end(self, tmp_path: Path, status: int, end: str | None) -> None:
        """Late and cancelled calls were cut, failed ones failed, others say nothing."""
        recording = read_recording(metrics(tmp_path / "m.jsonl", n=1, status=status), EXPERT_S)
        assert recording.calls[0].end == end

    def test_a_last_line_that_was_cut_off_is_left_out(self, tmp_path: Path) -> None:
        """A daemon that was killed while it wrote leaves half a line."""
        path = metrics(tmp_path / "m.jsonl", n=2)
        path.write_text(path.read_text() + '{"event":"accep')
        assert len(read_recording(path, EXPERT_S).calls) == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "is empty"), (b"a,b\n1,2\n", "is neither a history"), (b'{"event": 5}\n{"event"', "is no event")],
    )
    def test_a_file_that_is_neither_is_named(self, tmp_path: Path, content: bytes, reason: str) -> None:
        """An empty file, one of another kind and a broken one are told apart, each with exit status 2."""
        path = tmp_path / "calls"
        path.write_bytes(content)
        with pytest.raises(CalibrationError, match=reason) as raised:
            read_recording(path, EXPERT_S)
        assert raised.value.exit_code == 2
        assert str(path) in str(raised.value)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        """A missing file is no bug of ours."""
        with pytest.raises(CalibrationError, match="No such file"):
            read_recording(tmp_path / "none", EXPERT_S)

    def test_a_history_without_calls_is_refused(self, tmp_path: Path) -> None:
        """No data is no result."""
        with pytest.raises(CalibrationError, match="holds no call"):
            read(tmp_path / "calls.parquet", [])

    def test_mixed_units_of_a_history_are_refused(self, tmp_path: Path) -> None:
        """A latency in milliseconds beside moments in seconds is no latency."""
        with pytest.raises(CalibrationError, match=r"mixed units: call 0{32} has latency_s = 40000, but 40 between"):
            read(tmp_path / "calls.parquet", [a_call(latency_s=40_000.0)])

    def test_mixed_units_of_metrics_are_refused(self, tmp_path: Path) -> None:
        """A duration must be the difference of its events' moments."""
        with pytest.raises(CalibrationError, match="mixed units"):
            read_recording(metrics(tmp_path / "m.jsonl", duration_factor=1000.0), EXPERT_S)

    def test_mixed_units_of_two_files_are_refused(self) -> None:
        """The same tool cannot take forty seconds here and forty thousand there."""
        seconds = a_recording([seen(float(at), took) for at, took in enumerate(spread(40))])
        milliseconds = a_recording([seen(float(at), 1000 * took) for at, took in enumerate(spread(40))], "other")
        with pytest.raises(CalibrationError, match=r"other: mixed units: chat takes"):
            calibrate([seconds, milliseconds], bootstraps=9)

    def test_milliseconds_throughout_are_refused(self, tmp_path: Path) -> None:
        """Calls of eleven hours are milliseconds that somebody took for seconds."""
        slow = a_call(latency_s=40_000.0, service_s=40_000.0, finished_at=40_010.0)
        with pytest.raises(CalibrationError, match="are these seconds"):
            read(tmp_path / "calls.parquet", [slow])

    def test_too_few_calls_are_named(self) -> None:
        """One call below the least is refused, with provider and numbers; the least is enough."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(LEAST_ENDED))]
        assert calibrate([a_recording(calls)], bootstraps=9).groups
        with pytest.raises(
            CalibrationError, match=f"provider GLM: {LEAST_ENDED - 1} calls ended, at least {LEAST_ENDED}"
        ):
            calibrate([a_recording(calls[1:])], bootstraps=9)


class TestLearning:
    def test_a_tool_with_few_calls_is_pooled(self) -> None:
        """It takes the distribution of all tools of its provider, and is named."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(60))]
        calls.append(seen(60.0, tool="analyze", kind=CallKind.EXPERT))
        found = calibrate([a_recording(calls)], bootstraps=9)
        assert [group.tool for group in found.groups] == ["chat", None]
        assert found.groups[1].times.n == 61
        assert found.pooled == {"GLM analyze": 1}

    def test_the_headline_counts_what_was_cut_once(self) -> None:
        """The group of other tools has all calls of its provider: their cut ones count there, and only there."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(60))]
        calls += [seen(60.0 + at, 90.0, end="cut", why="timeout") for at in range(3)]
        alone = calibrate([a_recording(calls)], bootstraps=9)
        calls += [seen(70.0 + at, 90.0, tool="analyze", kind=CallKind.EXPERT, end="cut") for at in range(9)]
        both = calibrate([a_recording(calls)], bootstraps=9)
        assert "; 3 durations count as cut" in headline(alone)
        assert "; 12 durations count as cut" in headline(both)

    def test_times_that_are_all_one_are_a_constant(self) -> None:
        """A provider that always takes the same time is calibrated, told, and written as such."""
        found = calibrate([a_recording([seen(float(at), 40.0 + 1e-9 * at) for at in range(40)])], bootstraps=9)
        made = Scenario.model_validate(scenario_of(found, name="m", seed=1))
        assert made.providers["GLM"].distribution().at(0.9) == 40.0
        study = study_of(found, name="m", sources=["a"], settings={})
        assert "GLM chat constant" in study.headline
        assert study.sections[0].tables[0].rows[0][1] == "constant"
        assert study.sections[1].charts == ()

    def test_failures_are_a_rate_and_no_duration(self) -> None:
        """Of fifty executions ten failed: a rate of one fifth, and forty durations."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(40))]
        calls += [seen(40.0 + at, end="failed", why="provider_error") for at in range(10)]
        found = calibrate([a_recording(calls)], bootstraps=9)
        assert found.errors["GLM"].rate == 0.2
        assert found.groups[0].times.n == 40

    def test_one_rate_is_one_window(self) -> None:
        """Evenly spread arrivals scatter less than chance: there is one window."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(600))]
        (window,) = calibrate([a_recording(calls)], bootstraps=9).windows
        assert window.rate == pytest.approx(1.0)

    def test_a_rate_that_changes_has_windows(self) -> None:
        """Ten times the arrivals in the second half: windows with rates of their own."""
        moments = [10.0 * at for at in range(50)] + [500.0 + at for at in range(500)]
        calls = [seen(at, took) for at, took in zip(moments, spread(550), strict=True)]
        windows = calibrate([a_recording(calls)], bootstraps=9).windows
        assert len(windows) == 11
        assert windows[-1].rate == pytest.approx(10 * windows[0].rate, rel=0.2)  # two arrivals more or less of ten

    def test_files_stand_one_behind_the_other(self) -> None:
        """The second recording begins where the first one ends."""
        one = a_recording([seen(float(at), took) for at, took in enumerate(spread(40))])
        assert calibrate([one, one], bootstraps=9).span_s == pytest.approx(78.0)


def recorded(seed: int, sigma: float = 0.25) -> Scenario:
    """Return a scenario of 2,000 chats to a lognormal provider, of which a timeout at P90 cuts one in ten."""
    timeout_s = 45.0 * float(np.exp(sigma * 1.2815515655446))
    return Scenario.model_validate(
        {
            "name": "recorded",
            "title": "Recorded",
            "seed": seed,
            "providers": {"GLM": {"latency": {"lognormal": {"median": 45, "sigma": sigma}}, "concurrency": 1000}},
            "load": [
                {
                    "phase": "all",
                    "duration": 20_000,
                    "clients": 40,
                    "arrivals": {"uniform": {"gap": 10}},
                    "sequence": ["chat"],
                    "client_timeout": timeout_s,
                }
            ],
            "expect": [{"invariants": "all"}],
        }
    )


CONSTANT = Provider.model_validate({"latency": {"constant": {"value": 45}}, "concurrency": 1000})


class TestARecordingOfTheModel:
    @pytest.mark.parametrize("seed", range(5))
    def test_its_provider_is_found_again(self, tmp_path: Path, seed: int) -> None:
        """From 2,000 recorded calls with one in ten cut by a timeout, median and P95 come back within 3 %.

        Three per cent are three standard errors of P95 (0.9 %); the seeds are fixed.
        """
        config = PolicyConfig(caps=Caps(total=100, session=100, tools={}, providers={}))
        run = simulate(recorded(seed), config, seed=seed)
        found = calibrate([read(tmp_path / "calls.parquet", run.calls)], seed=seed, bootstraps=19)
        (group,) = found.groups
        assert group.times.n == 2_000
        assert group.times.cut.size == pytest.approx(200, abs=60)  # four and a half standard deviations of 13.4
        true = recorded(seed).providers["GLM"].distribution()
        assert group.choice.name == "lognormal"
        assert group.choice.latency.at(0.5) == pytest.approx(true.at(0.5), rel=0.03)
        assert group.choice.latency.at(0.95) == pytest.approx(true.at(0.95), rel=0.03)

    @pytest.mark.parametrize("replay", [False, True])
    def test_the_scenario_runs_as_it_is(self, tmp_path: Path, replay: bool) -> None:
        """What was made loads by the rules of every scenario, and the model runs it; replayed, call for call."""
        calls = simulate(recorded(1), PolicyConfig(), seed=1).calls[:400]
        found = calibrate([read(tmp_path / "calls.parquet", calls)], bootstraps=9)
        path = tmp_path / "made.yaml"
        path.write_text(to_text(scenario_of(found, name="made", seed=3, replay=replay), found))
        scenario = load_scenario(path)
        run = simulate(scenario, PolicyConfig(), seed=3)
        if replay:
            assert len(run.calls) == 400
        else:
            assert len(run.calls) == pytest.approx(400, abs=80)  # four standard deviations of a Poisson count

    def test_steps_and_other_models_get_phases_of_their_own(self) -> None:
        """A phase says once whether its tools ask an expert, and of which model."""
        calls = [seen(float(at), took) for at, took in enumerate(spread(40))]
        calls += [seen(40.0, tool="analyze", kind=CallKind.STEP, provider=None, end=None)]
        calls += [seen(41.0 + at, took, provider="KIMI") for at, took in enumerate(spread(40, seed=2))]
        made = Scenario.model_validate(scenario_of(calibrate([a_recording(calls)], bootstraps=9), name="m", seed=1))
        phases = [(phase.phase, phase.expert, phase.model) for phase in made.load]
        assert ("window-1", True, None) in phases
        assert ("window-1-steps", False, None) in phases
        assert ("window-1-kimi-k2", True, "kimi-k2") in phases


class TestCommand:
    def test_it_leaves_a_scenario_and_a_report(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The scenario is good by `exai scenarios check`; summary and page lie in the run directory."""
        made, runs = tmp_path / "made.yaml", tmp_path / "runs"
        source = metrics(tmp_path / "ws_daemon.metrics.jsonl")
        assert exai.main(["calibrate", str(source), "-o", str(made), "--runs-dir", str(runs), "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["kind"] == "calibrate"
        assert summary["facts"]["groups"][0]["ended"] == 40
        assert exai.main(["scenarios", "check", str(made)]) == 0
        (directory,) = runs.iterdir()
        assert (directory / "report.html").is_file()
        assert list((directory / "plots").glob("*qq-glm-chat*.svg"))

    def test_a_constant_provider_has_its_page(self, tmp_path: Path) -> None:
        """What the model recorded of a provider that always takes the same is calibrated without a crash."""
        constant = recorded(1).model_copy(update={"providers": {"GLM": CONSTANT}})
        path, made = tmp_path / "calls.parquet", tmp_path / "made.yaml"
        write_calls(path, simulate(constant, PolicyConfig(), seed=1).calls[:100])
        assert exai.main(["calibrate", str(path), "-o", str(made), "--runs-dir", str(tmp_path / "runs")]) == 0
        assert "latency: {constant: {value: 45.0}}" in made.read_text()

    def test_a_recording_is_not_overwritten(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """An output that is an input is refused, by whatever path, and stays as it is."""
        source = metrics(tmp_path / "m.jsonl")
        before, link = source.read_bytes(), tmp_path / "link.jsonl"
        link.symlink_to(source)
        assert exai.main(["calibrate", str(source), "-o", str(link), "--runs-dir", str(tmp_path / "runs")]) == 2
        assert "it is a recording" in capsys.readouterr().err
        assert (source.read_bytes(), link.is_symlink()) == (before, True)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("option", ["--output", "--runs-dir"])
    def test_where_nothing_can_be_written_nothing_is_fitted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        """A fit of minutes is not begun for a folder that cannot be made."""
        monkeypatch.setattr(simulator.calibrate.calibration, "calibrate", lambda *_, **__: pytest.fail("it was fitted"))
        blocked = tmp_path / "file"
        blocked.write_text("")
        paths = {"--output": tmp_path / "made.yaml", "--runs-dir": tmp_path / "runs"} | {option: blocked / "inside"}
        options = [text for name, path in paths.items() for text in (name, str(path))]
        source = metrics(tmp_path / "m.jsonl")
        assert exai.main(["calibrate", str(source), *options]) == exai.ExitCode.UNDECIDED
        assert "cannot write" in capsys.readouterr().err

    def test_too_few_calls_leave_no_empty_directory(self, tmp_path: Path) -> None:
        """What could not be fitted leaves nothing to read."""
        source, runs = metrics(tmp_path / "m.jsonl", n=LEAST_ENDED - 1), tmp_path / "runs"
        assert exai.main(["calibrate", str(source), "-o", str(tmp_path / "made.yaml"), "--runs-dir", str(runs)]) == 2
        assert list(runs.iterdir()) == []

    def test_a_scenario_that_is_no_good_leaves_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was made is checked before it takes the place of what was there."""
        monkeypatch.setattr(simulator.calibrate.scenario, "to_text", lambda *_: "name: broken\n")
        made = tmp_path / "made.yaml"
        made.write_text("old")
        source = metrics(tmp_path / "m.jsonl")
        assert exai.main(["calibrate", str(source), "-o", str(made), "--runs-dir", str(tmp_path / "runs")]) != 0
        assert made.read_text() == "old"

    def test_wrong_files_end_with_two(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file that is neither is named on stderr; nothing is written."""
        wrong, made = tmp_path / "notes.txt", tmp_path / "made.yaml"
        wrong.write_text("hello")
        assert exai.main(["calibrate", str(wrong), "-o", str(made), "--runs-dir", str(tmp_path / "runs")]) == 2
        assert "notes.txt: is neither a history of calls (Parquet) nor" in capsys.readouterr().err
        assert not made.exists()
