import dataclasses
from typing import Any

import pytest
from mcp_types import TextContent

from reference_daemon import wire
from reference_daemon.outcomes import CallOutcome, CallResult, outcome_of
from reference_daemon.shim.tool_results import FACTS, tool_result

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
KEY = "11111111-2222-4333-8444-555555555555"


def a_result(outcome: CallOutcome, error: wire.Error | None = None, **changes: Any) -> CallResult:
    """Return a call that was sent once and ended after 3 s."""
    result = CallResult(
        tool="analyze",
        call_key=KEY,
        trace_id=TRACE_ID,
        intended_at=10.0,
        sent_at=10.0,
        finished_at=13.0,
        outcome=outcome,
        error=error,
        attempts=1,
        request_id="r-1",
    )
    return dataclasses.replace(result, **changes)


def refused(code: str, **facts: Any) -> CallResult:
    """Return a call that the daemon ended with an error."""
    error = wire.Error(code, wire.ERROR_STATUS[code], f"the reason for {code}", **facts)
    return a_result(outcome_of(wire.CallToolReply("r-1", error=error))[0], error)


def said(result: CallResult) -> str:
    """Return the text of a failed call, which must be one and say where to look."""
    answer = tool_result(result)
    assert answer.is_error
    (block,) = answer.content
    assert isinstance(block, TextContent)
    assert TRACE_ID in block.text
    assert KEY not in answer.model_dump_json()
    return block.text


class TestSuccess:
    def test_texts_are_passed_on(self) -> None:
        """Each output is a text of its own; the facts stand beside them."""
        answer = tool_result(a_result(CallOutcome.OK, outputs=["one", "two"]))
        assert not answer.is_error
        assert [block.text for block in answer.content if isinstance(block, TextContent)] == ["one", "two"]
        assert answer.meta is not None
        assert answer.meta[FACTS]["trace_id"] == TRACE_ID
        assert answer.meta[FACTS]["latency_s"] == 3.0

    def test_success_is_never_empty(self) -> None:
        """A tool that answers without a text is told from one that failed silently."""
        (block,) = tool_result(a_result(CallOutcome.REPLAYED)).content
        assert isinstance(block, TextContent)
        assert block.text


class TestFailure:
    @pytest.mark.parametrize("code", sorted(wire.ERROR_STATUS))
    def test_every_error_of_the_protocol_is_explained(self, code: str) -> None:
        """What happened, whether it ran, what to do: with the code and its status, never empty."""
        lines = said(refused(code)).splitlines()
        assert f"({code}, {wire.ERROR_STATUS[code]})" in lines[0]
        starts = ("analyze has no result", "What happened: ", "Did it run? ", "What to do: ", "trace_id: ")
        assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
        assert all(len(line) > len(start) for line, start in zip(lines, starts, strict=True))

    @pytest.mark.parametrize("outcome", sorted(set(CallOutcome) - {CallOutcome.OK, CallOutcome.REPLAYED}))
    def test_every_outcome_without_an_error_is_explained(self, outcome: CallOutcome) -> None:
        """Also where no daemon said anything."""
        assert outcome.value in said(a_result(outcome))

    def test_unknown_says_that_it_may_have_run(self) -> None:
        """A lost call was not sent again, and the person is told to look before doing so."""
        text = said(a_result(CallOutcome.UNKNOWN))
        assert "may have run, and was not sent again" in text
        assert "run it a second time" in text

    @pytest.mark.parametrize("code", ["OVER_CAPACITY", "DRAINING", "DUPLICATE", "BAD_REQUEST", "KEY_REUSED"])
    def test_refused_call_did_not_run(self, code: str) -> None:
        """So it is safe to call again; programs can read that, too."""
        result = refused(code)
        assert "Did it run? No." in said(result)
        meta = tool_result(result).meta
        assert meta is not None
        assert meta[FACTS]["may_have_run"] is False
        assert meta[FACTS]["error"]["code"] == code

    def test_full_daemon_names_its_scope(self) -> None:
        """Which cap, how much of it is in use, and when to come back."""
        text = said(refused("OVER_CAPACITY", scope="tool:analyze", in_use=3, limit=3, retry_after=42.0))
        assert "3 of 3 in use (tool:analyze)" in text
        assert "in 42 s or later" in text

    def test_providers_fault_names_its_advice(self) -> None:
        """A provider that says when to come back is passed on."""
        text = said(refused("PROVIDER_ERROR", provider="GLM", provider_status=429, retry_after=7.0))
        assert "in 7 s or later" in text

    def test_nearest_tools_are_named(self) -> None:
        """A misspelt name comes with those that exist."""
        assert "analyze, codereview" in said(refused("TOOL_NOT_FOUND", nearest=["analyze", "codereview"]))

    def test_call_that_was_never_sent_did_not_run(self) -> None:
        """No daemon within the time: nothing can have happened."""
        assert "Did it run? No." in said(a_result(CallOutcome.TIMEOUT, sent_at=None))

    def test_late_call_was_stopped(self) -> None:
        """A call that the shim gave up was cancelled, and may have done part of its work."""
        text = said(a_result(CallOutcome.TIMEOUT))
        assert "within 3 s" in text
        assert "In part" in text
