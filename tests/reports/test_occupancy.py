"""Calls in flight, counted from what daemon or clients tell."""

from collections.abc import Callable

from reports.charts.in_flight import STEPS, envelope
from reports.occupancy import Occupancy, occupancy_of
from reports.table import table_of
from scenarios.events import AnyEvent, DaemonCall, ProcessMove
from scenarios.history import Call
from scenarios.record import Record
from scenarios.run import Run

MakeRun = Callable[..., Run]


def admitted(at: float, number: int, tool: str = "analyze") -> DaemonCall:
    """Make the admission of a call."""
    return DaemonCall(at=at, what="admitted", request_id=f"r-{number}", session="s", tool=tool, provider="GLM")


def stopped(at: float, number: int) -> DaemonCall:
    """Make the end of its work."""
    return DaemonCall(at=at, what="stopped", request_id=f"r-{number}", session="s")


def occupancy(run: Run, events: list[AnyEvent], calls: list[Call] | None = None) -> Occupancy:
    """Compute the occupancy of a run with these events."""
    return occupancy_of(Record(run, calls or [], events), table_of(calls or []))


def peaks(found: Occupancy) -> dict[str, int]:
    """Return the peak of each scope."""
    return {level.scope: level.peak for level in found.levels}


def test_a_call_is_in_every_scope_until_its_work_stopped(a_run: MakeRun) -> None:
    """Two calls of two tools overlap in all scopes but their tools'."""
    found = occupancy(a_run(), [admitted(0.0, 1), admitted(1.0, 2, "chat"), stopped(2.0, 1), stopped(3.0, 2)])
    assert peaks(found) == {"global": 2, "provider:GLM": 2, "tool:analyze": 1, "tool:chat": 1, "session": 2}
    assert {level.scope: level.cap for level in found.levels if level.cap} == {
        "global": 24,
        "tool:analyze": 2,
        "session": 5,
    }
    assert found.seen_by == "daemon"


def test_at_one_moment_who_goes_makes_room_before_others_come(a_run: MakeRun) -> None:
    """A slot that is handed on is held once."""
    found = occupancy(a_run(), [admitted(0.0, 1), stopped(1.0, 1), admitted(1.0, 2), stopped(2.0, 2)])
    assert peaks(found)["global"] == 1


def test_with_the_process_all_its_calls_are_gone(a_run: MakeRun) -> None:
    """A call that a killed daemon held is not in flight in its successor."""
    end = ProcessMove(at=1.0, what="ended", boot=1, exit_code=-9)
    later = DaemonCall(at=2.0, what="admitted", request_id="r-1", session="s", tool="analyze", boot=2)
    assert peaks(occupancy(a_run(), [admitted(0.0, 1), end, later]))["global"] == 1


def test_without_the_daemons_story_the_clients_is_told(a_run: MakeRun, calls: list[Call]) -> None:
    """Six calls one after the other overlap by their last seconds; the page says who counted."""
    found = occupancy(a_run(), [], calls)
    assert found.seen_by == "clients"
    assert peaks(found)["global"] == 2


def test_nothing_in_flight_is_no_level(a_run: MakeRun) -> None:
    """Without calls there is nothing to draw."""
    assert occupancy(a_run(), []).levels == ()


def test_a_curve_keeps_its_peak(a_run: MakeRun) -> None:
    """However short it was: each interval shows its highest value, and a call that stays goes on."""
    events: list[AnyEvent] = [admitted(0.0, 1), admitted(50.0, 2), stopped(50.001, 2), stopped(100.0, 1)]
    (level,) = [level for level in occupancy(a_run(), events).levels if level.scope == "global"]
    _, heights = envelope(level, 0.0, 100.0)
    assert heights.max() == 2.0
    assert list(heights).count(2.0) == 1
    assert list(heights).count(1.0) == STEPS - 1
