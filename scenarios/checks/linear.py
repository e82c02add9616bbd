"""Is the history of a key one that a single key could have had: absent, then live with one owner, then done?

Each request is one or two operations. It takes effect at one moment between sending and its first answer:

- acked: the key was free, and the request became its owner; later, at its end, the key is done with its result;
- 409: the key was live, and the request that it names owned it;
- 422: the key was live or done;
- replayed: the key was done, with that payload;
- 429: the key was not done.

The search is Wing and Gong's: of all operations that may come next, because none of the others had its answer before it
was sent, take one that the key's state allows, and go on; go back if that leads nowhere. What changes nothing is taken
as soon as it is allowed, since it can do no harm. States that were met before are not searched again. An operation
without an answer may have taken effect at any later moment, or never; so may the end of a call that was cut, whose work
goes on for a while.

Source: J. Wing, C. Gong, "Testing and Verifying Concurrent Objects", J. Parallel Distrib. Comput. 17, 1993.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.lives import OWN_WALL_S, slack
from scenarios.checks.registry import Finding, rule
from scenarios.checks.requests import (
    DUPLICATE,
    KEY_REUSED,
    OVER_CAPACITY,
    Request,
    failed,
    requests_of,
)

MOST_OPERATIONS: Final = 4_000
"""Operations of a key that are searched; of 1,000 duplicates in a storm, and room."""

MOST_STEPS: Final = 20_000
"""States of a search that are looked at before it is given up."""


@dataclass(frozen=True, slots=True)
class State:
    """What a key is.

    Attributes:
        kind: `absent`, `live` or `done`.
        owner: The request that owns it, or whose result is kept.
        payload: Hash of the kept payload; None if nobody saw it.
    """

    kind: str
    owner: str = ""
    payload: str | None = None


ABSENT: Final = State("absent")


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that took effect on a key at one moment, or may have.

    Attributes:
        kind: `take`, `end`, `duplicate`, `reused`, `replay` or `full`.
        request_id: The request.
        start: It did not take effect before this.
        end: It did by then; infinite if nobody can tell.
        owner: Of a `duplicate`: the request that it names.
        payload: Of an `end` and a `replay`: hash of the payload.
        sure: Whether it took effect at all.
        after: Of an `end`: the request must own the key.
    """

    kind: str
    request_id: str
    start: float
    end: float
    owner: str = ""
    payload: str | None = None
    sure: bool = True

    @property
    def reads(self) -> bool:
        """Whether it leaves the key as it is."""
        return self.kind not in {"take", "end"}

    def apply(self, state: State) -> State | None:
        """Return the state after it; None if it cannot take effect in this one."""
        if self.kind == "take":
            return State("live", self.request_id) if state.kind == "absent" else None
        if self.kind == "end":
            mine = state.kind == "live" and state.owner == self.request_id
            return State("done", self.request_id, self.payload) if mine else None
        return state if self._sees(state) else None

    def _sees(self, state: State) -> bool:
        if self.kind == "duplicate":
            return state.kind == "live" and state.owner == self.owner
        if self.kind == "replay":
            known = state.payload is not None and self.payload is not None
            return state.kind == "done" and (not known or state.payload == self.payload)
        if self.kind == "reused":
            return state.kind != "absent"
        return state.kind != "done"


@rule("INV-18", "per key the history is linearizable: absent, live with one owner, done")
def one_history(history: History) -> Finding:
    """What clients saw of an explicit key fits some order in which it went from absent to live to done.

    Evidence: the clients' frames. A start of the daemon begins anew. Keys that were taken over (by the daemon's log;
    without it, that may have been), or that outlived the result TTL are not judged.
    """
    ttl_s = history.run.timeouts_s.get("result ttl")
    if ttl_s is None:
        return Finding(0, missing="the result TTL is not known")
    judged, too_large, breaches = 0, 0, []
    taken_over = {step.call_key_hash for step in history.daemon_calls if step.waits}
    for requests in _keys(history):
        lapses = requests[0].key in taken_over if history.daemon_calls else _may_be_taken_over(requests)
        if lapses or not _plain(history, requests, ttl_s):
            continue
        fits = linearizable(list(_operations(history, requests)))
        if fits is None:
            too_large += 1
        elif fits:
            judged += 1
        else:
            judged += 1
            events = [frame for request in requests for frame in (request.sent, request.first) if frame is not None]
            breaches.append(violation("no order of its requests explains what clients saw of a key", *events))
    missing = f"{too_large} keys have histories too large to search" if too_large else None
    return Finding(judged, breaches, missing)


