"""The event log tells the life of each call, stamped by the daemon's own clock."""

import json
from pathlib import Path
from typing import Any

from tests.daemon.conftest import House


def told(house: House, folder: Path) -> list[dict[str, Any]]:
    """Return the events of calls that were written so far."""
    house.metrics_sink.flush()
    lines = (folder / "metrics.jsonl").read_bytes().splitlines()
    return [event for event in map(json.loads, lines) if "clock_at" in event]


class TestLifeOfACall:
    async def test_accepted_and_finished(self, house: House, tmp_path: Path) -> None:
        """A call that ends well has two events, in the session that hello_ack named, by a clock that goes on."""
        client = await house.enter(await house.start())
        await client.call("echo", "a", call_key="k")
        await client.result("a")
        accepted, finished = told(house, tmp_path)
        assert (accepted["event"], finished["event"]) == ("accepted", "finished")
        assert {accepted["session"], finished["session"]} == {client.hello_ack["session_id"]}
        assert (accepted["explicit"], finished["client_there"]) == (True, True)
        assert accepted["clock_at"] <= finished["clock_at"]
        assert "working" not in finished

    async def test_stops_after_it_was_answered(self, house: House, tmp_path: Path) -> None:
        """A call that is cancelled while its work goes on is answered first, and stops exactly once, later."""
        client = await house.enter(await house.start())
        await client.call("stubborn", "a")
        await client.ask({"op": "cancel", "request_id": "a"})
        house.tools["stubborn"].release.set()
        await house.until_idle()
        accepted, finished, stopped = told(house, tmp_path)
        assert [event["event"] for event in (accepted, finished, stopped)] == ["accepted", "finished", "stopped"]
        assert (finished["working"], finished["outcome"]) == (True, "cancelled")
        assert stopped["clock_at"] >= finished["clock_at"]

    async def test_refused_and_replayed(self, house: House, tmp_path: Path) -> None:
        """A refusal names status, code and the original; a replay is told apart from a call."""
        client = await house.enter(await house.start())
        await client.call("hold", "a", call_key="k")
        await client.call("hold", "b", call_key="k")
        house.tools["hold"].release.set()
        await client.result("a")
        await client.call("hold", "c", call_key="k")
        _, rejected, _, replayed = told(house, tmp_path)
        assert (rejected["event"], rejected["status"], rejected["code"]) == ("rejected", 409, "DUPLICATE")
        assert (rejected["request_id"], rejected["original_request_id"]) == ("b", "a")
        assert (replayed["event"], replayed["request_id"]) == ("replayed", "c")
