"""The stream of calls: when they arrive, what they are, and that one seed always makes the same ones."""

import math
import re
import time
import uuid
from collections import Counter
from itertools import islice, pairwise
from typing import Any

import pytest

from scenarios.model import Scenario
from scenarios.workload import PlannedCall, Workload, arguments

ONE_AT_ONCE = {"burst": {"size": 1}}
TWENTY = {"burst": {"size": 20}}


def a_phase(**changes: Any) -> dict[str, Any]:
    """Return a phase of 100 s with a call every 10 s, with the given keys changed."""
    return {
        "phase": "steady",
        "duration": 100,
        "arrivals": {"uniform": {"gap": 10}},
        "mix": {"analyze": 1},
    } | changes


def a_workload(*phases: dict[str, Any], seed: int = 7) -> Workload:
    """Return the workload of a scenario with these phases."""
    scenario = {
        "name": "tiny",
        "title": "A test's scenario",
        "providers": {"GLM": {"latency": {"constant": {"value": 45}}}},
        "load": phases or [a_phase()],
        "expect": [{"invariants": "all"}],
    }
    return Workload(Scenario.model_validate(scenario), seed)


def calls_of(*phases: dict[str, Any], seed: int = 7) -> list[PlannedCall]:
    """Return the open calls of a scenario with these phases."""
    return list(a_workload(*phases, seed=seed).open_calls())


def moments(**changes: Any) -> list[float]:
    """Return the moments of the calls of one phase."""
    return [call.at for call in calls_of(a_phase(**changes))]


def luck(call: PlannedCall) -> tuple[object, ...]:
    """Return what chance decided about a call."""
    return call.at, call.tool, call.draw, call.call_key, call.trace_id, call.nonce


class TestArrivals:
    def test_uniform_has_a_fixed_gap(self) -> None:
        """The first call comes at the phase's start, the last before its end."""
        assert moments(arrivals={"uniform": {"gap": 25}}) == [0, 25, 50, 75]

    def test_uniform_gaps_do_not_add_up_errors(self) -> None:
        """A moment is a multiple of the gap; a sum of tenths would drift."""
        assert moments(duration=10, arrivals={"uniform": {"gap": 0.1}}) == [step * 0.1 for step in range(100)]

    def test_burst_comes_whole(self) -> None:
        """All calls of a burst come at the same moment, and the next burst after `every`."""
        assert moments(arrivals={"burst": {"size": 3, "every": 60}}) == [0, 0, 0, 60, 60, 60]

    def test_burst_without_every_comes_once(self) -> None:
        """One burst, at the phase's start."""
        assert moments(arrivals={"burst": {"size": 2}}) == [0, 0]

    def test_trace_is_sorted(self) -> None:
        """The times of a trace may stand in any order; equal ones are calls of their own."""
        assert moments(arrivals={"trace": {"times": [7, 3, 100, 3]}}) == [3, 3, 7, 100]

    def test_trace_stays_within_the_phase(self) -> None:
        """A time after the end of its phase is a mistake, not a call that nobody sees."""
        with pytest.raises(ValueError, match="after the end of the phase"):
            moments(arrivals={"trace": {"times": [100.1]}})

    def test_poisson_lies_within_the_phase(self) -> None:
        """Arrivals come in order, from the phase's start to before its end."""
        times = moments(start=50, arrivals={"poisson": {"rate": 10}})
        assert times == sorted(times)
        assert times
        assert all(50 <= moment < 150 for moment in times)

    def test_poisson_has_its_rate_and_its_spread(self) -> None:
        """With this seed, 20,000 expected arrivals are off by under 3 standard deviations, and so is the gaps' spread.

        The gaps are exponential: mean and deviation are 1 / rate. The deviation's own standard error is about
        1 / (rate * sqrt(n / 2)), as the fourth moment of an exponential is 9 times its variance squared.
        """
        times = moments(duration=10_000, arrivals={"poisson": {"rate": 2}})
        gaps = [after - before for before, after in pairwise(times)]
        mean = math.fsum(gaps) / len(gaps)
        deviation = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps))
        assert abs(len(times) - 20_000) < 3 * math.sqrt(20_000)
        assert abs(deviation - 0.5) < 3 * 0.5 / math.sqrt(len(gaps) / 2)

    def test_phases_follow_each_other(self) -> None:
        """A phase without a start begins when the one before it ends; one with a start, then."""
        calls = calls_of(
            a_phase(phase="first", arrivals=ONE_AT_ONCE),
            a_phase(phase="second", arrivals=ONE_AT_ONCE),
            a_phase(phase="third", start=50, arrivals=ONE_AT_ONCE),
        )
        assert [(call.at, call.phase.phase) for call in calls] == [(0, "first"), (50, "third"), (100, "second")]

    def test_phases_are_merged_by_moment(self) -> None:
        """Calls of phases at the same time come in one order, the phase named first before, and are numbered in it."""
        calls = calls_of(
            a_phase(phase="slow", arrivals={"uniform": {"gap": 50}}),
            a_phase(phase="fast", start=0, arrivals={"uniform": {"gap": 25}}),
        )
        assert [(call.number, call.at, call.phase.phase) for call in calls] == [
            (0, 0, "slow"),
            (1, 0, "fast"),
            (2, 25, "fast"),
            (3, 50, "slow"),
            (4, 50, "fast"),
            (5, 75, "fast"),
        ]


