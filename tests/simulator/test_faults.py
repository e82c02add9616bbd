"""Faults in the model: what they do to calls, and that what is left out is named."""

from collections import Counter
from typing import Any

import pytest

from reference_daemon.policy.config import Advice, AdviceMode, PolicyConfig
from scenarios.history import Call, Outcome, TimeoutLayer
from scenarios.load import load_scenario, shipped
from scenarios.model import Scenario
from simulator.model.engine import ModelRun, simulate

UNIFORM = {"uniform": {"gap": 10}}


def a_run(
    *, seed: int = 1, config: PolicyConfig | None = None, load: dict[str, Any] | None = None, **changes: Any
) -> ModelRun:
    """Run a scenario with one phase of chats to GLM, 40 s each, one every ten seconds, each with its own client."""
    phase = {"phase": "one", "duration": 40, "clients": 4, "arrivals": UNIFORM, "sequence": ["chat"]} | (load or {})
    values: dict[str, Any] = {
        "name": "faulty",
        "title": "Faulty",
        "providers": {"GLM": {"latency": {"constant": {"value": 40}}}},
        "load": [phase],
        "expect": [{"invariants": "all"}],
    }
    return simulate(Scenario.model_validate(values | changes), config or PolicyConfig(), seed=seed)


def by_start(run: ModelRun) -> list[Call]:
    """Return the calls in the order in which they were meant to start."""
    return sorted(run.calls, key=lambda call: call.intended_at)


def outcomes(run: ModelRun) -> list[Outcome]:
    """Return how the calls ended, in the order in which they were meant to start."""
    return [call.outcome for call in by_start(run)]


def a_toxic(link: str, toxic: Any, at: float = 0.0, last_s: float = 60.0, **more: Any) -> list[dict[str, Any]]:
    """Return one fault on a link."""
    return [{"at": at, "for": last_s, "link": link, "toxic": toxic} | more]


class TestProviders:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"mode": "status:429"}, Outcome.PROVIDER_ERROR),
            ({"mode": "hang"}, Outcome.TIMEOUT),
            ({"mode": "malformed"}, Outcome.PROVIDER_ERROR),
            ({"mode": "drip"}, Outcome.OK),
            ({"latency": {"constant": {"value": 500}}}, Outcome.TIMEOUT),
        ],
    )
    def test_what_comes_while_it_is_changed_feels_it(self, change: dict[str, Any], expected: Outcome) -> None:
        """A changed provider treats the requests of that time so; those that ran before, and come after, go well."""
        faults = [{"at": 15, "for": 10, "provider": {"name": "GLM", **change}}]
        assert outcomes(a_run(faults=faults)) == [Outcome.OK, Outcome.OK, expected, Outcome.OK]

    def test_fewer_executions_at_once(self) -> None:
        """A provider that takes one at a time for a while refuses the second."""
        faults = [{"at": 5, "for": 20, "provider": {"name": "GLM", "concurrency": 1}}]
        assert Counter(outcomes(a_run(faults=faults))) == {Outcome.OK: 2, Outcome.PROVIDER_ERROR: 2}


class TestLineToAProvider:
    def test_each_way_counts_when_it_is_slow(self) -> None:
        """The way there is slow for who goes there then, the way back for who comes back then."""
        run = a_run(faults=a_toxic("daemon-provider:GLM", {"latency": {"latency": 5}}, at=5, last_s=40))
        assert [call.latency_s for call in by_start(run)] == [45.0, 45.0, 45.0, 45.0]

    def test_what_is_held_back_comes_out_when_the_fault_ends(self) -> None:
        """A request that was held back when the toxic is removed arrives at that moment."""
        run = a_run(faults=a_toxic("daemon-provider:GLM", {"latency": {"latency": 30}}, at=8, last_s=4))
        assert [call.latency_s for call in by_start(run)] == [40.0, 42.0, 40.0, 40.0]

    def test_jitter_spreads_around_the_latency(self) -> None:
        """With jitter each way takes latency ± jitter, differently for each call, the same for the same seed."""
        faults = a_toxic("daemon-provider:GLM", {"latency": {"latency": 10, "jitter": 4}}, last_s=200)
        first, again = ([call.latency_s for call in by_start(a_run(faults=faults))] for _ in range(2))
        assert first == again
        assert len(set(first)) == 4
        assert all(latency_s is not None and 52.0 <= latency_s <= 68.0 for latency_s in first)

    def test_a_line_that_goes_down_fails_what_is_on_it(self) -> None:
        """Calls whose request is under way fail at once, and so do those that come while it is down."""
        run = a_run(faults=a_toxic("daemon-provider:GLM", "down", at=15, last_s=10))
        assert [(call.outcome, call.finished_at) for call in by_start(run)] == [
            (Outcome.PROVIDER_ERROR, 15.0),
            (Outcome.PROVIDER_ERROR, 15.0),
            (Outcome.PROVIDER_ERROR, 20.0),
            (Outcome.OK, 70.0),
        ]
        assert run.censuses["GLM"].inside == 0

    def test_a_black_hole_lets_calls_wait_for_their_deadline(self) -> None:
        """What goes into a black hole never comes back: the daemon gives up at the deadline."""
        run = a_run(faults=a_toxic("daemon-provider:GLM", {"timeout": {}}, at=15, last_s=10))
        assert outcomes(run) == [Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.OK]


