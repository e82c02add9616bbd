"""Explores seeds, on several cores; what it finds it shrinks and prints, with the command that makes it happen again.

    python tests/explore --seeds 10000 --workers 2      explore
    python tests/explore --replay 4711                  one seed: its steps, what it breaks, and a shorter plan
    python tests/explore --defect lapsed-key-not-fenced the seeds that a seeded defect needs to be found
    python tests/explore --defects                      the same for all of them, as a table
    python tests/explore --fuzz 100000 --workers 2      messages that nobody should send, from run --first on

Exit status: 0 nothing found; 1 a rule was broken, or a defect was not found; 2 wrong usage.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, fields
from multiprocessing import get_context
from typing import Final

from chaos.defects import DEFECTS, applied
from tests.explore.fuzz import MESSAGES, fuzz, messages_of, shortest
from tests.explore.plan import Plan, Setup, Step
from tests.explore.seeds import plan_of
from tests.explore.shrink import shrink
from tests.explore.verdict import Finding, examine

CHUNK: Final = 25
"""Seeds that a worker takes at a time; then it collects its garbage."""

MOST_SHOWN: Final = 3
"""Findings of one rule that are shrunk and shown; the others are counted."""

SEEDS_FOR_DEFECT: Final = 400
"""Seeds in which a defect must be found, unless --seeds says otherwise."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a seed found.

    Attributes:
        seed: The seed.
        findings: What is wrong.
    """

    seed: int
    findings: tuple[Finding, ...]


def explore_chunk(first: int, count: int, defect: str | None = None) -> list[Found]:
    """Explore some seeds in this process."""
    found = []
    enabled = gc.isenabled()
    gc.disable()  # a run makes little garbage, and the end of a chunk is the time to look for it
    try:
        with applied(defect) if defect is not None else nullcontext():
            for seed in range(first, first + count):
                findings = examine(plan_of(seed))
                if findings:
                    found.append(Found(seed, tuple(findings)))
    finally:
        gc.collect()
        if enabled:
            gc.enable()
    return found


def broken_rule(plan: Plan, rule: str) -> bool:
    """Return whether a plan breaks a rule."""
    return any(finding.rule == rule for finding in examine(plan))


def described(plan: Plan) -> str:
    """Return a plan as Python: the conditions that are not the usual ones, and its steps."""
    usual = Setup()
    differing = [
        f"{field.name}={getattr(plan.setup, field.name)!r}"
        for field in fields(Setup)
        if getattr(plan.setup, field.name) != getattr(usual, field.name)
    ]
    lines = [f"Plan({plan.seed}, Setup({', '.join(differing)}), (", *(f"    {_step(step)}," for step in plan.steps)]
    return "\n".join([*lines, "))"])


def _step(step: Step) -> str:
    shown = [
        f"{field.name}={getattr(step, field.name)!r}"
        for field in fields(step)
        if getattr(step, field.name) != field.default
    ]
    return f"{type(step).__name__}({', '.join(shown)})"


def replay(seed: int, defect: str | None = None) -> bool:
    """Run one seed, and show its steps, what it breaks and a shorter plan that breaks the same; return whether."""
    with applied(defect) if defect is not None else nullcontext():
        plan = plan_of(seed)
        findings = examine(plan)
        if not findings:
            print(described(plan))
            print("nothing found")
            return False
        for rule in dict.fromkeys(finding.rule for finding in findings):
            _show(seed, rule, [finding for finding in findings if finding.rule == rule], defect)
    return True


def _show(seed: int, rule: str, findings: Sequence[Finding], defect: str | None) -> None:
    """Print a finding, its shortest plan, and how to see it again."""
    shortest = shrink(plan_of(seed), lambda plan: broken_rule(plan, rule))
    option = f" --defect {defect}" if defect else ""
    print(f"\nseed {seed} breaks {rule}: {findings[0].what}")
    for event in findings[0].events:
        print(f"    {event}")
    print(f"steps that break it ({len(shortest.steps)} of {len(plan_of(seed).steps)}):")
    print(described(shortest))
    print(f"again: python tests/explore --replay {seed}{option}")


def _chunks(first: int, seeds: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + seeds, CHUNK):
        yield start, min(CHUNK, first + seeds - start)


def explore(first: int, seeds: int, workers: int, say: Callable[[str], None]) -> list[Found]:
    """Explore seeds on several cores."""
    began_at = time.monotonic()
    found: list[Found] = []
    done = 0
    with ProcessPoolExecutor(workers, mp_context=get_context("fork" if hasattr(os, "fork") else "spawn")) as pool:
        jobs = [(pool.submit(explore_chunk, *chunk), chunk) for chunk in _chunks(first, seeds)]
        for job, (_, count) in jobs:
            found += job.result()
            done += count
            for each in job.result():
                say(f"seed {each.seed}: {each.findings[0].rule}: {each.findings[0].what}")
            if done % (40 * CHUNK) == 0 or done == seeds:
                took_s = time.monotonic() - began_at
                say(f"{done} of {seeds} seeds in {took_s:.0f} s, {len(found)} with findings")
    return found


def fuzz_chunk(first: int, count: int) -> list[tuple[int, list[str]]]:
    """Make some fuzzed runs; return the problems of those that have any."""
    runs = ((seed, fuzz(messages_of(seed), seed)) for seed in range(first, first + count))
    return [(seed, problems) for seed, problems in runs if problems]


def fuzz_all(first: int, messages: int, workers: int, say: Callable[[str], None]) -> int:
    """Send so many messages; print what is found, with the shortest list of messages that shows it."""
    runs = -(-messages // MESSAGES)
    began_at, found = time.monotonic(), 0
    with ProcessPoolExecutor(workers, mp_context=get_context("fork" if hasattr(os, "fork") else "spawn")) as pool:
        jobs = [pool.submit(fuzz_chunk, *chunk) for chunk in _chunks(first, runs)]
        for number, job in enumerate(jobs, start=1):
            for seed, problems in job.result():
                found += 1
                if found <= MOST_SHOWN:
                    kept = shortest(messages_of(seed), seed)
                    print(f"run {seed}: {problems[0]}\n    shown by {[each[:300] for each in kept]}")
            if number % 8 == 0 or number == len(jobs):
                say(f"{number * CHUNK * MESSAGES} messages in {time.monotonic() - began_at:.0f} s, {found} runs failed")
    print(
        f"{runs * MESSAGES} messages: {found} of {runs} runs failed"
        if found
        else f"{runs * MESSAGES} messages: no finding"
    )
    return int(bool(found))


def seeds_needed(defect: str, seeds: int) -> tuple[int | None, Counter[str]]:
    """Return how many seeds a defect needs until its rule is broken, and which rules were broken until then."""
    rules: Counter[str] = Counter()
    named = {DEFECTS[defect].rule, *DEFECTS[defect].also}
    for first, count in _chunks(0, seeds):
        for found in explore_chunk(first, count, defect):
            rules.update({finding.rule for finding in found.findings})
            if any(finding.rule == DEFECTS[defect].rule for finding in found.findings):
                return found.seed + 1, rules
        if rules and not named & set(rules) and first > seeds // 2:
            break
    return None, rules


def table(seeds: int) -> bool:
    """Print which defect is found by which rule after how many seeds; return whether all were found."""
    print("| defect | rule | seeds | also broken until then |\n| --- | --- | --- | --- |")
    everything = True
    for name, defect in DEFECTS.items():
        if not defect.rule.startswith("INV-"):
            continue
        needed, rules = seeds_needed(name, seeds)
        others = ", ".join(sorted(set(rules) - {defect.rule})) or "-"
        print(
            f"| {name} | {defect.rule} | {needed if needed is not None else f'none in {seeds}'} | {others} |",
            flush=True,
        )
        everything = everything and needed is not None
    return everything


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Explore as the command line says."""
    parser = argparse.ArgumentParser(prog="python tests/explore", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=None, help="how many seeds (1000; with defects 400)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed, and shrink what it finds")
    parser.add_argument("--defect", choices=sorted(DEFECTS), help="with this seeded defect in the code")
    parser.add_argument("--defects", action="store_true", help="each seeded defect in turn, as a table")
    parser.add_argument("--fuzz", type=int, metavar="MESSAGES", help="send so many messages that nobody should send")
    options = parser.parse_args(argv)
    if options.fuzz is not None:
        return fuzz_all(options.first, options.fuzz, options.workers, _say)
    if options.replay is not None:
        return int(replay(options.replay, options.defect))
    if options.defects:
        return int(not table(options.seeds or SEEDS_FOR_DEFECT))
    if options.defect is not None:
        needed, rules = seeds_needed(options.defect, options.seeds or SEEDS_FOR_DEFECT)
        print(f"{options.defect}: {DEFECTS[options.defect].rule} after {needed} seeds; broken: {dict(rules)}")
        return int(needed is None)
    found = explore(options.first, options.seeds or 1000, options.workers, _say)
    shown: Counter[str] = Counter()
    for each in found:
        for rule in dict.fromkeys(finding.rule for finding in each.findings):
            shown[rule] += 1
            if shown[rule] <= MOST_SHOWN:
                _show(each.seed, rule, [finding for finding in each.findings if finding.rule == rule], None)
    print(f"{options.seeds or 1000} seeds from {options.first}: {dict(shown) if shown else 'no finding'}")
    return int(bool(found))
