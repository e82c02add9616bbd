"""The policy's numbers by the names of the settings."""

from pathlib import Path

import pytest

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.errors import ConfigError
from reference_daemon.policy.named import TABLE, policy_config
from reference_daemon.settings import load_settings

VALUES = {
    "EXAI_WS_GLOBAL_MAX_INFLIGHT": "11",
    "EXAI_WS_SESSION_MAX_INFLIGHT": "7",
    "EXAI_WS_TOOL_MAX_INFLIGHT": "analyze=2, chat=9",
    "EXAI_WS_GLM_MAX_INFLIGHT": "5",
    "EXAI_WS_CALL_TIMEOUT": "170",
    "WORKFLOW_STEP_TIMEOUT_SECS": "110.5",
    "EXPERT_ANALYSIS_TIMEOUT_SECS": "80",
    "EXAI_WS_TTL_MULTIPLIER": "3",
    "EXAI_WS_INFLIGHT_TTL_SECS": "60",
    "EXAI_WS_RESULT_TTL": "500",
    "EXAI_WS_RESULT_MAX_ENTRIES": "10",
    "EXAI_WS_RESULT_MAX_BYTES": "1000",
    "EXAI_WS_MAX_TOMBSTONES": "20",
    "EXAI_WS_RETRY_AFTER": "fixed:3",
    "EXAI_WS_RETRY_AFTER_QUANTILE": "0.8",
    "EXAI_WS_EXPECTED_CALL_SECS": "40",
    "EXAI_WS_DRAIN_GRACE_SECS": "30",
}


def test_nothing_said_is_as_shipped() -> None:
    """Without values the numbers are the defaults; other settings are left alone."""
    assert policy_config({"LOG_FORMAT": "json", "EXAI_WS_PORT": "1"}) == PolicyConfig()


@pytest.mark.parametrize("advice", ["fixed:3", "residual", "appointment"])
def test_the_daemon_reads_the_same(advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names and values mean to the policy what they mean to the daemon's own reader."""
    values = VALUES | {"EXAI_WS_RETRY_AFTER": advice}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    empty = tmp_path / "empty.env"
    empty.touch()
    assert policy_config(values) == load_settings(empty).policy()
    assert set(TABLE) <= set(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXAI_WS_GLOBAL_MAX_INFLIGHT", "0"),
        ("EXAI_WS_GLOBAL_MAX_INFLIGHT", "many"),
        ("EXAI_WS_GLM_MAX_INFLIGHT", "1.5"),
        ("EXAI_WS_TOOL_MAX_INFLIGHT", "analyze"),
        ("EXAI_WS_CALL_TIMEOUT", "nan"),
        ("EXAI_WS_CALL_TIMEOUT", "soon"),
        ("EXAI_WS_RETRY_AFTER", "fixed:-1"),
        ("EXAI_WS_RETRY_AFTER", "later"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """The error says which setting it is."""
    with pytest.raises(ConfigError, match=name):
        policy_config({name: value})
