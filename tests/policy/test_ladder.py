"""The rules of the timeout ladder, each at its boundary."""

from dataclasses import replace
from typing import Any

import pytest

from reference_daemon.policy.config import Caps, Timeouts
from reference_daemon.policy.ladder import ANALYSIS_TOOLS, RULES, Finding, Profile, judge

SHIPPED = Profile()


def finding(name: str, profile: Profile) -> Finding:
    """Return what one rule says of a profile."""
    (found,) = judge(profile, [rule for rule in RULES if rule.name == name])
    return found


def timeouts(**values: float) -> Profile:
    """Return the shipped profile with other budgets."""
    return replace(SHIPPED, timeouts=Timeouts(**values))


def caps(**values: Any) -> Profile:
    """Return the shipped profile with other caps."""
    return replace(SHIPPED, caps=Caps(**values))


class TestShippedProfile:
    def test_it_keeps_every_rule_without_a_note(self) -> None:
        """The defaults are the strategy's: nothing to write, nothing to explain."""
        found = judge(SHIPPED)
        assert [each.rule for each in found] == list(RULES)
        assert [each for each in found if not each.passed or each.note or each.write] == []

    def test_values_are_shown_as_people_write_them(self) -> None:
        """A table needs no code to be read."""
        assert {each.rule.name: each.value for each in judge(SHIPPED)} == {
            "call-timeout": "180 s",
            "client-timeout": "180 s",
            "shim-timeout": "150 s",
            "step-timeout": "120 s",
            "expert-timeout": "90 s",
            "expert-heartbeat": "5 s",
            "progress-interval": "5 s",
            "coalescing": "kimi_chat_with_tools, analyze, codereview, testgen",
            "provider-caps": "GLM=4, KIMI=6, global 16",
            "token": "not set, on 127.0.0.1",
        }

    def test_names_are_unique(self) -> None:
        """Programs tell rules apart by name."""
        assert len({rule.name for rule in RULES}) == len(RULES)


