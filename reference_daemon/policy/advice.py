"""When should a refused call come back? What `retry_after` says decides whether three attempts are enough.

Each pool has a schedule of the moments at which its slots are expected to become free. A running call is expected to
end when it has taken as long as a high quantile of its tool's durations; one that outlives that is expected to end as
those did that lasted as long. In mode `appointment` each refused caller is given the earliest moment that nobody was
told about yet, and the schedule goes on as if it had come: its own end is one more moment to promise. So six callers
that are refused by three slots are sent to six different moments, not all to the first.

The book of appointments is keyed by call_key. An appointment ends when its caller is admitted (the call then stands in
its place), or some time after its moment if nobody came; a moment that it had taken from a call that is still running
is free to be promised again. So callers that never return do not push others back.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from reference_daemon.policy.admission import Pool
from reference_daemon.policy.config import Advice, AdviceMode
from reference_daemon.policy.durations import Durations, Guess
from reference_daemon.policy.events import CallKind
from reference_daemon.policy.schedule import Holder

CLIENT_JITTER: Final = 0.1
"""Clients wait up to this part longer than they were told."""

_MAX_REESTIMATES: Final = 8
"""Overdue calls looked at again per decision: a bound on its cost. The next decision goes on with the others."""

_SLACK: Final = 64
"""Lapsed expiries that the book may hold before they are sorted out."""


_new = tuple.__new__
"""Makes a named tuple from all of its fields, in half of the time that its own constructor takes."""


class _Appointment(NamedTuple):
    """A moment that was promised. `taken` are the moments it took, each with the holder that will free the slot."""

    at: float
    expires_at: float
    holder: Holder
    taken: tuple[tuple[Pool, float, Holder], ...]


def _guess(advice: Advice, kind: CallKind) -> Guess:
    """Return how long calls of a kind are taken to last before enough were seen."""
    slow = kind is CallKind.EXPERT or kind is CallKind.CHAT
    typical_s = advice.expected_call_s if slow else advice.expected_short_s
    return Guess(typical_s * (1.0 - advice.expected_spread), typical_s * (1.0 + advice.expected_spread))


class Advisor:
    """Finds `retry_after` for refused calls."""

    def __init__(self, advice: Advice, durations: Durations, *, most_s: float) -> None:
        """Start with nothing running and an empty book.

        Args:
            advice: Mode, quantile, bounds.
            durations: The windows that the policy fills.
            most_s: Most that `retry_after` may say: the call timeout.
        """
        self._advice = advice
        self._fixed = advice.mode is AdviceMode.FIXED
        self._quantile, self._least_s = advice.quantile, advice.least_s
        self._durations = durations
        self._most_s = most_s
        self._book: dict[str, _Appointment] = {}
        self._expiries: list[tuple[float, str]] = []
        self._guesses = {kind: _guess(advice, kind) for kind in CallKind}

    def __len__(self) -> int:
        """Return the number of appointments in the book."""
        return len(self._book)

    def admitted(self, key: str | None, pools: list[Pool], tool: str, kind: CallKind, *, now: float) -> Holder | None:
        """Note that a call holds slots of `pools`, and redeem its appointment if it had one.

        Returns:
            The holder to hand to `ended`; None in mode `fixed`, which needs no schedules.
        """
        if self._fixed:
            return None
        end_at = now + self._expected_s(tool, kind)
        if key in self._book:
            return self._redeem(self._book.pop(key), pools, end_at, now)
        holder = Holder(tool, kind, now)
        for pool in pools:
            pool.schedule.enter(end_at, holder)
        return holder

    def ended(self, holder: Holder | None) -> None:
        """Note that the slots of the call that `holder` stands for are free."""
        if holder is not None:
            holder.seqs.clear()

    def passes_on(self, holder: Holder | None, pools: list[Pool], heirs: Sequence[Pool], *, now: float) -> None:
        """Note that at the end of the call that `holder` stands for, only its slots outside `heirs` become free.

        Args:
            holder: What `admitted` returned.
            pools: Those in which the call holds a slot.
            heirs: Those in which a successor waits for it; none once the successor has gone.
            now: On the caller's clock.
        """
        if holder is None:
            return
        for pool in pools:
            if pool in heirs:
                holder.seqs.pop(pool.schedule, None)
            elif pool.schedule not in holder.seqs:
                pool.schedule.enter(now + self._residual_s(holder, now), holder)

    def refused(self, key: str, pools: list[Pool], tool: str, kind: CallKind, *, now: float) -> float:
        """Return when a refused call should come back, in seconds from now.

        Args:
            key: Its call_key, or a text of its own where it has none: then nobody redeems the appointment.
            pools: The full pools.
            tool: Its tool.
            kind: Its kind.
            now: On the caller's clock.
        """
        if self._fixed:
            return self.clamp(self._advice.fixed_s)
        if self._advice.mode is AdviceMode.RESIDUAL:
            return self.clamp(self._first_free_at(pools, now) - now)
        return self.clamp(self._appoint(key, pools, tool, kind, now) - now)

    def _appoint(self, key: str, pools: list[Pool], tool: str, kind: CallKind, now: float) -> float:
        """Return the moment promised to `key`: its own if that is still to come, else a new one.

        A moment further off than the longest answer is promised to nobody: the caller could not be told.
        """
        self.sweep(now)
        kept = self._book.get(key)
        if kept is not None:
            if kept.at > now:
                return kept.at
            self._drop(key, kept, now)
        taken = []
        at = now + self._least_s
        for pool in pools:
            moment, freeing = self._earliest(pool, now)
            taken.append((pool, moment, freeing))
            if moment > at:  # noqa: PLR1730 - `max` costs a call
                at = moment
        if at - now > self._most_s or len(self._book) >= self._advice.max_appointments:
            return at
        for pool, _, freeing in taken:
            pool.schedule.promise(freeing)
        holder = Holder(tool, kind, at)
        end_at = at + self._expected_s(tool, kind)
        for pool in pools:
            pool.schedule.enter(end_at, holder)
        expires_at = now + (at - now) * (1.0 + CLIENT_JITTER) + self._advice.grace_s
        self._book[key] = _new(_Appointment, (at, expires_at, holder, tuple(taken)))
        self._note_expiry(expires_at, key)
        return at

    def _redeem(self, kept: _Appointment, pools: list[Pool], end_at: float, now: float) -> Holder:
        """Let the admitted call stand where its appointment stood."""
        self._return_taken(kept, now)
        holder = kept.holder
        holder.started_at = now
        schedules = [pool.schedule for pool in pools]
        for schedule in [schedule for schedule in holder.seqs if schedule not in schedules]:
            del holder.seqs[schedule]  # a pool that it was refused by, and needs no more: another session's
        for schedule in schedules:
            if not holder.gave(schedule):  # a moment that was promised on stays promised
                schedule.enter(end_at, holder)
        return holder

    def _drop(self, key: str, kept: _Appointment, now: float) -> None:
        """Strike an appointment that was not kept in time."""
        del self._book[key]
        kept.holder.seqs.clear()
        self._return_taken(kept, now)

    def _return_taken(self, kept: _Appointment, now: float) -> None:
        """Let the moments of calls that still run be promised again."""
        for pool, at, holder in kept.taken:
            if holder.gave(pool.schedule):
                pool.schedule.enter(max(at, now), holder)

    def _note_expiry(self, expires_at: float, key: str) -> None:
        """Remember when to strike an appointment."""
        heappush(self._expiries, (expires_at, key))
        if len(self._expiries) > _SLACK + 2 * len(self._book):
            self._expiries = [(kept.expires_at, key) for key, kept in self._book.items()]
            heapify(self._expiries)

    def sweep(self, now: float) -> None:
        """Strike the appointments that nobody kept."""
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heappop(self._expiries)
            kept = self._book.get(key)
            if kept is not None and kept.expires_at <= now:
                self._drop(key, kept, now)

    def _first_free_at(self, pools: list[Pool], now: float) -> float:
        """Return the moment at which all of `pools` are expected to have a free slot; it is promised to nobody."""
        return max(self._earliest(pool, now)[0] for pool in pools)

    def _earliest(self, pool: Pool, now: float) -> tuple[float, Holder]:
        """Return the earliest moment of a pool, after looking again at calls that are overdue.

        A full pool always has one: each slot's call, or the last of those who were promised its end, has an entry.
        """
        for _ in range(_MAX_REESTIMATES):
            earliest = pool.schedule.earliest()
            assert earliest is not None, pool  # noqa: S101 - see above; a bug of ours, not an input
            at, holder = earliest
            if at > now:
                break
            at = now + self._residual_s(holder, now)
            pool.schedule.enter(at, holder)
        return at, holder

    def _expected_s(self, tool: str, kind: CallKind) -> float:
        """Return how long a call is expected to take, from its start."""
        window = self._durations.window(tool, kind)
        lengths = self._guesses[kind] if window is None else window
        whole_s = lengths.quantile_s(self._quantile)
        assert whole_s is not None  # noqa: S101 - something is longer than nothing
        return whole_s

    def _residual_s(self, holder: Holder, now: float) -> float:
        """Return how much longer an overdue call is expected to take: as those that lasted as long did."""
        age_s = now - holder.started_at
        window = self._durations.window(holder.tool, holder.kind)
        lengths = self._guesses[holder.kind] if window is None else window
        whole_s = lengths.quantile_s(self._quantile, beyond_s=age_s)
        return self._least_s if whole_s is None else max(whole_s - age_s, self._least_s)

    def clamp(self, retry_after_s: float) -> float:
        """Keep an answer between the least wait and the call timeout."""
        return min(max(retry_after_s, self._least_s), self._most_s)