class TestLineToTheClients:
    def test_latency_counts_both_ways(self) -> None:
        """Ack and answer come a round trip later; the daemon's own duration does not know of it."""
        run = a_run(faults=a_toxic("client-daemon", {"latency": {"latency": 2}}, last_s=200))
        (first, *_) = by_start(run)
        assert (first.latency_s, first.service_s, first.acked_at) == (44.0, 40.0, 4.0)

    def test_a_lost_connection_loses_no_call(self) -> None:
        """Clients come back, attach by their keys, and get the answers of the calls that went on."""
        run = a_run(faults=a_toxic("client-daemon", "down", at=35, last_s=3))
        assert [call.latency_s for call in by_start(run)][:3] == [pytest.approx(40.0)] * 3
        assert Counter(outcomes(run)) == {Outcome.OK: 4}

    def test_an_answer_that_was_missed_is_replayed(self) -> None:
        """A call that ended while its client was away is answered at the attach, as a replay."""
        run = a_run(faults=a_toxic("client-daemon", "down", at=38, last_s=5))
        (first, *_) = by_start(run)
        assert first.outcome is Outcome.REPLAYED
        assert first.finished_at is not None
        assert first.finished_at > 43.0

    def test_without_a_daemon_for_long_nobody_knows(self) -> None:
        """After half a minute without a daemon a call that was sent has an unknown end; one that was not is lost."""
        run = a_run(faults=a_toxic("client-daemon", "down", at=15, last_s=100))
        assert outcomes(run) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.CONNECTION_LOST, Outcome.CONNECTION_LOST]
        assert [call.finished_at for call in by_start(run)] == [45.0, 45.0, 50.0, 60.0]

    def test_a_black_hole_is_noticed_by_patience_alone(self) -> None:
        """Frames that are swallowed are lost without a sign: the client's patience ends it."""
        run = a_run(faults=a_toxic("client-daemon", {"timeout": {}}, at=15, last_s=10))
        calls = by_start(run)
        assert [call.outcome for call in calls] == [Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.OK]
        assert (calls[2].timeout_layer, calls[2].latency_s, calls[2].acked_at) == (TimeoutLayer.CLIENT, 180.0, None)

    def test_heartbeats_stop_while_the_line_is_down(self) -> None:
        """The longest silence spans the outage; a client that comes back hears of its call at once."""
        run = a_run(faults=a_toxic("client-daemon", "down", at=12, last_s=10))
        (first, *_) = by_start(run)
        assert first.first_heartbeat_s == 5.0
        assert first.max_heartbeat_gap_s is not None
        assert first.max_heartbeat_gap_s >= 12.0


class TestTheDaemonsEnd:
    def test_a_killed_daemon_leaves_nobody_sure(self) -> None:
        """The next daemon has never heard of the calls that ran: their outcome is unknown, others go on."""
        run = a_run(faults=[{"at": 15, "for": 3, "signal": "SIGKILL"}])
        assert outcomes(run) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.OK, Outcome.OK]
        assert run.censuses["daemon"].inside == run.censuses["GLM"].inside == 0

    def test_a_terminated_daemon_lets_calls_end(self) -> None:
        """Calls in flight end within the grace; new ones are refused until the next daemon is there."""
        run = a_run(faults=[{"at": 15, "for": 3, "signal": "SIGTERM"}])
        calls = by_start(run)
        assert [call.outcome for call in calls] == [Outcome.OK] * 4
        assert [call.attempts for call in calls] == [1, 1, 2, 2]
        assert calls[0].faults == ("sigterm",)

    def test_the_grace_is_not_endless(self) -> None:
        """A call that outlasts the grace is interrupted."""
        config = PolicyConfig(drain_grace_s=10.0)
        run = a_run(faults=[{"at": 15, "for": 3, "signal": "SIGTERM"}], config=config)
        assert outcomes(run)[:2] == [Outcome.INTERRUPTED] * 2

    def test_without_a_restart_there_is_none(self) -> None:
        """A daemon that is not started again is looked for in vain."""
        run = a_run(faults=[{"at": 15, "signal": "SIGKILL", "restart": False}])
        assert outcomes(run) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.CONNECTION_LOST, Outcome.CONNECTION_LOST]

    def test_after_a_refusal_the_refusal_stays_the_end(self) -> None:
        """A call that was to come back later and finds no daemon ends as it was refused."""
        fixed = PolicyConfig(advice=Advice(mode=AdviceMode.FIXED, fixed_s=20.0))
        burst = {"arrivals": {"burst": {"size": 5}}, "clients": 5}
        run = a_run(faults=[{"at": 1, "signal": "SIGKILL", "restart": False}], config=fixed, load=burst)
        assert Counter(outcomes(run)) == {Outcome.UNKNOWN: 4, Outcome.OVER_CAPACITY: 1}


