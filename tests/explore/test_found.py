"""What exploring has found, each as the few steps that showed it: none of it may come back."""

import pytest

from tests.explore.plan import Ask, Attach, Call, Cancel, Cut, Plan, Restart, Setup, SlowReader, StandStill
from tests.explore.verdict import examine


@pytest.mark.parametrize("seed", range(10))
def test_an_attach_as_a_heartbeat_is_due_brings_one_heartbeat(seed: int) -> None:
    """Who attaches in the moment in which a heartbeat is due gets one: of two the elapsed time would not grow."""
    steps = (
        Call(at=10.0, n=1, client="wild", key=0, request=4),
        StandStill(at=11.5, client="raw", for_s=0.5),
        Attach(at=11.6, client="raw", request=13, key=0),
    )
    connect_first = Attach(at=9.0, client="raw", request=12, key=3)
    assert examine(Plan(seed, Setup(beat_s=1.0), (connect_first, *steps))) == []


def test_a_connection_that_is_lost_as_it_opens_is_not_pinged() -> None:
    """A daemon that dies while a client connects leaves no keepalive behind, which would log an error 20 s later."""
    steps = (
        Ask(at=1.4, client="anna", what="rotate_wrong"),
        Restart(at=1.69, how="SIGKILL", down_s=0.5),
        Call(at=3.0, n=1, client="anna", takes_s=45.0),
    )
    assert examine(Plan(31, Setup(delay_s=0.06), steps)) == []


def test_an_owner_whose_key_was_taken_over_is_gone_for_who_attaches() -> None:
    """When who took the key over has given up, an attach is told that it is gone: SUPERSEDED is no replay."""
    steps = (
        Call(at=27.42, n=0, client="ben", work=1000, key=0, takes_s=8.0, ending="stubborn"),
        Call(at=30.72, n=2, client="ben", work=1000, key=0, timeout_s=3.0),
        Attach(at=34.0033, client="raw", request=12, key=0),
    )
    setup = Setup(total=2, call_s=12.0, inflight_ttl_s=3.0, advice="fixed:2", delay_s=0.004)
    assert examine(Plan(7104, setup, steps)) == []


INNOCENT = {
    "INV-14: of two calls at one moment nobody knows which the daemon saw first": Plan(
        4968,
        Setup(session=1),
        (
            Call(at=0.0, n=8, client="ben"),
            Call(at=1.0, n=1, client="ben", key=1),
            Call(at=1.0, n=9, client="anna", work=1010, key=1),
        ),
    ),
    "INV-24: a daemon that was killed holds nothing, though its log ends with a call in flight": Plan(
        1,
        Setup(),
        (Call(at=1.0, n=1, client="ben", takes_s=20.0, timeout_s=90.0), Restart(at=2.0, how="SIGKILL", down_s=0.5)),
    ),
    "INV-24: nor does what it held count for the one that starts in the same moment": Plan(
        1,
        Setup(),
        (
            Call(at=1.0, n=1, client="ben", takes_s=20.0),
            Restart(at=2.0, how="SIGKILL", down_s=0.0),
            Call(at=2.0, n=2, client="witness", takes_s=9.0),
        ),
    ),
    "INV-14: other work is admitted under a key whose result had to make room": Plan(
        93,
        Setup(results=2),
        (
            Call(at=4.0, n=502, client="raw", key=2),
            Cut(at=7.0, client="raw"),
            Call(at=14.0, n=5, client="ben"),
            Call(at=32.0, n=4, client="ben", takes_s=3.0),
            Call(at=36.64, n=6, client="ben", work=1020, key=2),
        ),
    ),
    "INV-44: a second request under an id that is in flight has a trace of its own": Plan(
        1,
        Setup(),
        (
            Call(at=1.0, n=1, client="raw", request=1, takes_s=9.0),
            Call(at=3.5, n=2, client="raw", request=1, work=2),
        ),
    ),
    "INV-19: a client that reads slowly sees the ack late, and the timeout in time": Plan(
        368,
        Setup(call_s=30.0, beat_s=5.0),
        (
            Call(at=1.0, n=6, client="anna", takes_s=1.0),
            SlowReader(at=3.0, client="anna", for_s=12.0),
            Call(at=7.1, n=8, client="anna", work=8, ending="hangs", timeout_s=90.0),
        ),
    ),
    "INV-27: a cancel that arrives before its call finds nothing": Plan(
        5587, Setup(), (Cancel(at=0.0, client="wild", request=1), Call(at=0.0, n=505, client="wild", request=1))
    ),
    "INV-13, INV-15: a repeat in the moment in which the owner ends may be refused, or get the result": Plan(
        2,
        Setup(inflight_ttl_s=1.0),
        tuple(Call(at=float(at), n=at, client="witness", key=0, takes_s=3.0) for at in (1, 4, 7)),
    ),
    "INV-27: work that goes on after its cancellation is its provider's": Plan(
        79, Setup(), (Call(at=0.4, n=7, client="ben", takes_s=20.0, ending="stubborn", cancel_s=5.0),)
    ),
}
"""What looked like a breach to a rule, and is none."""


@pytest.mark.parametrize("case", INNOCENT)
def test_nobody_is_accused_without_reason(case: str) -> None:
    """A rule that once took this for a breach does so no more."""
    assert examine(INNOCENT[case]) == []
