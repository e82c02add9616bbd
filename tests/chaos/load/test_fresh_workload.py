"""The workload for a daemon that outlives the run."""

from dataclasses import replace

from chaos.load.fresh_workload import FreshWorkload
from scenarios.load import find_scenario, load_scenario
from scenarios.model import Scenario
from scenarios.workload import PlannedCall, Workload
from tests.chaos.load.conftest import a_phase, a_scenario

CLOSED = {"closed": {"users": 2, "think": 1}}


def calls_of(scenario: Scenario, kind: type[Workload]) -> list[PlannedCall]:
    """Return all open calls and each user's first call."""
    workload = kind(scenario, 3)
    opened = list(workload.open_calls())
    closed = [workload.next_call(user, 0.0) for _, user in workload.closed_users()]
    return opened + [call for call in closed if call is not None]


def without_names(call: PlannedCall) -> PlannedCall:
    """Return a call without what identifies it."""
    return replace(call, call_key=None, trace_id="", nonce="")


def test_a_second_run_repeats_the_load_but_no_identity() -> None:
    """Two runs of one seed against one daemon make the same calls under keys, trace ids and nonces of their own."""
    scenario = a_scenario(a_phase(), a_phase(phase="users", arrivals=CLOSED))
    first, second, planned = (calls_of(scenario, kind) for kind in (FreshWorkload, FreshWorkload, Workload))
    assert [without_names(call) for call in first] == [without_names(call) for call in planned]
    for name in ("call_key", "trace_id", "nonce"):
        seen = [{getattr(call, name) for call in calls} for calls in (first, second, planned)]
        assert len(set.union(*seen)) == 3 * len(planned)


def test_what_was_shared_stays_shared() -> None:
    """A duplicate storm is still one key, and calls whose key the daemon derives still bring none."""
    for keys, expected in (("shared", 1), ("derived", 0)):
        calls = calls_of(a_scenario(a_phase(keys=keys)), FreshWorkload)
        assert len({call.call_key for call in calls} - {None}) == expected
        assert len({call.nonce for call in calls}) == 1


def test_ids_keep_their_form() -> None:
    """A trace id has 32 hex digits and a nonce 16, as the protocol and the checks expect."""
    scenario = load_scenario(find_scenario("smoke-sequential"))
    calls = calls_of(scenario, FreshWorkload)
    assert calls
    for call in calls:
        assert (len(call.trace_id), len(call.nonce)) == (32, 16)
        assert int(call.trace_id, 16)
        assert int(call.nonce, 16)