class TestSeeds:
    BUSY = a_phase(arrivals={"poisson": {"rate": 1}}, mix={"analyze": 3, "chat": 1})

    def test_same_seed_same_calls(self) -> None:
        """One seed makes the same calls each time, from one workload or from two."""
        workload = a_workload(self.BUSY)
        assert list(workload.open_calls()) == list(workload.open_calls()) == calls_of(self.BUSY)

    def test_another_seed_another_luck(self) -> None:
        """Nothing that chance decides is left from one seed to the next."""
        ours, theirs = calls_of(self.BUSY), calls_of(self.BUSY, seed=8)
        assert ours[0].at != theirs[0].at
        assert not {call.nonce for call in ours} & {call.nonce for call in theirs}

    def test_luck_is_pinned(self) -> None:
        """The first call of this scenario is this one on every machine and Python: recorded runs refer to it."""
        first = calls_of(self.BUSY)[0]
        assert luck(first) == PINNED

    def test_another_phase_changes_nothing(self) -> None:
        """A phase that is added, before or after, leaves the luck of the others as it was."""
        alone = [luck(call) for call in calls_of(self.BUSY)]
        more = calls_of(a_phase(phase="before", start=0), self.BUSY | {"start": 0}, a_phase(phase="after"))
        assert [luck(call) for call in more if call.phase.phase == "steady"] == alone

    def test_more_clients_change_no_luck(self) -> None:
        """Who makes a call has nothing to do with what it is."""
        assert [luck(call) for call in calls_of(self.BUSY | {"clients": 5})] == [
            luck(call) for call in calls_of(self.BUSY)
        ]

    def test_purposes_do_not_disturb_each_other(self) -> None:
        """Another mix changes the tools, and neither moments nor draws nor keys."""
        other = calls_of(self.BUSY | {"mix": {"testgen": 1}})
        assert [(call.at, call.draw, call.nonce) for call in other] == [
            (call.at, call.draw, call.nonce) for call in calls_of(self.BUSY)
        ]


PINNED = (
    0.1424061556726423,
    "chat",
    0.29434997298074095,
    "e007116d-3d72-467c-a800-05c118632893",
    "51a6a0b6822ef36e619d458c3a974860",
    "08af65be8410ed6d",
)


class TestClients:
    def test_clients_take_turns(self) -> None:
        """The clients of a phase share its calls in turn."""
        assert [call.client for call in calls_of(a_phase(clients=3))] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]

    def test_phases_have_clients_of_their_own(self) -> None:
        """Clients are numbered over all phases, closed ones too, in the order of the file."""
        calls = calls_of(
            a_phase(phase="first", clients=2, arrivals={"burst": {"size": 2}}),
            a_phase(phase="second", clients=3, arrivals={"closed": {"users": 1}}),
            a_phase(phase="third", clients=1, arrivals=ONE_AT_ONCE),
        )
        assert [(call.phase.phase, call.client) for call in calls] == [("first", 0), ("first", 1), ("third", 5)]


