"""The indexed history: what it finds, and what it says about faults, stalls and the wall."""

import math

import pytest

from scenarios.checks.context import History
from scenarios.run import FaultWindow
from tests.scenarios.checks.histories import (
    a_call,
    a_scenario,
    ended,
    exchange,
    fault,
    health,
    history,
    lag,
    opened,
    process,
    record,
    sent,
)


class TestIndex:
    def test_events_are_in_the_order_of_their_moments(self) -> None:
        """However they were recorded; equal moments stay as they were."""
        seen = history(sent(2, request_id="b"), sent(1), sent(2, request_id="a"))
        assert [frame.request_id for frame in seen.frames] == ["r-1", "b", "a"]

    def test_frames_are_found_by_client_and_request(self) -> None:
        """Two clients may use one request_id."""
        seen = history(*exchange(), sent(0, connection=2), sent(0, "health", None))
        assert len(seen.frames_by_request["c-1", "r-1"]) == len(exchange())
        assert len(seen.frames_by_request["c-2", "r-1"]) == 1

    def test_a_connection_has_an_end_or_none(self) -> None:
        """An opening is none."""
        seen = history(opened(), opened(connection=2, witness=False), ended(5, connection=2))
        assert seen.connection_end(1) is None
        assert seen.connection_end(2) == ended(5, connection=2)
        assert seen.witness_connections == {1}

    def test_the_run_ends_with_its_last_event_or_call(self) -> None:
        """Whichever is later; an empty run ends where it began."""
        assert history(health(3), calls=[a_call(finished_at=2.0)]).end_at == 3
        assert history(health(3), calls=[a_call(finished_at=4.0)]).end_at == 4
        assert history().end_at == 0


class TestTime:
    def test_wall_seconds(self) -> None:
        """A time scale of 0.05 makes 250 ms of five seconds, and back."""
        seen = history(time_scale=0.05)
        assert seen.wall_s(5.0) == pytest.approx(0.25)
        assert seen.unscaled_s(0.25) == pytest.approx(5.0)

    @pytest.mark.parametrize(("at", "stalled"), [(1.2, False), (1.3, True), (2.0, True), (2.2, True), (2.3, False)])
    def test_a_stall_lasted_until_its_moment(self, at: float, stalled: bool) -> None:
        """It is noticed when it is over, and explains what is within 250 ms of it."""
        assert history(lag(2.0, wall_s=0.5)).stalled(at) is stalled

    def test_the_margin_is_on_the_wall(self) -> None:
        """At a time scale of 0.1, 250 ms are 2.5 s."""
        assert history(lag(10.0, wall_s=0.0), time_scale=0.1).stalled(12.4)
        assert not history(lag(10.0, wall_s=0.0), time_scale=0.1).stalled(12.6)


class TestWindows:
    def test_a_fault_lasts_from_on_to_off(self) -> None:
        """One that is never taken off lasts for ever."""
        slow, cut = history(*fault("slow", 1, 5), *fault("cut", 2, None)).windows
        assert (slow.start, slow.end) == (1, 5)
        assert cut.end == math.inf

    def test_an_end_that_only_the_run_knows_counts(self) -> None:
        """A signal is put on, and never taken off by a move."""
        faults = (FaultWindow(name="sigkill", title="", link="daemon", started_at=1.0, ended_at=4.0),)
        (window,) = history(*fault("sigkill", 1, None, "daemon"), faults=faults).windows
        assert window.end == 4.0

    def test_a_move_without_a_link_takes_the_runs(self) -> None:
        """What the run does not name counts as the daemon's."""
        faults = (FaultWindow(name="glm-hang", title="", link="provider:GLM", started_at=1.0),)
        seen = history(*fault("glm-hang", 1, 5, ""), *fault("sigstop", 2, 3, ""), faults=faults)
        assert [window.link for window in seen.windows] == ["provider:GLM", "daemon"]

    def test_a_fault_without_moves_is_the_runs(self) -> None:
        """Nobody logged it, and yet it was there."""
        faults = (FaultWindow(name="slow", title="", link="client-daemon", started_at=1.0, ended_at=3.0),)
        (window,) = history(faults=faults).windows
        assert (window.start, window.end) == (1.0, 3.0)

    def test_the_daemon_is_away_from_its_end_to_its_next_start(self) -> None:
        """A dead daemon answers nothing."""
        seen = history(process(0, "started"), process(5, "ended"), process(8, "started", boot=2))
        assert seen.daemon_away(6, 7)
        assert not seen.daemon_away(1, 4)
        assert not seen.daemon_away(9, 10)

    def test_a_killed_daemon_is_away_from_the_signal(self) -> None:
        """Its end is noticed later."""
        seen = history(process(4, "signalled", signal="SIGKILL"), process(5, "ended"))
        assert seen.daemon_away(4.2, 4.8)
        assert not history(process(4, "signalled", signal="SIGTERM"), process(5, "ended")).daemon_away(4.2, 4.8)

    def test_a_witness_is_spared_what_its_link_has_not(self) -> None:
        """Faults of the clients' link blind the others; a stopped daemon blinds all."""
        seen = history(opened(), *fault("slow", 1, 5), *fault("sigstop", 10, 12, link="daemon"))
        assert not seen.timing_blind(1, 2, 3)
        assert seen.timing_blind(2, 2, 3)
        assert not seen.timing_blind(2, 6, 9)
        assert seen.timing_blind(1, 9, 11)

    def test_a_client_that_stops_reading_sees_nothing_in_time(self) -> None:
        """That it does so is in the scenario."""
        load = {"phase": "steady", "duration": 9, "arrivals": {"uniform": {"gap": 5}}, "mix": {"analyze": 1}}
        scenario = a_scenario(load=[load | {"behaviour": {"stop_reading": 5}}])
        seen = History(record(*exchange(), calls=[a_call()]), scenario)
        assert seen.timing_blind(1, 0, 1)


class TestCutOff:
    def test_only_a_stopped_run_cuts_off(self) -> None:
        """Else a call without an end is the daemon's."""
        endless = a_call(finished_at=None)
        assert history(stopped_by="Ctrl-C").cut_off(endless)
        assert not history(stopped_by="Ctrl-C").cut_off(a_call())
        assert not history().cut_off(endless)
