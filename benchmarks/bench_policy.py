"""The cost of each policy decision against the number of calls in flight: it must not grow with it.

    python benchmarks/bench_policy.py [--rounds 7] [--quick]

The policy alone, without daemon, sockets or clock. Each decision is made again and again while 10, 100, 1,000, 10,000
or 100,000 other calls are in flight, and undone in between, outside of what is timed. Times are of the CPU. The floor
is what no keeper of calls can go below: to put a call into a dict of that size, and to take it out again. Columns take
turns, round by round, and the least of the rounds counts, since other work on the machine only adds. Quote the ratios.
"""

import argparse
import time
from collections import deque
from collections.abc import Callable
from itertools import count

from reference_daemon.garbage import look_rarely
from reference_daemon.policy.config import Advice, Caps, PolicyConfig, Ttls
from reference_daemon.policy.core import Policy
from reference_daemon.policy.events import (
    Admit,
    AttachAsked,
    CallArrived,
    CallEnded,
    CallId,
    CallKey,
    CallKind,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    Expire,
    Follow,
    Outcome,
    Replay,
    RequestId,
    SessionClosed,
    SessionId,
)

LIVE = (10, 100, 1_000, 10_000, 100_000)
QUICK = (10, 1_000, 10_000)
ROUND = 500
"""Decisions of a kind that are timed in one round."""

MOST_GROWTH = 2.0
"""A decision with the most calls in flight may cost this much of one with the fewest. Caches of the machine grow cold
with more memory in use (the floor shows by how much), and heaps take one step more for each doubling; a walk over all
calls would cost thousands of times as much."""

SESSIONS = 10
"""Sessions that the calls in flight belong to: the figures of health name each that has any."""