class TestTools:
    def test_sequence_goes_round(self) -> None:
        """The tools of a sequence come in their order, and again from the first."""
        calls = calls_of(a_phase(mix=None, sequence=["analyze", "codereview", "testgen"]))
        assert [call.tool for call in calls[:4]] == ["analyze", "codereview", "testgen", "analyze"]

    def test_mix_has_its_weights(self) -> None:
        """With this seed, of 10,000 calls a weight of 3 in 4 gets its share within 3 standard deviations."""
        calls = calls_of(a_phase(arrivals={"burst": {"size": 10_000}}, mix={"analyze": 3, "chat": 1}))
        counts = Counter(call.tool for call in calls)
        assert set(counts) == {"analyze", "chat"}
        assert abs(counts["analyze"] - 7_500) < 3 * math.sqrt(10_000 * 0.75 * 0.25)


class TestKeys:
    def test_unique_keys(self) -> None:
        """Each call has a key of its own, a UUID of version 4, and work of its own."""
        calls = calls_of(a_phase(arrivals=TWENTY))
        keys = [uuid.UUID(call.call_key) for call in calls]
        assert all(key.version == 4 and key.variant == uuid.RFC_4122 for key in keys)
        assert len(set(keys)) == len({call.nonce for call in calls}) == len({call.draw for call in calls}) == 20

    @pytest.mark.parametrize(
        "tools", [{"mix": {"analyze": 1, "chat": 1}}, {"mix": None, "sequence": ["chat", "analyze"]}]
    )
    def test_shared_key_is_one_piece_of_work(self, tools: dict[str, Any]) -> None:
        """With `shared`, key, tool and arguments are the same in the whole phase; only traces differ."""
        calls = calls_of(a_phase(arrivals=TWENTY, keys="shared", **tools))
        assert len({call.call_key for call in calls}) == 1
        assert calls[0].call_key is not None
        assert all(arguments(call) == arguments(calls[0]) and call.tool == calls[0].tool for call in calls)
        assert len({call.trace_id for call in calls}) == 20

    def test_shared_keys_of_two_phases_differ(self) -> None:
        """Each phase has its own key."""
        first, second = calls_of(
            a_phase(phase="first", keys="shared", arrivals=ONE_AT_ONCE),
            a_phase(phase="second", keys="shared", arrivals=ONE_AT_ONCE),
        )
        assert first.call_key != second.call_key
        assert first.nonce != second.nonce

    def test_derived_key_comes_from_equal_arguments(self) -> None:
        """With `derived`, calls carry no key, and those of the same tool have equal arguments."""
        calls = calls_of(a_phase(arrivals=TWENTY, keys="derived", mix={"analyze": 1, "chat": 1}))
        assert {call.call_key for call in calls} == {None}
        assert {call.tool for call in calls} == {"analyze", "chat"}
        for tool in ("analyze", "chat"):
            same = [arguments(call) for call in calls if call.tool == tool]
            assert all(given == same[0] for given in same)

    def test_trace_ids(self) -> None:
        """Every call has a trace_id of its own: 32 hex digits."""
        calls = calls_of(a_phase(arrivals=TWENTY))
        assert all(re.fullmatch(r"[0-9a-f]{32}", call.trace_id) for call in calls)
        assert len({call.trace_id for call in calls}) == 20

    def test_draws(self) -> None:
        """A draw is a number from [0, 1)."""
        draws = {call.draw for call in calls_of(a_phase(arrivals=TWENTY))}
        assert len(draws) == 20
        assert all(0 <= draw < 1 for draw in draws)