class TestBoundaries:
    @pytest.mark.parametrize(
        ("name", "keeps", "breaks"),
        [
            ("call-timeout", timeouts(call_s=150.0), timeouts(call_s=149.9)),
            ("client-timeout", replace(SHIPPED, client_s=150.0), replace(SHIPPED, client_s=149.9)),
            ("client-timeout", replace(SHIPPED, client_s=180.0), replace(SHIPPED, client_s=180.1)),
            ("shim-timeout", replace(SHIPPED, shim_rpc_s=150.0), replace(SHIPPED, shim_rpc_s=149.9)),
            ("shim-timeout", replace(SHIPPED, shim_rpc_s=180.0), replace(SHIPPED, shim_rpc_s=180.1)),
            ("step-timeout", timeouts(step_s=180.0), timeouts(step_s=180.1)),
            ("expert-timeout", timeouts(expert_s=145.0), timeouts(expert_s=145.1)),
            ("expert-timeout", timeouts(call_s=125.0), timeouts(call_s=124.9)),
            ("expert-heartbeat", replace(SHIPPED, expert_heartbeat_s=9.9), replace(SHIPPED, expert_heartbeat_s=10.0)),
            ("expert-heartbeat", timeouts(call_s=5.1), timeouts(call_s=5.0)),
            (
                "progress-interval",
                replace(SHIPPED, progress_interval_s=9.9),
                replace(SHIPPED, progress_interval_s=10.0),
            ),
            ("progress-interval", timeouts(call_s=5.1), timeouts(call_s=5.0)),
            ("provider-caps", caps(total=6), caps(total=5)),
            ("provider-caps", caps(providers={"GLM": 16}), caps(providers={"GLM": 17})),
            ("provider-caps", caps(providers={}), caps(providers={"NEW": 17})),
        ],
    )
    def test_a_rule_is_kept_up_to_its_bound(self, name: str, keeps: Profile, breaks: Profile) -> None:
        """The bound itself belongs to one side; a tenth of a second, or one call, beyond it does not."""
        assert finding(name, keeps).passed
        assert not finding(name, breaks).passed

    @pytest.mark.parametrize(
        ("long_run", "client_s", "passes"),
        [
            (False, 240.0, False),
            (True, 240.0, True),
            (True, 239.9, False),
            (True, 240.1, False),
            (True, 180.0, True),
            (True, 149.9, False),
        ],
    )
    def test_long_runs_allow_one_more_value(self, *, long_run: bool, client_s: float, passes: bool) -> None:
        """240 s is allowed where it was asked for, and nothing between it and 180 s."""
        assert finding("client-timeout", replace(SHIPPED, long_run=long_run, client_s=client_s)).passed is passes

    @pytest.mark.parametrize("missing", ANALYSIS_TOOLS)
    def test_each_analysis_tool_must_be_named(self, missing: str) -> None:
        """One that is missing would coalesce parallel calls again."""
        found = finding("coalescing", replace(SHIPPED, uncoalesced=frozenset(ANALYSIS_TOOLS) - {missing}))
        assert not found.passed
        assert missing not in found.value

    @pytest.mark.parametrize(
        ("loopback", "token_set", "passes"),
        [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
    )
    def test_token(self, *, loopback: bool, token_set: bool, passes: bool) -> None:
        """Whoever can be reached by others must ask who they are."""
        assert finding("token", replace(SHIPPED, loopback=loopback, token_set=token_set)).passed is passes


class TestNotes:
    @pytest.mark.parametrize(
        ("name", "profile", "note"),
        [
            ("call-timeout", timeouts(call_s=170.0), "the strategy has 180 s"),
            ("client-timeout", replace(SHIPPED, client_s=160.0), "the strategy has 180 s"),
            ("client-timeout", replace(SHIPPED, client_s=180.0, long_run=True), "the strategy has 240 s"),
            ("shim-timeout", replace(SHIPPED, shim_rpc_s=160.0), "the strategy has 150 s"),
            ("step-timeout", timeouts(step_s=100.0), "the strategy has 120 s"),
            ("expert-timeout", timeouts(expert_s=60.0), "the strategy has 90 s"),
            ("expert-heartbeat", replace(SHIPPED, expert_heartbeat_s=4.0), "the strategy has 5 s"),
            ("progress-interval", replace(SHIPPED, progress_interval_s=4.0), "the strategy has 5 s"),
            (
                "coalescing",
                replace(SHIPPED, uncoalesced=frozenset({*ANALYSIS_TOOLS, "chat"})),
                "the strategy has kimi_chat_with_tools, analyze, codereview, testgen",
            ),
        ],
    )
    def test_another_value_that_keeps_the_rule_passes(self, name: str, profile: Profile, note: str) -> None:
        """The strategy's values are a good start, not the only ones: a different one is noted."""
        found = finding(name, profile)
        assert (found.passed, found.note, found.write) == (True, note, ())

    def test_open_values_have_none(self) -> None:
        """The strategy calls caps examples, to be tuned by the providers' limits."""
        assert finding("provider-caps", caps(providers={"GLM": 2})).note == ""


class TestWhatToWrite:
    @pytest.mark.parametrize(
        ("name", "profile", "lines"),
        [
            ("call-timeout", timeouts(call_s=60.0), ["EXAI_WS_CALL_TIMEOUT=180"]),
            ("client-timeout", replace(SHIPPED, client_s=8.0), ["EXAI_CLIENT_TIMEOUT=180"]),
            ("client-timeout", replace(SHIPPED, client_s=8.0, long_run=True), ["EXAI_CLIENT_TIMEOUT=240"]),
            ("client-timeout", replace(SHIPPED, client_s=240.0), ["EXAI_LONG_RUN=true"]),
            ("shim-timeout", replace(SHIPPED, shim_rpc_s=30.0), ["EXAI_SHIM_RPC_TIMEOUT=150"]),
            ("step-timeout", timeouts(step_s=300.0), ["WORKFLOW_STEP_TIMEOUT_SECS=120"]),
            ("expert-timeout", timeouts(expert_s=180.0), ["EXPERT_ANALYSIS_TIMEOUT_SECS=90"]),
            ("expert-heartbeat", replace(SHIPPED, expert_heartbeat_s=30.0), ["EXPERT_HEARTBEAT_INTERVAL_SECS=5"]),
            ("progress-interval", replace(SHIPPED, progress_interval_s=30.0), ["EXAI_WS_PROGRESS_INTERVAL_SECS=5"]),
            (
                "coalescing",
                replace(SHIPPED, uncoalesced=frozenset({"chat", "analyze"})),
                ["EXAI_WS_DISABLE_COALESCE_FOR_TOOLS=kimi_chat_with_tools,analyze,codereview,testgen,chat"],
            ),
            (
                "provider-caps",
                caps(total=3, providers={"GLM": 4, "KIMI": 2, "NEW": 9}),
                ["EXAI_WS_GLM_MAX_INFLIGHT=3", "EXAI_WS_NEW_MAX_INFLIGHT=3"],
            ),
            ("provider-caps", caps(providers={"GLM": 40}), ["EXAI_WS_GLM_MAX_INFLIGHT=4"]),
            ("token", replace(SHIPPED, loopback=False), ["EXAI_WS_TOKEN=<a secret of 16 characters or more>"]),
        ],
    )
    def test_lines(self, name: str, profile: Profile, lines: list[str]) -> None:
        """A broken rule says what to write, word for word."""
        found = finding(name, profile)
        assert (found.passed, list(found.write)) == (False, lines)

    def test_a_broken_rule_names_its_own_setting(self) -> None:
        """Whatever there is to write is for a setting that the rule reads."""
        broken = replace(
            SHIPPED,
            timeouts=Timeouts(call_s=9.0, step_s=10.0, expert_s=10.0),
            caps=Caps(total=1),
            progress_interval_s=20.0,
            expert_heartbeat_s=20.0,
            shim_rpc_s=1.0,
            client_s=1.0,
            uncoalesced=frozenset(),
            loopback=False,
        )
        found = judge(broken)
        assert [each.rule.name for each in found if each.passed] == []
        assert finding("coalescing", broken).value == "none"
        for each in found:
            for line in each.write:
                name = line.partition("=")[0]
                assert name in each.rule.settings or "EXAI_WS_<PROVIDER>_MAX_INFLIGHT" in each.rule.settings
