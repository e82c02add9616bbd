"""The questions at the workbench: a sound daemon answers all of them right, a broken one is caught by its rule."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chaos.defects import DEFECTS, applied
from chaos.probes import crowd, owners, restart, slots, work
from chaos.probes.case import Case
from chaos.probes.target import Target
from chaos.probes.workbench import Workbench
from scenarios.events import Probe
from tests.chaos.probes.benches import LocalBench, a_target
from tests.chaos.probes.fakes import asked, target_at


def cases_of(bench: Workbench, rules: Sequence[str] = ()) -> Iterator[Case]:
    """Give the questions that need no process of the daemon's own, about some rules or all."""
    every = [*slots.cases(bench), *work.cases(bench), *owners.cases(bench), *crowd.cases(bench)]
    every += [case for case in restart.cases(bench) if case.rule == "INV-45"]
    yield from (case for case in every if not rules or case.rule in rules)


async def answers(folder: Path, rules: Sequence[str] = ()) -> list[Probe]:
    """Put the questions to a daemon of this process."""
    target = a_target(folder)
    async with LocalBench(target) as bench:
        return await asked(target, *cases_of(bench, rules))


BROKEN = [
    "slot-kept-on-reject",
    "slot-given-back-twice",
    "slot-leaked-on-exception",
    "slot-freed-when-read",
    "provider-cap-ignored",
    "cap-one-too-high",
    "cap-one-too-low",
    "key-kept-on-429",
    "refusal-replayed",
    "waits-for-a-slot",
    "calls-one-after-another",
    "ack-comes-late",
    "ack-grants-more",
    "deadline-on-heartbeat",
    "late-result-after-timeout",
    "lapsed-key-not-fenced",
    "late-owner-frees-key",
    "result-lost-with-connection",
    "disconnect-cancels",
    "finished-key-runs-again",
    "replay-changed",
    "results-unbounded",
    "anybody-cancels",
    "cancel-leaves-work",
    "failure-ends-connection",
    "files-left-open",
    "exception-text-leaks",
    "retry-after-zero",
    "health-off-by-one",
    "trace-dropped",
    "successor-does-not-wait",
    "sessions-unbounded",
    "strangers-unbounded",
]


async def test_a_sound_daemon_answers_right(tmp_path: Path) -> None:
    """Every question can be put, and none is answered wrong."""
    probes = await answers(tmp_path)
    assert [f"{probe.rule} {probe.case}: {probe.seen or probe.why_not}" for probe in probes if not probe.held] == []


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_daemon_is_caught(name: str, tmp_path: Path) -> None:
    """A seeded defect is seen by a question about the very rule that it breaks."""
    target = a_target(tmp_path)
    with applied(name):
        async with LocalBench(target) as bench:
            for case in cases_of(bench, [DEFECTS[name].rule]):
                [probe] = await asked(target, case)
                if probe.seen is not None and not probe.held:
                    return  # the others would only wait for what does not come
    pytest.fail(f"no question about {DEFECTS[name].rule} was answered wrong")


async def test_where_no_daemon_may_be_started_nothing_is_asked() -> None:
    """Before a foreign daemon the questions say why they cannot be put, and count neither way."""
    target: Target = target_at(9, embedded=False)
    async with Workbench(target) as bench:
        probes = await asked(target, *list(cases_of(bench))[:3], *restart.cases(bench))
    assert {probe.seen for probe in probes} == {None}
    assert all("foreign" in (probe.why_not or "") for probe in probes)
