"""Deadlines: passed when they fall due, whatever the heartbeats and whatever the tool does."""

import pytest

from tests.daemon.conftest import House

ANSWERED_WITHIN_S = 0.25
"""Wall seconds after its deadline within which a late call is answered: the daemon's promise."""


@pytest.mark.parametrize("interval_s", [0.01, 0.07, 100.0])
@pytest.mark.parametrize("tool", ["hold", "stubborn"])
async def test_exact_whatever_the_heartbeats(house: House, tool: str, interval_s: float) -> None:
    """A call is answered 504 when its deadline falls due, not at the next heartbeat, also if its tool does not stop."""
    client = await house.enter(await house.start(EXAI_WS_PROGRESS_INTERVAL_SECS=interval_s))
    ack = await client.call(tool, "r", timeout=0.1)
    assert ack["timeout"] == 0.1
    error = (await client.result("r"))["error"]
    assert (error["code"], error["limit"]) == ("TIMEOUT", 0.1)
    assert 0.1 <= error["elapsed"] <= 0.1 + ANSWERED_WITHIN_S
    assert await client.nothing_waits()


async def test_nothing_comes_after_the_terminal(house: House) -> None:
    """A tool that goes on after its 504 holds its slot until it stops; no heartbeat and no late result is sent."""
    daemon = await house.start(scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0, EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
    client = await house.enter(daemon)
    await client.call("stubborn", "r", call_key="k", timeout=0.5)
    assert (await client.result("r"))["error"]["code"] == "TIMEOUT"
    assert (await client.call("echo", "2"))["error"]["scope"] == "global"
    await daemon._clock.sleep(5)  # five heartbeats would be due
    assert await client.nothing_waits()
    house.tools["stubborn"].release.set()
    await house.until_idle()
    assert await client.nothing_waits()
    replay = await client.call("stubborn", "3", call_key="k")
    assert (replay["error"]["code"], replay["replayed"]) == ("TIMEOUT", True)
    assert (await client.call("echo", "4"))["op"] == "call_tool_ack"


@pytest.mark.parametrize(("sent", "enforced"), [(1e9, 50.0), (50.001, 50.0), (49.999, 49.999), (None, 50.0)])
async def test_the_smaller_budget_counts(house: House, sent: float | None, enforced: float) -> None:
    """The ack names the deadline that is enforced: the smaller of the client's and the daemon's own."""
    client = await house.enter(await house.start(EXAI_WS_CALL_TIMEOUT=50))
    assert (await client.call("echo", "r", timeout=sent))["timeout"] == enforced


@pytest.mark.parametrize("least_s", [1e-9, 5e-324])
async def test_a_deadline_that_has_passed(house: House, least_s: float) -> None:
    """A client that waits for no time at all gets its ack and its 504, even while another call runs."""
    client = await house.enter(await house.start())
    assert (await client.call("hold", "r", timeout=least_s))["op"] == "call_tool_ack"
    assert (await client.receive())["error"]["code"] == "TIMEOUT"


async def test_a_tool_knows_its_deadline(house: House) -> None:
    """The context has the deadline that is enforced, and the seconds that are left."""
    client = await house.enter(await house.start())
    await client.call("hold", "r", timeout=20)
    context = await house.started("hold")
    assert context.deadline_at - context.started_at == pytest.approx(20)
    assert 0 < context.remaining_s() <= 20


async def test_a_slot_is_free_when_the_answer_is_there(house: House) -> None:
    """With one slot, calls one after another are never refused: the slot is given back before the answer is sent."""
    client = await house.enter(await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=1))
    for number in range(50):
        assert (await client.call("echo", str(number)))["op"] == "call_tool_ack"
        await client.result(str(number))


async def test_429_only_while_a_pool_is_full(house: House) -> None:
    """At cap - 1 a call is admitted, at the cap it is refused, and after one end it is admitted again."""
    client = await house.enter(await house.start(EXAI_WS_TOOL_MAX_INFLIGHT="hold=3", EXAI_WS_SESSION_MAX_INFLIGHT=100))
    first = [await client.call("hold", str(number), {"n": number}) for number in range(5)]
    assert [answer["op"] for answer in first] == ["call_tool_ack"] * 3 + ["call_tool_res"] * 2
    assert await client.ask({"op": "cancel", "request_id": "0"})
    again = [await client.call("hold", str(number), {"n": number}) for number in (5, 6)]
    assert [answer["op"] for answer in again] == ["call_tool_ack", "call_tool_res"]
