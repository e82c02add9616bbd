"""What the smoke drill expects: every call green, and no verdict without data."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos import smoke
from chaos.observe import Intent, Observed, unfinished
from reference_daemon.outcomes import CallOutcome
from reference_daemon.server.arguments import WorkflowArguments
from scenarios.run import BiteProof, FaultWindow
from scenarios.verdict import ExpectationResult, Verdict

MakeObserved = Callable[..., Observed]
HELD, VIOLATED, UNDECIDED = Verdict.HELD, Verdict.VIOLATED, Verdict.UNDECIDED
FAST, SLOW = (0.02,), (0.3,)


def fault(proof: BiteProof | None) -> FaultWindow:
    """Return the drill's fault, with that proof."""
    return FaultWindow(name=smoke.FAULT, title="slow", link="client-daemon", started_at=1.0, ended_at=2.0, proof=proof)


def proof(
    before: tuple[float, ...] = FAST, during: tuple[float, ...] = SLOW, after: tuple[float, ...] = FAST
) -> BiteProof:
    """Return a proof that the fault bit and healed, with parts of it changed."""
    return BiteProof(before_s=before, during_s=during, after_s=after, least_s=0.2)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of a daemon that had nothing to complain about."""
    path = tmp_path / "daemon.log"
    path.write_text('{"level":"info","event":"call_end"}\n{"level":"warning","event":"slow"}\n')
    return path


@pytest.fixture
def judged(an_observed: MakeObserved, log: Path) -> Callable[..., dict[str, ExpectationResult]]:
    """Return a judge of a whole drill whose last call has the given attributes changed."""

    def judge(
        *,
        calls: int = smoke.PLANNED_CALLS,
        faults: tuple[FaultWindow, ...] = (fault(proof()),),
        **last: object,
    ) -> dict[str, ExpectationResult]:
        seen = [an_observed() for _ in range(calls - 1)] + [an_observed(**last)] if calls else []
        return {result.name: result for result in smoke.judge(seen, faults, log)}

    return judge


Judge = Callable[..., dict[str, ExpectationResult]]


def test_a_drill_where_all_went_well_holds(judged: Judge) -> None:
    """Six green calls, a clean log and a fault that bit: nothing is left open."""
    results = judged()
    assert {name: result.verdict for name, result in results.items()} == {
        "success_rate": HELD,
        "call_summaries": HELD,
        "heartbeats": HELD,
        "daemon_errors": HELD,
        "fault_bit": HELD,
    }
    assert results["success_rate"].reason == "6 of 6 calls answered"


class TestEachCall:
    def test_one_call_without_an_answer_violates(self, judged: Judge) -> None:
        """The share that succeeded is told."""
        result = judged(outcome=CallOutcome.TIMEOUT)["success_rate"]
        assert result.verdict is VIOLATED
        assert result.value == pytest.approx(5 / 6)

    def test_one_answer_without_a_summary_violates(self, judged: Judge) -> None:
        """Who reads an answer must learn what the call was."""
        assert judged(outputs=["only text"])["call_summaries"].verdict is VIOLATED

    def test_one_call_without_a_heartbeat_violates(self, judged: Judge) -> None:
        """A call of 35 s and more without one is silence that clients give up on."""
        assert judged(heartbeats=[])["heartbeats"].verdict is VIOLATED

    def test_one_heartbeat_is_enough(self, judged: Judge) -> None:
        """How many there are depends on how long the call took."""
        assert judged(heartbeats=[1006.0])["heartbeats"].verdict is HELD

    def test_a_missing_call_leaves_it_open(self, judged: Judge) -> None:
        """Five good calls of six planned: nobody knows about the sixth."""
        result = judged(calls=5)["success_rate"]
        assert (result.verdict, result.reason) == (UNDECIDED, "5 of 6 calls answered")

    def test_a_bad_call_decides_although_others_are_missing(self, judged: Judge) -> None:
        """What is violated cannot be mended by calls that were not made."""
        assert judged(calls=2, outcome=CallOutcome.TIMEOUT)["success_rate"].verdict is VIOLATED

    def test_no_call_at_all_is_undecided_without_a_value(self, judged: Judge) -> None:
        """No data is not a rate of one, nor of zero."""
        result = judged(calls=0)["success_rate"]
        assert (result.verdict, result.value) == (UNDECIDED, None)


def test_a_call_that_was_cut_off_is_missing_not_bad(intent: Intent, tmp_path: Path) -> None:
    """Who stops a drill has not caught the daemon at anything."""
    cut_off = unfinished(intent, "f" * 32, start_at=0.0)
    results = smoke.judge([cut_off], (), tmp_path / "no.log")
    assert {result.verdict for result in results} == {UNDECIDED}


class TestDaemonLog:
    @pytest.mark.parametrize(
        "line",
        [json.dumps({"level": "error", "event": "watchdog"}), "Traceback (most recent call last):"],
        ids=["record", "traceback"],
    )
    def test_one_error_violates(self, judged: Judge, log: Path, line: str) -> None:
        """A complaint of the watchdog and a traceback both count."""
        log.write_text(log.read_text() + line + "\n")
        result = judged()["daemon_errors"]
        assert (result.verdict, result.value) == (VIOLATED, 1.0)

    def test_a_word_in_a_message_is_no_error(self, judged: Judge, log: Path) -> None:
        """Only the level of a record counts, and lines that are no record are skipped."""
        log.write_text('{"level":"info","event":"no error"}\nerror: not a record\n')
        assert judged()["daemon_errors"].value == 0.0

    def test_a_log_without_a_record_is_undecided(self, judged: Judge, log: Path) -> None:
        """A daemon that wrote nothing has not been clean: it has not been seen."""
        log.write_text("\n")
        assert judged()["daemon_errors"].verdict is UNDECIDED

    def test_a_daemon_that_never_answered_is_undecided(self, judged: Judge, log: Path) -> None:
        """Without a call nothing was measured: a daemon that failed from the start is an environment that failed."""
        log.write_text(json.dumps({"level": "error", "event": "connection_failed"}) + "\n")
        assert judged(calls=0)["daemon_errors"].verdict is UNDECIDED

    def test_a_missing_log_is_undecided(self, judged: Judge, log: Path) -> None:
        """The daemon did not even start."""
        log.unlink()
        assert judged()["daemon_errors"].verdict is UNDECIDED


class TestFault:
    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (proof(during=FAST), "not slower with the fault"),
            (proof(before=SLOW), "not slower with the fault"),
            (proof(after=SLOW), "stayed slow"),
            (None, "before the fault was measured"),
        ],
        ids=["did not bite", "was slow before", "did not heal", "not measured"],
    )
    def test_a_fault_that_is_not_proven_leaves_the_drill_open(
        self, judged: Judge, bad: BiteProof | None, reason: str
    ) -> None:
        """Calls that survive a fault which was not there prove nothing."""
        result = judged(faults=(fault(bad),))["fault_bit"]
        assert result.verdict is UNDECIDED
        assert reason in result.reason

    def test_no_fault_leaves_the_drill_open(self, judged: Judge) -> None:
        """The drill ended before it came to the fault."""
        assert judged(faults=())["fault_bit"].verdict is UNDECIDED


@pytest.mark.parametrize("tool", smoke.TOOLS)
def test_arguments_are_a_final_step_with_the_expert(tool: str) -> None:
    """Expert on, least thinking, no web: what the smoke stage asks for, in the server's own words."""
    arguments = msgspec.convert(smoke.arguments(tool), WorkflowArguments)
    assert not arguments.next_step_required
    assert arguments.wants_expert
    assert (arguments.thinking_mode, arguments.use_websearch) == ("minimal", False)
