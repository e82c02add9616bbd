"""Frames as events: everything that a rule needs, and no text."""

import json
from itertools import count
from typing import Any

import msgspec
import pytest

from chaos.load.tap import FrameTap
from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.policy.keys import key_hash
from scenarios.events import AnyEvent, Connection, Frame

TRACE_ID = "0123456789abcdef0123456789abcdef"
SUMMARY = f"=== MCP CALL SUMMARY ===\nTool: chat\nTrace ID: {TRACE_ID}\n=== END SUMMARY ==="


class Notes:
    """A tap at 12 s after the load's start, and what it noted."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self.events: list[AnyEvent] = []
        clock = Clock(monotonic=lambda: 112.0)
        self.tap = FrameTap("steady-0", count(7), clock=clock, start_at=100.0, note=self.events.append)

    def sent(self, frame: msgspec.Struct) -> Frame:
        """Return the event of a sent frame."""
        self.tap.sent(7, frame)
        return self._last()

    def received(self, frame: wire.Reply | None) -> Frame:
        """Return the event of a received frame."""
        self.tap.received(7, frame)
        return self._last()

    def _last(self) -> Frame:
        event = self.events[-1]
        assert isinstance(event, Frame)
        assert (event.at, event.client, event.connection) == (12.0, "steady-0", 7)
        return event


@pytest.fixture
def notes() -> Notes:
    """A tap of the client `steady-0`."""
    return Notes()


def a_call(arguments: dict[str, Any], *, key: str | None = "key") -> wire.CallTool:
    """Return a call."""
    return wire.CallTool("r-1", "chat", arguments, key, TRACE_ID, 179.0)


class TestSent:
    def test_call_keeps_hashes_only(self, notes: Notes) -> None:
        """Its nonce tells its result; key and work are hashes; no argument stands in the event."""
        event = notes.sent(a_call({"prompt": "a secret nonce:00ff.", "draw": 0.5}))
        assert (event.direction, event.op, event.request_id, event.trace_id) == ("sent", "call_tool", "r-1", TRACE_ID)
        assert (event.name, event.timeout_s, event.nonce) == ("chat", 179.0, "00ff")
        assert event.call_key_hash == key_hash("key")
        assert b"secret" not in msgspec.json.encode(event)

    def test_equal_work_has_equal_fingerprints(self, notes: Notes) -> None:
        """The order of the arguments says nothing, their values do."""
        one, same, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
        prints = [notes.sent(a_call(arguments)).fingerprint for arguments in (one, same, other)]
        assert prints[0] == prints[1] != prints[2]
        assert len(prints[0] or "") == 12

    def test_call_without_a_key_has_no_hash_of_one(self, notes: Notes) -> None:
        """The daemon will derive it."""
        assert notes.sent(a_call({}, key=None)).call_key_hash is None

    def test_other_requests_name_their_op(self, notes: Notes) -> None:
        """An attach names its key, a cancel its request."""
        attach, cancel = notes.sent(wire.Attach("r-2", "key")), notes.sent(wire.Cancel("r-1"))
        assert (attach.op, attach.request_id, attach.call_key_hash) == ("attach", "r-2", key_hash("key"))
        assert (cancel.op, cancel.request_id) == ("cancel", "r-1")
        assert notes.sent(wire.Health()).op == "health"


class TestReceived:
    def test_ack_and_heartbeat(self, notes: Notes) -> None:
        """They name what they are for, and how long there is."""
        ack = notes.received(wire.CallToolAck("r-1", "chat", 60.0, TRACE_ID, "0123456789ab"))
        assert (ack.op, ack.name, ack.timeout_s, ack.trace_id) == ("call_tool_ack", "chat", 60.0, TRACE_ID)
        beat = notes.received(wire.Progress("r-1", "chat", 1.0, TRACE_ID, "expert", 5.0, 55.0))
        assert (beat.op, beat.phase, beat.elapsed_s, beat.remaining_s) == ("progress", "expert", 5.0, 55.0)

    def test_result(self, notes: Notes) -> None:
        """Its nonce, its hash and its summary are kept, its text is not."""
        outputs = [wire.Output("a secret nonce:00ff"), wire.Output(SUMMARY)]
        event = notes.received(wire.CallToolReply("r-1", TRACE_ID, outputs, duration=2.5, replayed=True))
        assert (event.op, event.nonce, event.summary, event.status) == ("call_tool_res", "00ff", True, None)
        assert (event.duration_s, event.replayed) == (2.5, True)
        assert b"secret" not in msgspec.json.encode(event)

    def test_equal_payloads_have_equal_hashes(self, notes: Notes) -> None:
        """A replay is known by them, whoever gets it."""
        texts = ("one", "one", "other")
        hashes = [
            notes.received(wire.CallToolReply(f"r-{number}", TRACE_ID, [wire.Output(text)])).payload_hash
            for number, text in enumerate(texts)
        ]
        assert hashes[0] == hashes[1] != hashes[2]

    def test_summary_of_another_call_does_not_count(self, notes: Notes) -> None:
        """A result must end with its own."""
        assert notes.received(wire.CallToolReply("r-1", "f" * 32, [wire.Output(SUMMARY)])).summary is False

    def test_error_of_a_result(self, notes: Notes) -> None:
        """A refusal keeps all its facts."""
        error = wire.Error("OVER_CAPACITY", 429, "full", scope="global", in_use=4, limit=4, retry_after=7.5)
        event = notes.received(wire.CallToolReply("r-1", TRACE_ID, error=error))
        assert (event.op, event.code, event.status) == ("call_tool_res", "OVER_CAPACITY", 429)
        assert (event.scope, event.in_use, event.limit, event.retry_after_s) == ("global", 4, 4, 7.5)
        assert event.payload_hash is not None
        assert event.summary is None

    def test_error_frame(self, notes: Notes) -> None:
        """So does an error that is no result."""
        event = notes.received(wire.ErrorFrame("DUPLICATE", 409, "twice", "r-1", original_request_id="r-0"))
        assert (event.op, event.request_id, event.original_request_id) == ("error", "r-1", "r-0")

    def test_answer_to_health(self, notes: Notes) -> None:
        """What has no request_id says none."""
        event = notes.received(wire.HealthResult(ok=True, health={}))
        assert (event.op, event.request_id) == ("health_res", None)

    def test_frame_that_cannot_be_read(self, notes: Notes) -> None:
        """It is seen, too."""
        assert notes.received(None).op == "?"


class TestConnections:
    def test_have_numbers_of_the_run(self, notes: Notes) -> None:
        """The numbers come from outside, so that they differ over all clients."""
        assert [notes.tap.opened("s-1", "boot"), notes.tap.opened("s-2", None)] == [7, 8]
        first = notes.events[0]
        assert isinstance(first, Connection)
        assert (first.what, first.session, first.boot_id, first.witness) == ("opened", "s-1", "boot", False)

    def test_end_by_their_client_or_not(self, notes: Notes) -> None:
        """A rule must not blame the daemon for what the client ended."""
        notes.tap.closed(7, lost=True)
        notes.tap.closed(8, lost=False)
        assert [event.what for event in notes.events if isinstance(event, Connection)] == ["lost", "closed"]

    def test_events_can_be_written(self, notes: Notes) -> None:
        """They are lines of JSON in the record."""
        notes.sent(a_call({}))
        assert json.loads(msgspec.json.encode(notes.events[0]))["event"] == "frame"
