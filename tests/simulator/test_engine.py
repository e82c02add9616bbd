"""The model: the daemon's decisions on a virtual clock."""

from collections import Counter
from typing import Any

from reference_daemon.policy.config import Advice, AdviceMode, PolicyConfig
from scenarios.history import Outcome, TimeoutLayer
from scenarios.model import Scenario
from scenarios.workload import Workload
from simulator.model.engine import ModelRun, simulate


def a_scenario(**changes: Any) -> Scenario:
    """Return a scenario of one call of 40 s to GLM, with changes."""
    values: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "providers": {"GLM": {"latency": {"constant": {"value": 40}}}},
        "load": [{"phase": "one", "duration": 10, "arrivals": {"burst": {"size": 1}}, "sequence": ["analyze"]}],
        "expect": [{"invariants": "all"}],
    }
    return Scenario.model_validate(values | changes)


def a_load(**changes: Any) -> list[dict[str, Any]]:
    """Return the small scenario's load with changes."""
    return [{"phase": "one", "duration": 10, "arrivals": {"burst": {"size": 1}}, "sequence": ["analyze"]} | changes]


def run(scenario: Scenario, config: PolicyConfig | None = None, seed: int = 1) -> ModelRun:
    """Run a scenario with the shipped settings."""
    return simulate(scenario, config if config is not None else PolicyConfig(), seed=seed)


class TestOneCall:
    def test_takes_what_its_provider_takes(self) -> None:
        """Nothing but the provider's latency passes between intent and answer."""
        (call,) = run(a_scenario()).calls
        assert (call.outcome, call.latency_s, call.attempts, call.provider) == (Outcome.OK, 40.0, 1, "GLM")

    def test_expert_that_is_late_costs_its_judgement_only(self) -> None:
        """A provider slower than the expert's budget of 90 s: the call succeeds with the findings so far."""
        (call,) = run(a_scenario(providers={"GLM": {"latency": {"constant": {"value": 100}}}})).calls
        assert (call.outcome, call.latency_s) == (Outcome.OK, 90.0)

    def test_chat_that_is_late_times_out_in_the_daemon(self) -> None:
        """A chat has the client's patience, less its grace: 179 of 180 s."""
        slow = {"GLM": {"latency": {"constant": {"value": 500}}}}
        (call,) = run(a_scenario(providers=slow, load=a_load(sequence=["chat"]))).calls
        assert (call.outcome, call.timeout_layer, call.latency_s) == (Outcome.TIMEOUT, TimeoutLayer.DAEMON, 179.0)

    def test_step_without_expert_takes_no_time(self) -> None:
        """An intermediate step asks nobody."""
        (call,) = run(a_scenario(load=a_load(expert=False))).calls
        assert (call.outcome, call.latency_s, call.provider) == (Outcome.OK, 0.0, None)


class TestCapacity:
    def test_refused_calls_come_back_by_advice(self) -> None:
        """Six calls on a cap of three: three are refused once, and all succeed."""
        result = run(a_scenario(load=a_load(arrivals={"burst": {"size": 6}}, clients=2)))
        assert Counter(call.outcome for call in result.calls) == {Outcome.OK: 6}
        assert result.counts.refused == {"tool:analyze": 3}
        assert sorted(call.attempts for call in result.calls) == [1, 1, 1, 2, 2, 2]

    def test_fixed_advice_lets_none_of_them_in(self) -> None:
        """Told to come back after a second, three attempts are used up while the first calls still run."""
        fixed = PolicyConfig(advice=Advice(mode=AdviceMode.FIXED, fixed_s=1.0))
        result = run(a_scenario(load=a_load(arrivals={"burst": {"size": 6}}, clients=2)), fixed)
        assert Counter(call.outcome for call in result.calls) == {Outcome.OK: 3, Outcome.OVER_CAPACITY: 3}

    def test_full_provider_answers_429(self) -> None:
        """A provider with one execution at once fails the second call at once."""
        one = {"GLM": {"latency": {"constant": {"value": 40}}, "concurrency": 1}}
        result = run(a_scenario(providers=one, load=a_load(arrivals={"burst": {"size": 2}})))
        assert [(call.outcome, call.latency_s) for call in result.calls] == [
            (Outcome.PROVIDER_ERROR, 0.0),
            (Outcome.OK, 40.0),
        ]

    def test_equal_work_in_flight_is_a_duplicate(self) -> None:
        """With one key the first call runs and the others are told so at once."""
        result = run(a_scenario(load=a_load(arrivals={"burst": {"size": 3}}, keys="shared")))
        assert Counter(call.outcome for call in result.calls) == {Outcome.OK: 1, Outcome.DUPLICATE: 2}


class TestFaults:
    def test_failing_provider_fails_the_calls_of_its_time(self) -> None:
        """While the provider answers 503 its calls fail, before and after they do not."""
        fault = {"at": 15, "for": 10, "provider": {"name": "GLM", "mode": "status:503"}}
        load = a_load(duration=40, arrivals={"uniform": {"gap": 10}}, sequence=["chat"])
        result = run(a_scenario(load=load, faults=[fault]))
        by_start = sorted(result.calls, key=lambda call: call.intended_at)
        assert [call.outcome for call in by_start] == [Outcome.OK, Outcome.OK, Outcome.PROVIDER_ERROR, Outcome.OK]

    def test_slow_link_delays_both_ways(self) -> None:
        """Latency on a provider's link counts for the request and for its answer."""
        fault = {"at": 0, "for": 60, "link": "daemon-provider:GLM", "toxic": {"latency": {"latency": 5}}}
        (call,) = run(a_scenario(faults=[fault])).calls
        assert call.latency_s == 50.0

    def test_what_is_not_carried_is_named(self) -> None:
        """A fault that the model leaves out is told, never silently dropped."""
        result = run(a_scenario(faults=[{"at": 1, "for": 5, "signal": "SIGSTOP"}]))
        assert result.not_carried == ("fault sigstop: the model does not carry it",)


def test_the_same_seed_gives_the_same_history() -> None:
    """Two runs of one seed are equal, two seeds differ."""
    load = a_load(duration=2000, arrivals={"poisson": {"rate": 0.1}}, sequence=["analyze", "chat"])
    first, again, other = (run(a_scenario(load=load), seed=seed).calls for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_choices_of_a_load_are_those_of_its_calls() -> None:
    """The model runs on moment, client, tool and draw alone; they are those of the calls that a drill makes."""
    mix = {"mix": {"chat": 2, "analyze": 1}, "clients": 3}
    first = {"phase": "first", "duration": 500, "arrivals": {"poisson": {"rate": 0.2}}} | mix
    second = {"phase": "second", "start": 0, "duration": 500, "arrivals": {"burst": {"size": 4, "every": 50}}} | mix
    workload = Workload(a_scenario(load=[first, second | {"keys": "shared"}]), 5)
    phases = [phase.phase for phase in workload.open_phases()]
    choices = [(at, phases[index], client, tool, draw) for at, index, client, tool, draw in workload.open_choices()]
    calls = list(workload.open_calls())
    assert choices == [(call.at, call.phase.phase, call.client, call.tool, call.draw) for call in calls]
    assert len(calls) > 100


def test_calls_of_one_moment_come_client_by_client() -> None:
    """A burst reaches the daemon connection by connection, in their order, not in turns."""
    load = a_load(arrivals={"burst": {"size": 6}}, clients=2)
    acked = sorted(
        (int((call.request_id or "r0")[1:]), call.session)
        for call in run(a_scenario(load=load)).calls
        if call.attempts == 1
    )
    assert [session for _, session in acked] == ["one-0", "one-0", "one-0"]