class TestClientsThatMisbehave:
    def test_a_cancelled_call_frees_its_slot(self) -> None:
        """The daemon is told, and the next call has the slot."""
        run = a_run(load={"behaviour": {"cancel": 4}, "duration": 100})
        assert set(outcomes(run)) == {Outcome.CANCELLED}
        assert run.counts.refused == {}
        assert run.censuses["daemon"].most == 1

    def test_a_vanished_client_leaves_its_call_running(self) -> None:
        """Early close: nobody tells the daemon, the call keeps its slot until it ends."""
        run = a_run(load={"behaviour": {"early_close": 4}})
        assert {(call.outcome, call.timeout_layer, call.latency_s) for call in run.calls} == {
            (Outcome.UNKNOWN, TimeoutLayer.CLIENT, 4.0)
        }
        assert run.censuses["daemon"].stays_s == 160.0

    def test_a_client_that_reads_nothing_hears_late(self) -> None:
        """Ack and answer are there when it reads again."""
        run = a_run(load={"behaviour": {"stop_reading": 50}})
        assert {(call.outcome, call.latency_s) for call in run.calls} == {(Outcome.OK, 50.0)}

    def test_copies_of_a_call_are_duplicates(self) -> None:
        """One runs, the others are told at once; each has a row of its own."""
        run = a_run(load={"behaviour": {"duplicates": 3}, "arrivals": {"burst": {"size": 1}}})
        assert Counter(outcomes(run)) == {Outcome.OK: 1, Outcome.DUPLICATE: 3}
        assert len({call.trace_id for call in run.calls}) == 4
        assert len({call.call_key_hash for call in run.calls}) == 1


class TestWhatIsLeftOut:
    @pytest.mark.parametrize(
        ("fault", "title"),
        [
            ({"at": 1, "for": 5, "signal": "SIGSTOP"}, "sigstop"),
            (
                {"at": 1, "for": 5, "link": "client-daemon", "toxic": {"slicer": {"average_size": 9}}},
                "slicer-client-daemon",
            ),
            ({"at": 1, "for": 5, "link": "client-daemon", "toxic": "down", "toxicity": 0.5}, "down-client-daemon"),
            (
                {"at": 1, "for": 5, "link": "client-daemon", "toxic": {"timeout": {"timeout": 2}}},
                "timeout-client-daemon",
            ),
        ],
    )
    def test_a_fault_that_is_left_out_is_named(self, fault: dict[str, Any], title: str) -> None:
        """Never silently dropped, and not among the faults of any call."""
        run = a_run(faults=[fault])
        assert run.not_carried == (f"fault {title}: the model does not carry it",)
        assert {call.faults for call in run.calls} == {()}


def test_calls_name_the_faults_that_they_met() -> None:
    """A call has the name of each fault that was on while it ran; equal names are numbered."""
    change = {"for": 10, "provider": {"name": "GLM", "concurrency": 5}}
    run = a_run(faults=[{"at": 5, **change}, {"at": 45, **change}])
    assert [call.faults for call in by_start(run)] == [
        ("glm-change",),
        ("glm-change", "glm-change-2"),
        ("glm-change-2",),
        ("glm-change-2",),
    ]


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_scenario_runs_to_its_end(name: str) -> None:
    """Each call of each scenario ends, nothing is left in the daemon or at a provider, and nothing wins by magic."""
    scenario = load_scenario(shipped()[name])
    if scenario.load_s > 4000:
        scenario = scenario.model_copy(update={"load": scenario.load[:1]})
    run = simulate(scenario, PolicyConfig(), seed=scenario.seed)
    assert run.calls
    assert all(census.inside == 0 for census in run.censuses.values())
    assert all(call.finished_at is not None and call.finished_at >= call.intended_at for call in run.calls)
