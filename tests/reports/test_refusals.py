"""Refusals by scope, by the one who knows best."""

from reports.refusals import Refusals, refusals_of
from scenarios.events import AnyEvent, DaemonCall, Frame

REFUSED = DaemonCall(at=1.0, what="refused", request_id="r", session="s", status=429, scope="global")
ERROR = Frame(at=1.1, client="c", connection=1, direction="received", op="error", status=429, scope="session")


def test_the_daemons_own_story_comes_first() -> None:
    """It knows of refusals that never reached a client."""
    assert refusals_of([REFUSED, ERROR, ERROR]) == Refusals(by_scope={"global": 1}, seen_by="daemon")


def test_without_it_the_clients_errors_count() -> None:
    """Frames of a foreign daemon tell the scope, too."""
    assert refusals_of([ERROR, ERROR]) == Refusals(by_scope={"session": 2}, seen_by="clients")


def test_another_refusal_is_none_of_a_cap() -> None:
    """A duplicate is refused with 409; only a 429 names a cap."""
    other = DaemonCall(at=1.0, what="refused", request_id="r", session="s", status=409)
    assert refusals_of([other]) == Refusals(by_scope={}, seen_by="daemon")


def test_no_story_is_no_zero() -> None:
    """Without events nobody saw whether there was a refusal."""
    events: list[AnyEvent] = []
    assert refusals_of(events).seen_by is None
