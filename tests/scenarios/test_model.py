"""What a scenario may say; reading it from a file is tested apart."""

from typing import Any

import pytest
from pydantic import ValidationError

from scenarios.model import Scenario


def a_scenario(**changes: Any) -> dict[str, Any]:
    """Return the mapping of a small scenario."""
    return {
        "name": "small",
        "title": "Small",
        "providers": {"GLM": {"latency": {"constant": {"value": 1}}}},
        "load": [{"phase": "one", "duration": 10, "arrivals": {"burst": {"size": 1}}, "sequence": ["analyze"]}],
        "expect": [{"invariants": "all"}],
    } | changes


def test_phases_follow_one_another_unless_they_say_when() -> None:
    """A phase starts where the one before it ends; `start` places it anywhere."""
    phase = {"duration": 10, "arrivals": {"burst": {"size": 1}}, "sequence": ["analyze"]}
    load = [phase | {"phase": "a"}, phase | {"phase": "b"}, phase | {"phase": "c", "start": 5}]
    scenario = Scenario.model_validate(a_scenario(load=load))
    assert [start for start, _ in scenario.phases()] == [0, 10, 5]
    assert scenario.load_s == 20


def test_fault_gets_a_name_from_what_it_is() -> None:
    """A fault without a name is called by its kind and place."""
    faults = [
        {"at": 1, "for": 1, "link": "daemon-provider:GLM", "toxic": "down"},
        {"at": 1, "signal": "SIGKILL"},
        {"at": 1, "for": 1, "provider": {"name": "GLM", "mode": "status:503"}},
    ]
    scenario = Scenario.model_validate(a_scenario(faults=faults))
    assert [fault.title for fault in scenario.faults] == ["down-daemon-provider-glm", "sigkill", "glm-status-503"]


WRONG: dict[str, dict[str, Any]] = {
    "no expectation": {"expect": []},
    "expectation without a limit": {"expect": [{"metric": "p95_s"}]},
    "expectation of nothing": {"expect": [{"min": 1}]},
    "min above max": {"expect": [{"metric": "p95_s", "min": 2, "max": 1}]},
    "two arrivals": {
        "load": [
            {
                "phase": "one",
                "duration": 1,
                "arrivals": {"burst": {"size": 1}, "uniform": {"gap": 1}},
                "sequence": ["analyze"],
            }
        ]
    },
    "fault on an unknown provider": {"faults": [{"at": 1, "for": 1, "link": "daemon-provider:NONE", "toxic": "down"}]},
    "fault without an end": {"faults": [{"at": 1, "link": "client-daemon", "toxic": "down"}]},
    "toxic without a link": {"faults": [{"at": 1, "for": 1, "toxic": "down"}]},
    "two kinds of fault": {
        "faults": [{"at": 1, "for": 1, "signal": "SIGSTOP", "link": "client-daemon", "toxic": "down"}]
    },
    "latency that is none": {"providers": {"GLM": {"latency": {"lognormal": {"median": -1, "sigma": 1}}}}},
    "unknown key": {"sead": 7},
    "NaN": {"quiesce": float("nan")},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    """Nothing that cannot be run, or could not be judged, is a scenario."""
    with pytest.raises(ValidationError):
        Scenario.model_validate(a_scenario(**changes))
