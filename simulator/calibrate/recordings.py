"""Recorded calls from files: a history of calls (Parquet), or the metrics of a daemon (JSON lines)."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from reference_daemon.policy.errors import HarnessError
from reference_daemon.policy.events import CallKind
from scenarios.history import Call, Outcome, read_calls
from scenarios.record import EVENTS, NoRecordError, read_events
from simulator.model.routing import CHATS, LOCAL, provider_of

End = Literal["ended", "cut", "failed"]

_PARQUET: Final = b"PAR1"
_WITNESS: Final = "witness"
_LONGEST_S: Final = 7 * 86_400.0
_LONG_MEDIAN_S: Final = 3_600.0
_RAN_AND_WAS_CUT: Final = frozenset({Outcome.TIMEOUT, Outcome.CANCELLED})
_OK, _FAILED, _CUT = 200, frozenset({500, 502}), frozenset({499, 504})


class CalibrationError(HarnessError):
    """Recorded calls from which nothing can be learned.

    Attributes:
        source: The file, or the part of it.
        reason: What is wrong.
    """

    exit_code = 2

    def __init__(self, source: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(source, reason)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        """Name both."""
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A logical call as a recording tells it.

    Attributes:
        at_s: Seconds from the recording's first call to its arrival.
        session: Whose it was.
        tool: Name of the tool.
        provider: The provider that it asked; None if it asked none.
        kind: Of the call.
        model: The model that answered; None if nobody said.
        end: How its execution went: it ended, was cut before its end, or failed; None if there was none that says
            anything about durations (refused, replayed, lost).
        took_s: How long it took, or after how long it was cut.
        why: Outcome in the recording's own word.
    """

    at_s: float
    session: str
    tool: str
    provider: str | None
    kind: CallKind
    model: str | None
    end: End | None
    took_s: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The calls of one file.

    Attributes:
        source: Name of the file.
        calls: In the order of their arrival.
        settings: Settings of the daemon that differ from the shipped ones, where the run beside a history tells them.
    """

    source: str
    calls: tuple[Seen, ...]
    settings: dict[str, str]


def read_recording(path: Path, expert_timeout_s: float) -> Recording:
    """Read a file of either kind.

    Args:
        path: The file.
        expert_timeout_s: Budget of the expert's request in the recorded daemon: a call that succeeds after so long did
            so without its expert, whose request was cut.

    Raises:
        CalibrationError: It is neither, empty, or its units do not fit together.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CalibrationError(str(path), error.strerror or "cannot be read") from error
    if not head:
        raise CalibrationError(str(path), "is empty")
    if head.startswith(_PARQUET):
        calls, settings = _from_history(path), _settings_beside(path)
    elif head.lstrip().startswith(b"{"):
        calls, settings = _from_metrics(path), {}
    else:
        raise CalibrationError(str(path), "is neither a history of calls (Parquet) nor a daemon's metrics (JSON lines)")
    if not calls:
        raise CalibrationError(str(path), "holds no call")
    _check_size(path, calls)
    first_at = min(call.at_s for call in calls)
    known = _providers_by_tool(calls)
    done = (_finished(call, first_at, known, expert_timeout_s) for call in calls)
    return Recording(source=path.name, calls=tuple(sorted(done, key=lambda call: call.at_s)), settings=settings)


# --- a history -------------------------------------------------------------------------------------------------------


def _from_history(path: Path) -> list[Seen]:
    try:
        calls = read_calls(path)
    except (OSError, ValueError) as error:
        raise CalibrationError(str(path), str(error)) from error
    for call in calls:
        _check_history_units(path, call)
    return [_from_call(call) for call in calls]


def _from_call(call: Call) -> Seen:
    end, took_s = _end_of_call(call)
    return Seen(
        at_s=call.intended_at,
        session=call.session,
        tool=call.tool,
        provider=call.provider,
        kind=_kind(call.tool, expert=call.expert),
        model=call.model,
        end=end,
        took_s=took_s,
        why=call.outcome.value,
    )


def _end_of_call(call: Call) -> tuple[End | None, float | None]:
    """Return how the execution went and how long it took; the daemon's own measure comes first."""
    took_s = call.service_s
    if took_s is None and call.acked_at is not None and call.finished_at is not None:
        took_s = call.finished_at - call.acked_at
    if call.outcome is Outcome.PROVIDER_ERROR:
        return "failed", took_s
    if call.acked_at is None or took_s is None:
        return None, None
    if call.outcome is Outcome.OK:
        return "ended", took_s
    return ("cut", took_s) if call.outcome in _RAN_AND_WAS_CUT else (None, None)


def _check_history_units(path: Path, call: Call) -> None:
    """Refuse a history whose durations are not differences of its moments."""
    if call.latency_s is None or call.finished_at is None:
        return
    between_s = call.finished_at - call.intended_at
    if not math.isclose(call.latency_s, between_s, rel_tol=0.01, abs_tol=0.01):
        raise CalibrationError(
            str(path),
            f"mixed units: call {call.trace_id} has latency_s = {call.latency_s:g}, but {between_s:g} between "
            "intended_at and finished_at; all must be in seconds",
        )


def _settings_beside(path: Path) -> dict[str, str]:
    """Return the settings of the run that a history lies in; none if it lies elsewhere."""
    events = path.with_name(EVENTS)
    if not events.is_file():
        return {}
    try:
        return dict(read_events(events)[0].settings)
    except NoRecordError:
        return {}


# --- a daemon's metrics ----------------------------------------------------------------------------------------------