class TestClosedUsers:
    CLOSED = a_phase(clients=2, arrivals={"closed": {"users": 3, "think": 5}})

    def test_open_stream_holds_none_of_their_calls(self) -> None:
        """When a closed call comes depends on the one before it, so no stream can hold it."""
        assert calls_of(self.CLOSED) == []

    def test_users_are_numbered_over_all_phases(self) -> None:
        """Each user has a number of its own in the run."""
        workload = a_workload(self.CLOSED, self.CLOSED | {"phase": "later"})
        assert [(phase.phase, user) for phase, user in workload.closed_users()] == [
            ("steady", 0),
            ("steady", 1),
            ("steady", 2),
            ("later", 3),
            ("later", 4),
            ("later", 5),
        ]

    def test_users_share_the_clients(self) -> None:
        """Users take the phase's clients in turn, and stay with theirs."""
        workload = a_workload(a_phase(phase="open"), self.CLOSED)
        firsts = [workload.next_call(user, 0.0) for user in range(3)]
        assert [call.client for call in firsts if call] == [1, 2, 1]
        second = workload.next_call(0, 120.0)
        assert second is not None
        assert second.client == 1

    def test_first_call_comes_at_the_start(self) -> None:
        """Nobody thinks before the first call, however late its user is asked."""
        workload = a_workload(a_phase(phase="open"), self.CLOSED)
        for user, now in enumerate((0.0, 99.0, 101.0)):
            call = workload.next_call(user, now)
            assert call is not None
            assert (call.at, call.user) == (100.0, user)

    def test_thinking_begins_at_the_end_of_the_last_call(self) -> None:
        """A later call comes after `now` by a time of thinking, the same one whatever `now` is."""
        early, late = a_workload(self.CLOSED), a_workload(self.CLOSED)
        for workload in (early, late):
            workload.next_call(0, 0.0)
        second, same = early.next_call(0, 10.0), late.next_call(0, 20.0)
        assert second is not None
        assert same is not None
        assert second.at > 10.0
        assert same.at - 20.0 == pytest.approx(second.at - 10.0, abs=1e-12)  # a sum's last bit

    def test_without_thinking_the_next_call_comes_at_once(self) -> None:
        """With `think` 0 a call begins when the one before it ends."""
        workload = a_workload(a_phase(arrivals={"closed": {"users": 1}}))
        workload.next_call(0, 0.0)
        call = workload.next_call(0, 33.5)
        assert call is not None
        assert call.at == 33.5

    def test_mean_of_thinking(self) -> None:
        """With this seed, the mean of 2,000 thinks of 5 s is off by under 3 standard errors."""
        workload = a_workload(a_phase(duration=100_000, arrivals={"closed": {"users": 1, "think": 5}}))
        workload.next_call(0, 0.0)
        thinks = [call.at for _ in range(2_000) if (call := workload.next_call(0, 0.0))]
        assert abs(math.fsum(thinks) / 2_000 - 5) < 3 * 5 / math.sqrt(2_000)

    @pytest.mark.parametrize(("now", "comes"), [(99.9, True), (100.0, False)])
    def test_no_call_at_the_phases_end(self, now: float, comes: bool) -> None:
        """A call that would begin at the end of its phase or later does not come."""
        workload = a_workload(a_phase(arrivals={"closed": {"users": 1}}))
        workload.next_call(0, 0.0)
        assert (workload.next_call(0, now) is not None) == comes

    def test_number_of_calls(self) -> None:
        """With `calls`, a user is done after as many, and stays so."""
        workload = a_workload(a_phase(arrivals={"closed": {"users": 1, "calls": 2}}))
        made = [workload.next_call(0, 1.0) is not None for _ in range(4)]
        assert made == [True, True, False, False]

    def test_order_of_the_users_changes_nothing(self) -> None:
        """A user's calls are the same whoever else called in between; so a simulation shares a real run's luck."""
        one, other = a_workload(self.CLOSED), a_workload(self.CLOSED)
        ours = [one.next_call(user, 10.0) for user in (0, 0, 1, 1, 2, 2)]
        theirs = [other.next_call(user, 10.0) for user in (2, 1, 0, 1, 2, 0)]
        assert {call.number: call for call in ours if call} == {call.number: call for call in theirs if call}

    def test_numbers_are_all_different(self) -> None:
        """Closed calls are numbered after the open ones; no number comes twice."""
        workload = a_workload(a_phase(phase="open"), self.CLOSED)
        numbers = [call.number for user in (0, 2, 1, 0, 1) if (call := workload.next_call(user, 110.0))]
        assert len(set(numbers)) == 5
        assert min(numbers) == len(list(workload.open_calls())) == 10

    def test_each_user_goes_through_the_sequence(self) -> None:
        """A sequence is one user's work: everybody begins with its first tool."""
        workload = a_workload(
            a_phase(mix=None, sequence=["analyze", "testgen"], arrivals={"closed": {"users": 2}}),
        )
        tools = [call.tool for user in (0, 0, 1, 1) if (call := workload.next_call(user, 1.0))]
        assert tools == ["analyze", "testgen", "analyze", "testgen"]

    @pytest.mark.parametrize("keys", ["shared", "derived"])
    def test_same_work_for_all_users(self, keys: str) -> None:
        """Users of a phase with shared or derived keys ask for the same work."""
        workload = a_workload(self.CLOSED | {"keys": keys})
        calls = [call for user in (0, 1, 0, 2) if (call := workload.next_call(user, 1.0))]
        assert len({(call.call_key, call.nonce, call.draw) for call in calls}) == 1
        assert (calls[0].call_key is None) == (keys == "derived")