def _keys(history: History) -> Iterator[list[Request]]:
    """Return the requests of each explicit key and start of the daemon."""
    keys: dict[tuple[str, str | None], list[Request]] = defaultdict(list)
    for request in requests_of(history):
        if request.key is not None:
            keys[request.key, request.boot_id].append(request)
    yield from keys.values()


def _plain(history: History, requests: list[Request], ttl_s: float) -> bool:
    """Return whether nothing happened that these states do not know, like what comes with time."""
    start, end = (
        requests[0].sent.at,
        max(request.first.at if request.first else request.sent.at for request in requests),
    )
    if any(request.again or request.error is not None for request in requests):
        return False
    if end - start >= ttl_s or any("RESULT_MAX" in name for name in history.run.settings):
        return False
    unknown_boot = any(request.boot_id is None for request in requests)
    return not (unknown_boot and history.daemon_away(start, end))


def _may_be_taken_over(requests: list[Request]) -> bool:
    """Return whether a call may have lost its lapsed key to a later one: nobody saw its work end in time."""
    acked = [request for request in requests if request.ack is not None]
    lapsed = [request for request in requests if not request.refused and (request.terminal is None or request.cut)]
    return any(owner is not heir for owner in lapsed for heir in acked[:2])  # two are enough to find another one


def _operations(history: History, requests: Iterable[Request]) -> Iterator[Operation]:
    """Return what the requests did; those that were refused before the key was looked at did nothing."""
    own = slack(history, OWN_WALL_S)
    for request in requests:
        sent, first, terminal = request.sent.at - own, request.first, request.terminal
        name = request.request_id
        ended = math.inf if terminal is None else terminal.at + own
        payload = terminal.payload_hash if terminal is not None else None
        if first is None or request.ack is not None:
            taken = math.inf if first is None else first.at + own
            yield Operation("take", name, sent, taken, sure=first is not None)
            over = math.inf if request.cut else ended
            yield Operation("end", name, sent, over, payload=payload, sure=not math.isinf(over))
        elif not failed(first) or first.replayed:
            yield Operation("replay", name, sent, ended, payload=payload)
        elif first.status == DUPLICATE:
            yield Operation("duplicate", name, sent, ended, owner=first.original_request_id or "")
        elif first.status == KEY_REUSED:
            yield Operation("reused", name, sent, ended)
        elif first.status == OVER_CAPACITY:
            yield Operation("full", name, sent, ended)


def linearizable(operations: list[Operation], *, most_steps: int = MOST_STEPS) -> bool | None:
    """Return whether some order explains the operations of one key; None if that takes too long to find out."""
    if len(operations) > MOST_OPERATIONS:
        return None
    operations = sorted(operations, key=lambda operation: operation.start)
    first = _read(operations, (1 << len(operations)) - 1, ABSENT)
    seen = {(first, ABSENT)}
    stack = [(first, ABSENT)]
    while stack:
        left, state = stack.pop()
        if not any(operation.sure for operation in _chosen(operations, left)):
            return True
        if len(seen) > most_steps:
            return None
        for index in _next(operations, left):
            after = operations[index].apply(state)
            if after is not None:
                step = (_read(operations, left & ~(1 << index), after), after)
                if step not in seen:
                    seen.add(step)
                    stack.append(step)
    return False


def _read(operations: list[Operation], left: int, state: State) -> int:
    """Take everything that changes nothing and is allowed now; return what is left."""
    while True:
        taken = [i for i in _next(operations, left) if operations[i].reads and operations[i].apply(state) is not None]
        if not taken:
            return left
        for index in taken:
            left &= ~(1 << index)


def _next(operations: list[Operation], left: int) -> list[int]:
    """Return the operations that may come next: those that began before the first of the others had to be over."""
    due, found = math.inf, list[int]()
    for index, operation in enumerate(operations):
        if operation.start > due:
            break
        if left >> index & 1:
            found.append(index)
            due = min(due, operation.end) if operation.sure else due
    return [index for index in found if operations[index].start <= due]


def _chosen(operations: list[Operation], left: int) -> Iterator[Operation]:
    return (operation for index, operation in enumerate(operations) if left >> index & 1)
