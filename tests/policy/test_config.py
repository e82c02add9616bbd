"""Settings are checked where they are made."""

from collections.abc import Callable

import pytest

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig, Timeouts, Ttls
from reference_daemon.policy.errors import ConfigError

NO_TIMES = [0.0, -1.0, float("inf"), float("nan")]
NO_PARTS = [0.0, 1.0, -0.1, 1.1, float("nan")]


def test_the_defaults_are_the_strategys() -> None:
    """Nobody needs to set anything."""
    config = PolicyConfig()
    assert (config.caps.total, config.caps.session) == (16, 8)
    assert config.caps.tools == {"analyze": 3, "codereview": 3, "testgen": 4}
    assert config.caps.providers == {"GLM": 4, "KIMI": 6}
    assert (config.timeouts.call_s, config.timeouts.step_s, config.timeouts.expert_s) == (180.0, 120.0, 90.0)
    assert (config.ttls.multiplier, config.ttls.inflight_s, config.ttls.result_s) == (2.0, None, 600.0)
    assert (config.advice.mode, config.advice.quantile) == (AdviceMode.APPOINTMENT, 0.9)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda cap: Caps(total=cap), "EXAI_WS_GLOBAL_MAX_INFLIGHT"),
        (lambda cap: Caps(session=cap), "EXAI_WS_SESSION_MAX_INFLIGHT"),
        (lambda cap: Caps(tools={"analyze": cap}), "EXAI_WS_TOOL_MAX_INFLIGHT[analyze]"),
        (lambda cap: Caps(providers={"GLM": cap}), "EXAI_WS_GLM_MAX_INFLIGHT"),
        (lambda bound: Ttls(result_entries=bound), "EXAI_WS_RESULT_MAX_ENTRIES"),
        (lambda bound: Ttls(result_bytes=bound), "EXAI_WS_RESULT_MAX_BYTES"),
        (lambda bound: Ttls(tombstones=bound), "EXAI_WS_MAX_TOMBSTONES"),
        (lambda bound: Advice(max_appointments=bound), "max_appointments"),
    ],
)
def test_counts_are_at_least_one(make: Callable[[int], object], setting: str) -> None:
    """A cap or bound of 1 is allowed, of 0 or less not; the setting is named."""
    make(1)
    for value in (0, -1):
        with pytest.raises(ConfigError) as caught:
            make(value)
        assert (caught.value.setting, caught.value.value) == (setting, value)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda time_s: Timeouts(call_s=time_s), "EXAI_WS_CALL_TIMEOUT"),
        (lambda time_s: Timeouts(step_s=time_s), "WORKFLOW_STEP_TIMEOUT_SECS"),
        (lambda time_s: Timeouts(expert_s=time_s), "EXPERT_ANALYSIS_TIMEOUT_SECS"),
        (lambda times: Ttls(multiplier=times), "EXAI_WS_TTL_MULTIPLIER"),
        (lambda time_s: Ttls(inflight_s=time_s), "EXAI_WS_INFLIGHT_TTL_SECS"),
        (lambda time_s: Ttls(result_s=time_s), "EXAI_WS_RESULT_TTL"),
        (lambda time_s: Advice(fixed_s=time_s), "EXAI_WS_RETRY_AFTER"),
        (lambda time_s: Advice(expected_call_s=time_s), "EXAI_WS_EXPECTED_CALL_SECS"),
        (lambda time_s: Advice(expected_short_s=time_s), "expected_short_s"),
        (lambda time_s: Advice(least_s=time_s), "least_s"),
        (lambda time_s: Advice(grace_s=time_s), "grace_s"),
        (lambda time_s: PolicyConfig(drain_grace_s=time_s), "EXAI_WS_DRAIN_GRACE_SECS"),
    ],
)
def test_times_are_finite_and_above_zero(make: Callable[[float], object], setting: str) -> None:
    """Zero, negative, infinite times and NaN are refused; the setting is named."""
    make(0.001)
    for value in NO_TIMES:
        with pytest.raises(ConfigError) as caught:
            make(value)
        assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda part: Advice(quantile=part), "EXAI_WS_RETRY_AFTER_QUANTILE"),
        (lambda part: Advice(expected_spread=part), "expected_spread"),
    ],
)
def test_parts_are_between_zero_and_one(make: Callable[[float], object], setting: str) -> None:
    """Neither bound is allowed: there is no duration that none exceeds."""
    make(0.5)
    for value in NO_PARTS:
        with pytest.raises(ConfigError) as caught:
            make(value)
        assert caught.value.setting == setting
