"""Rules that raw clients and logs answer, and the rule about what nobody sees."""

import pytest

from scenarios.checks import blind, probes
from scenarios.checks.judge import judge_rules
from scenarios.checks.registry import Finding, load_rules
from scenarios.events import AnyEvent
from scenarios.verdict import Verdict, Violation
from tests.scenarios.checks.histories import (
    exchange,
    execution,
    fault,
    health,
    history,
    log_finding,
    log_read,
    probe,
    process,
)

PROBED = [f"INV-{number}" for number in (23, *range(30, 40), 42, 43, 45)]


@pytest.mark.parametrize("number", PROBED)
class TestProbed:
    def judged(self, number: str, *events: AnyEvent) -> Finding:
        """Judge a rule by its number."""
        return load_rules()[number].check(history(*events))

    def test_a_probe_that_held(self, number: str) -> None:
        """The right answer is a case without a breach."""
        finding = self.judged(number, probe(number))
        assert (finding.judged, len(finding.violations), finding.missing) == (1, 0, None)

    def test_a_probe_that_did_not_hold(self, number: str) -> None:
        """One wrong answer among right ones breaks the rule, and says what was tried, expected and seen."""
        (breach,) = self.judged(number, probe(number), probe(number, held=False)).violations
        assert breach.what == "a case: expected refused, seen let in"

    def test_a_probe_that_could_not_be_made(self, number: str) -> None:
        """It leaves the rule undecided, and says why."""
        finding = self.judged(number, probe(number), probe(number, held=False, seen=None, why_not="no IPv6"))
        assert not finding.violations
        assert finding.missing is not None
        assert "no IPv6" in finding.missing

    def test_probes_of_other_rules_say_nothing(self, number: str) -> None:
        """A rule is judged by its own probes."""
        finding = self.judged(number, probe("INV-99"))
        assert finding.judged == 0
        assert finding.missing


class TestNoSecret:
    def test_a_secret_in_a_log_is_flagged(self) -> None:
        """However many probes held."""
        assert len(probes.no_secret(history(probe("INV-35"), log_read(), log_finding("secret"))).violations) == 1

    def test_a_log_that_was_searched_is_a_case(self) -> None:
        """No finding in it means something."""
        finding = probes.no_secret(history(log_read(), log_finding("error")))
        assert (finding.judged, len(finding.violations), finding.missing) == (1, 0, None)

    def test_a_log_that_was_searched_for_nothing_is_none(self) -> None:
        """Without planted secrets nothing could be found."""
        finding = probes.no_secret(history(log_read(secrets=0)))
        assert finding.judged == 0
        assert finding.missing


class TestBaseline:
    @pytest.mark.parametrize("what", ["never_retrieved", "pending_destroyed", "traceback"])
    def test_a_lost_task_in_a_log_is_flagged(self, what: str) -> None:
        """A log that speaks of it is enough."""
        assert len(probes.baseline(history(log_read(), log_finding(what))).violations) == 1

    def test_other_findings_are_for_others(self) -> None:
        """An error in the log is no leak."""
        assert not probes.baseline(history(log_read(), log_finding("error"))).violations

    @pytest.mark.parametrize(
        ("after", "breaches"),
        [
            ({"tasks": 15}, 1),
            ({"tasks": 14}, 0),
            ({"descriptors": 25}, 1),
            ({"descriptors": 24}, 0),
            ({"tasks": 20, "sessions": 2}, 0),
            ({"tasks": 20, "quiescent": False}, 0),
            ({"tasks": 20, "total": 1}, 0),
        ],
        ids=["tasks", "closing ones", "descriptors", "pooled ones", "another session", "not at rest", "in flight"],
    )
    def test_what_is_left_over_is_flagged(self, after: dict[str, int], breaches: int) -> None:
        """At rest after the load there are no more tasks than before, and no descriptors but pooled ones."""
        rest = health(90, **({"tasks": 10, "descriptors": 20, "quiescent": True} | after))
        finding = probes.baseline(history(health(0, tasks=10, descriptors=20), rest))
        assert len(finding.violations) == breaches

    def test_a_new_daemon_has_its_own_baseline(self) -> None:
        """What the one before it had says nothing."""
        events = [
            process(-2, "started"),
            health(0, tasks=10),
            process(50, "started", boot=2),
            health(51, tasks=20),
            health(90, tasks=20, quiescent=True),
        ]
        assert not probes.baseline(history(*events)).violations


class TestBlindSpots:
    def cut(self, provider: str = "GLM") -> list[AnyEvent]:
        """Return an execution at GLM, and a cut of a provider's link later."""
        return [execution(1, "start"), *fault("cut", 5, 9, link=f"daemon-provider:{provider}", blinds=(provider,))]

    def test_a_probe_that_saw_nothing_and_held_is_flagged(self) -> None:
        """An answer that never came cannot be right; that it did not come is no breach of the rule itself."""
        (breach,) = blind.blind_spots(history(probe("INV-31", seen=None))).violations
        assert breach.what == "INV-31, a case: held, though no answer was seen"
        assert not blind.blind_spots(history(probe("INV-31", held=False, seen=None))).violations

    @pytest.mark.parametrize("number", blind.COUNTING_RULES)
    def test_rules_that_count_executions_are_not_held_behind_a_cut_link(self, number: str) -> None:
        """Without a breach they are undecided, and say where they are blind; a breach stays one."""
        found = blind.limited(history(*self.cut()), number, Finding(3))
        assert found.missing == "executions could not be counted at GLM during cut"
        breach = Violation(what="five at once")
        assert blind.limited(history(*self.cut()), number, Finding(3, [breach])).violations == [breach]

    def test_a_cut_where_nothing_ran_hides_nothing(self) -> None:
        """Nor does it touch rules that count no executions."""
        assert blind.limited(history(*self.cut("KIMI")), "INV-06", Finding(3)).missing is None
        assert blind.limited(history(*self.cut()), "INV-07", Finding(3)).missing is None

    def test_blind_rules_are_listed(self) -> None:
        """Whoever reads the report sees what it does not say."""
        note = blind.blind_spots(history(*self.cut())).note
        assert note is not None
        assert "INV-06 and INV-12: executions could not be counted at GLM during cut" in note

    def test_it_lists_the_stories_that_are_missing(self) -> None:
        """A foreign daemon keeps its log to itself."""
        finding = blind.blind_spots(history(*exchange()))
        assert finding.judged
        assert finding.note is not None
        assert "the daemon's log is not there" in finding.note

    def test_an_empty_run_decides_nothing(self) -> None:
        """There is nothing to be blind to."""
        finding = blind.blind_spots(history())
        assert finding.judged == 0
        assert finding.missing


@pytest.mark.parametrize(("held", "verdict"), [(True, Verdict.HELD), (False, Verdict.VIOLATED)])
def test_a_rule_that_events_judge_is_judged_by_its_probes_as_well(held: bool, verdict: Verdict) -> None:
    """A run whose load has no duplicate, but whose raw clients asked about one, decides INV-13 by their answers."""
    seen = history(probe("INV-13", held=held))
    (result,) = [result for result in judge_rules(seen) if result.rule == "INV-13"]
    assert (result.verdict, result.judged) == (verdict, 1)
