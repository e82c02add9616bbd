"""The settings of a drill's daemon."""

import os
from pathlib import Path

import pytest

from chaos.settings_of import DrillSettingsError, caps_of, checked, timeouts_of, wanted
from scenarios.model import Scenario


def a_scenario(**settings: object) -> Scenario:
    """Return the smallest scenario with these settings."""
    return Scenario.model_validate(
        {
            "name": "small",
            "title": "Small",
            "settings": settings,
            "providers": {"GLM": {"latency": {"constant": {"value": 1}}}},
            "load": [{"phase": "one", "duration": 1, "arrivals": {"burst": {"size": 1}}, "sequence": ["version"]}],
            "expect": [{"invariants": "all"}],
        }
    )


def test_caps_are_named_as_refusals_name_them() -> None:
    """Each cap stands under its scope."""
    scenario = a_scenario(EXAI_WS_GLOBAL_MAX_INFLIGHT=5, EXAI_WS_GLM_MAX_INFLIGHT=2)
    caps = caps_of(checked(scenario, wanted(scenario, None)))
    assert (caps["global"], caps["session"], caps["tool:analyze"], caps["provider:GLM"]) == (5, 8, 3, 2)


def test_the_users_environment_has_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the user's own daemon changes nothing, and is there again afterwards."""
    monkeypatch.setenv("EXAI_WS_CALL_TIMEOUT", "7")
    scenario = a_scenario()
    assert timeouts_of(checked(scenario, {}))["call timeout"] == 180.0
    assert os.environ["EXAI_WS_CALL_TIMEOUT"] == "7"


def test_file_stands_before_the_scenario(tmp_path: Path) -> None:
    """What --env-file sets wins, and its address and port are left alone."""
    file = tmp_path / "recommended.env"
    file.write_text("EXAI_WS_GLOBAL_MAX_INFLIGHT=9\nEXAI_WS_PORT=8765\n")
    assert wanted(a_scenario(EXAI_WS_GLOBAL_MAX_INFLIGHT=5), file) == {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "9"}


def test_yaml_truth_is_written_as_the_daemon_reads_it() -> None:
    """A YAML true becomes the word true."""
    assert wanted(a_scenario(EXAI_LONG_RUN=True), None) == {"EXAI_LONG_RUN": "true"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"EXAI_WS_GLOBAL_MAX_INFLIGHT": 0}, "EXAI_WS_GLOBAL_MAX_INFLIGHT"),
        ({"EXAI_WS_CALL_TIMOUT": 100}, "EXAI_WS_CALL_TIMOUT"),
        ({"EXAI_WS_PORT": 8765}, "EXAI_WS_PORT"),
        ({"EXAI_WS_CALL_TIMEOUT": "nan"}, "EXAI_WS_CALL_TIMEOUT"),
    ],
)
def test_mistakes_are_named_before_anything_starts(settings: dict[str, object], names: str) -> None:
    """A wrong value, an unknown name and a setting of the drill's own are refused by name, with status 2."""
    scenario = a_scenario(**settings)
    with pytest.raises(DrillSettingsError, match=names) as caught:
        checked(scenario, wanted(scenario, None))
    assert caught.value.exit_code == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    """An --env-file that is not there is no empty one."""
    with pytest.raises(DrillSettingsError, match=r"nowhere\.env"):
        wanted(a_scenario(), tmp_path / "nowhere.env")