class TestArguments:
    def one(self, tool: str, **changes: Any) -> tuple[PlannedCall, dict[str, object]]:
        """Return a call of a tool and its arguments."""
        call = calls_of(a_phase(arrivals=ONE_AT_ONCE, mix={tool: 1}, **changes))[0]
        return call, arguments(call)

    @pytest.mark.parametrize("tool", ["analyze", "codereview", "testgen"])
    def test_workflow_tools_ask_an_expert(self, tool: str) -> None:
        """A workflow tool makes its only, final step, with the assistant, least thinking and no web."""
        call, given = self.one(tool)
        assert given.pop("step")
        assert f"nonce:{call.nonce}" in str(given.pop("findings")).split()
        assert given == {
            "step_number": 1,
            "total_steps": 1,
            "next_step_required": False,
            "assistant": True,
            "thinking_mode": "minimal",
            "use_websearch": False,
            "draw": call.draw,
        }

    def test_intermediate_step(self) -> None:
        """Without an expert it is the first step of two."""
        _, given = self.one("analyze", expert=False)
        assert (given["step_number"], given["total_steps"], given["next_step_required"]) == (1, 2, True)
        assert given["assistant"] is True

    @pytest.mark.parametrize("tool", ["chat", "kimi_chat_with_tools"])
    def test_chat_tools_get_a_prompt(self, tool: str) -> None:
        """A chat tool gets a prompt with the nonce, least thinking and no web."""
        call, given = self.one(tool)
        assert f"nonce:{call.nonce}" in str(given.pop("prompt")).split()
        assert given == {"thinking_mode": "minimal", "use_websearch": False, "draw": call.draw}

    @pytest.mark.parametrize("tool", ["version", "listmodels"])
    def test_local_tools_get_nothing(self, tool: str) -> None:
        """The daemon answers these by itself."""
        assert self.one(tool, model="glm-4.6")[1] == {}

    @pytest.mark.parametrize("tool", ["chat", "analyze"])
    def test_model_of_the_phase(self, tool: str) -> None:
        """The phase's model goes with every call that asks one."""
        assert self.one(tool, model="glm-4.6")[1]["model"] == "glm-4.6"


class TestStreaming:
    def test_a_million_calls_are_not_made_at_once(self) -> None:
        """The first calls of a very long phase come at once: each is made when it is asked for.

        The whole stream would take seconds and hundreds of megabytes.
        """
        workload = a_workload(a_phase(duration=100_000, arrivals={"poisson": {"rate": 1_000}}))
        begun = time.process_time()
        assert len(list(islice(workload.open_calls(), 10))) == 10
        assert time.process_time() - begun < 1.0  # 10 of 100 million calls