class Bench:
    """A policy with calls in flight, and the decisions to time on it."""

    def __init__(self, live: int) -> None:
        """Bring `live` calls in flight; every pool but those of the tool `full` and the provider `FULL` has room."""
        caps = Caps(total=10**6, session=10**6, tools={"full": max(live // 2, 1)}, providers={"GLM": 10**6})
        self._policy = Policy(PolicyConfig(caps=caps, ttls=Ttls(), advice=Advice()))
        self._numbers = count()
        self._now = 0.0
        self._floor: dict[int, object] = {}
        self._full: deque[CallArrived] = deque()
        for number in range(live):
            call = self._arrive("full" if number % 2 else "chat", session=f"s{number % SESSIONS}")
            self._floor[number] = object()
            if number % 2:
                self._full.append(call)
        self._kept = [self._arrive("chat") for _ in range(ROUND)]
        for call in self._kept:
            self._end(call)

    # --- what is timed: each returns the seconds of ROUND decisions, and leaves the policy as it was ------------------

    def floor(self) -> float:
        """A call put into a dict, and taken out."""
        numbers = [-1 - number for number in range(ROUND)]
        begun_at = time.process_time()
        for number in numbers:
            self._floor[number] = number
        for number in numbers:
            del self._floor[number]
        return time.process_time() - begun_at

    def admit_and_end(self) -> float:
        """A call is admitted, and ends: two decisions."""
        calls = [self._call("chat") for _ in range(ROUND)]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        for call in calls:
            policy.arrive(call, now=now)
        for call in calls:
            policy.ended(CallEnded(call.call_id, Outcome.OK, 100), now=now)
        return time.process_time() - begun_at

    def refuse(self) -> float:
        """A call is refused because a pool is full, and gets an appointment; it keeps it, in the place of another."""
        made = min(ROUND, len(self._full))  # more would wait for moments so far off that nobody is sent there
        calls = [self._call("full") for _ in range(made)]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        for call in calls:
            policy.arrive(call, now=now)
        elapsed_s = time.process_time() - begun_at
        for call in calls:
            self._end(self._full.popleft())
            again = call._replace(call_id=CallId(next(self._numbers)))
            self._expect(policy.arrive(again, now=self._later()), Admit)
            self._full.append(again)
        return elapsed_s * ROUND / made

    def refuse_duplicate(self) -> float:
        """A call is refused because its key is in flight."""
        owner = self._arrive("chat")
        calls = [
            owner._replace(call_id=CallId(next(self._numbers)), request_id=RequestId(f"d{n}")) for n in range(ROUND)
        ]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        for call in calls:
            policy.arrive(call, now=now)
        elapsed_s = time.process_time() - begun_at
        self._end(owner)
        return elapsed_s

    def replay(self) -> float:
        """A call whose result is kept gets it again."""
        kept = [self._arrive("chat") for _ in range(ROUND)]
        for call in kept:
            self._end(call)
        calls = [call._replace(call_id=CallId(next(self._numbers))) for call in kept]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        for call in calls:
            policy.arrive(call, now=now)
        elapsed_s = time.process_time() - begun_at
        self._expect(policy.arrive(calls[0], now=now), Replay)
        return elapsed_s

    def cancel(self) -> float:
        """A call is cancelled."""
        calls = [self._arrive("chat") for _ in range(ROUND)]
        events = [CancelAsked(call.session_id, call.request_id) for call in calls]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        decisions = [policy.cancel(event, now=now) for event in events]
        elapsed_s = time.process_time() - begun_at
        self._expect(decisions[-1], Cancel)
        for call in calls:
            self._end(call)
        return elapsed_s

    def expire(self) -> float:
        """A call's deadline passes."""
        calls = [self._arrive("chat", timeout_s=1.0) for _ in range(ROUND)]
        events = [DeadlinePassed(call.call_id) for call in calls]
        policy, now = self._policy, self._later(2.0)
        begun_at = time.process_time()
        decisions = [policy.deadline_passed(event, now=now) for event in events]
        elapsed_s = time.process_time() - begun_at
        self._expect(decisions[-1], Expire)
        for call in calls:
            self._end(call)
        return elapsed_s

    def attach_live(self) -> float:
        """A request attaches to a call in flight."""
        owner = self._arrive("chat")
        events = [AttachAsked(SessionId("other"), RequestId(f"a{n}"), _key(owner)) for n in range(ROUND)]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        decisions = [policy.attach(event, now=now) for event in events]
        elapsed_s = time.process_time() - begun_at
        self._expect(decisions[-1], Follow)
        self._end(owner)
        return elapsed_s

    def attach_kept(self) -> float:
        """A request attaches to a call that has ended."""
        last = self._arrive("chat")
        self._end(last)
        events = [AttachAsked(SessionId("other"), RequestId(f"b{n}"), _key(last)) for n in range(ROUND)]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        decisions = [policy.attach(event, now=now) for event in events]
        elapsed_s = time.process_time() - begun_at
        self._expect(decisions[-1], Deliver)
        return elapsed_s

    def session_closed(self) -> float:
        """A session with one call in flight closes."""
        calls = [self._arrive("chat", session=f"gone{number}") for number in range(ROUND)]
        events = [SessionClosed(call.session_id) for call in calls]
        policy, now = self._policy, self._later()
        begun_at = time.process_time()
        for event in events:
            policy.session_closed(event, now=now)
        elapsed_s = time.process_time() - begun_at
        for call in calls:
            self._end(call)
        return elapsed_s

    def figures(self) -> float:
        """The figures for health are taken."""
        policy = self._policy
        begun_at = time.process_time()
        for _ in range(ROUND):
            policy.snapshot()
        return time.process_time() - begun_at

    # --- shared ------------------------------------------------------------------------------------------------------

    def _later(self, by_s: float = 0.0001) -> float:
        self._now += by_s
        return self._now

    def _call(self, tool: str, session: str = "mine", timeout_s: float | None = None) -> CallArrived:
        number = next(self._numbers)
        return CallArrived(
            call_id=CallId(number),
            session_id=SessionId(session),
            request_id=RequestId(f"r{number}"),
            key=CallKey(f"{number:036}"),
            explicit=True,
            fingerprint=b"%032d" % number,
            tool=tool,
            provider="GLM",
            kind=CallKind.CHAT,
            client_timeout_s=timeout_s,
        )

    def _arrive(self, tool: str, session: str = "mine", timeout_s: float | None = None) -> CallArrived:
        call = self._call(tool, session, timeout_s)
        self._expect(self._policy.arrive(call, now=self._later()), Admit)
        return call

    def _end(self, call: CallArrived) -> None:
        self._policy.ended(CallEnded(call.call_id, Outcome.OK, 100), now=self._later())

    def _expect(self, decision: object, kind: type[object]) -> None:
        if not isinstance(decision, kind):
            raise TypeError(f"{decision} is no {kind.__name__}: this benchmark would time something else")


def _key(call: CallArrived) -> CallKey:
    assert call.key is not None
    return call.key


DECISIONS: tuple[tuple[str, Callable[[Bench], float]], ...] = (
    ("floor: dict in and out", Bench.floor),
    ("admit, and end", Bench.admit_and_end),
    ("refuse: full, appointment", Bench.refuse),
    ("refuse: duplicate", Bench.refuse_duplicate),
    ("replay", Bench.replay),
    ("cancel", Bench.cancel),
    ("deadline passed", Bench.expire),
    ("attach to a live call", Bench.attach_live),
    ("attach to a kept result", Bench.attach_kept),
    ("session closed", Bench.session_closed),
    ("figures of health", Bench.figures),
)


def measure(live: tuple[int, ...], rounds: int) -> list[list[float]]:
    """Return for each decision the seconds that one takes, by the number of calls in flight."""
    benches = [Bench(number) for number in live]
    look_rarely()  # as the daemon does
    least = [[float("inf")] * len(live) for _ in DECISIONS]
    for _ in range(rounds):
        for column, bench in enumerate(benches):
            for row, (_, decide) in enumerate(DECISIONS):
                least[row][column] = min(least[row][column], decide(bench) / ROUND)
    return least


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help=f"with {QUICK} calls in flight only")
    options = parser.parse_args()
    live = QUICK if options.quick else LIVE
    least = measure(live, options.rounds)
    print(f"{'us a decision; calls in flight:':32}" + "".join(f"{number:>9,}" for number in live) + "   last/first")
    grown = []
    for (name, _), seconds in zip(DECISIONS, least, strict=True):
        growth = seconds[-1] / seconds[0]
        print(f"{name:32}" + "".join(f"{1e6 * second:9.2f}" for second in seconds) + f"   {growth:10.2f}")
        if growth > MOST_GROWTH:
            grown.append(name)
    print(f"growth of each decision <= {MOST_GROWTH}: " + (f"MISSED by {', '.join(grown)}" if grown else "reached"))


if __name__ == "__main__":
    main()