class _Line(msgspec.Struct):
    event: str
    at: float
    session: str = ""
    client: str | None = None
    tool: str | None = None
    provider: str | None = None
    kind: str | None = None
    trace_id: str | None = None
    outcome: str | None = None
    status: int | None = None
    duration_s: float | None = None
    clock_at: float | None = None
    waits: bool | None = None

    @property
    def moment(self) -> float:
        """The daemon's own clock, in unscaled seconds; the wall clock where it did not say."""
        return self.at if self.clock_at is None else self.clock_at


@dataclass(slots=True)
class _Story:
    """What the lines of one trace say."""

    first: _Line
    accepted: _Line | None = None
    last: _Line | None = None


def _from_metrics(path: Path) -> list[Seen]:
    stories: dict[str, _Story] = {}
    witnesses: set[str] = set()
    for line in _lines(path):
        if line.event == "session_opened" and line.client == _WITNESS:
            witnesses.add(line.session)
        if line.event not in {"accepted", "rejected", "finished"} or not line.trace_id or not line.tool:
            continue
        if line.session in witnesses:
            continue
        story = stories.setdefault(line.trace_id, _Story(line))
        if line.event == "accepted":
            story.accepted = line
        elif story.last is None or story.last.event != "finished" or line.event == "finished":
            story.last = line
    for story in stories.values():
        _check_metrics_units(path, story)
    return [_from_story(story) for story in stories.values()]


def _lines(path: Path) -> Iterable[_Line]:
    """Return the events; a last line that was cut off belongs to a daemon that was killed, and is left out."""
    decode = msgspec.json.Decoder(_Line).decode
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield decode(line)
        except msgspec.MsgspecError as error:
            if number < len(lines):
                raise CalibrationError(f"{path}, line {number}", f"is no event of a daemon: {error}") from error


def _from_story(story: _Story) -> Seen:
    first, last, accepted = story.first, story.last, story.accepted
    end, took_s = _end_of_story(story)
    kind = (accepted or first).kind or (last.kind if last is not None else None)
    return Seen(
        at_s=first.moment,
        session=first.session,
        tool=first.tool or "",
        provider=first.provider,
        kind=CallKind(kind) if kind in set(CallKind) else _kind(first.tool or "", expert=first.provider is not None),
        model=None,
        end=end,
        took_s=took_s,
        why=(last.outcome or last.event) if last is not None else "unfinished",
    )


def _end_of_story(story: _Story) -> tuple[End | None, float | None]:
    """Return how the execution went; one that took over a lapsed key waited for another's, which is no duration."""
    last, accepted = story.last, story.accepted
    if last is None or last.event != "finished" or last.status is None or last.duration_s is None:
        return None, None
    if accepted is not None and accepted.waits:
        return None, None
    if last.status == _OK:
        return "ended", last.duration_s
    if last.status in _CUT:
        return "cut", last.duration_s
    return ("failed", last.duration_s) if last.status in _FAILED else (None, None)


def _check_metrics_units(path: Path, story: _Story) -> None:
    """Refuse durations that are not differences of the daemon's own moments."""
    accepted, last = story.accepted, story.last
    if accepted is None or last is None or last.event != "finished" or last.duration_s is None:
        return
    if accepted.clock_at is None or last.clock_at is None or accepted.clock_at > last.clock_at:
        return
    between_s = last.clock_at - accepted.clock_at
    if not math.isclose(last.duration_s, between_s, rel_tol=0.05, abs_tol=1.0):
        raise CalibrationError(
            str(path),
            f"mixed units: call {accepted.trace_id} has duration_s = {last.duration_s:g}, but {between_s:g} between "
            "its events; all must be in seconds",
        )


# --- both ------------------------------------------------------------------------------------------------------------


def _kind(tool: str, *, expert: bool) -> CallKind:
    if tool in LOCAL:
        return CallKind.LOCAL
    if tool in CHATS:
        return CallKind.CHAT
    return CallKind.EXPERT if expert else CallKind.STEP


def _check_size(path: Path, calls: Iterable[Seen]) -> None:
    """Refuse durations that no call has: milliseconds that were taken for seconds."""
    took = sorted(call.took_s for call in calls if call.end == "ended" and call.took_s is not None)
    if not took:
        return
    if took[-1] > _LONGEST_S or not all(map(math.isfinite, took)):
        raise CalibrationError(str(path), f"a call took {took[-1]:g} s, more than a week: are these seconds?")
    if took[len(took) // 2] > _LONG_MEDIAN_S:
        raise CalibrationError(str(path), f"half of the calls took over {took[len(took) // 2]:g} s: are these seconds?")


def _providers_by_tool(calls: Iterable[Seen]) -> dict[tuple[str, CallKind], str]:
    """Return which provider each tool asked most: of a call that got no answer, its history does not tell."""
    seen: dict[tuple[str, CallKind], Counter[str]] = {}
    for call in calls:
        if call.provider is not None:
            seen.setdefault((call.tool, call.kind), Counter())[call.provider] += 1
    return {key: counts.most_common(1)[0][0] for key, counts in seen.items()}


def _finished(call: Seen, first_at: float, known: dict[tuple[str, CallKind], str], expert_timeout_s: float) -> Seen:
    """Count moments from the first call, name the provider that was asked, and tell what the expert's budget cut."""
    end, took_s = call.end, call.took_s
    if end == "ended" and call.kind is CallKind.EXPERT and took_s is not None and took_s >= expert_timeout_s:
        end, took_s = "cut", expert_timeout_s
    provider = call.provider or known.get((call.tool, call.kind)) or provider_of(call.tool, call.kind, call.model)
    if call.kind in {CallKind.LOCAL, CallKind.STEP}:
        provider = None
    return Seen(
        at_s=call.at_s - first_at,
        session=call.session,
        tool=call.tool,
        provider=provider,
        kind=call.kind,
        model=call.model,
        end=end,
        took_s=took_s,
        why=call.why,
    )
