"""Defects do what they say: each is seen at a daemon in this process, or at the class that it changes."""

import pytest

from chaos.defects import applied
from reference_daemon.policy.retry import GiveUp, RetryAt, RetryPolicy
from reference_daemon.settings import Settings, refusals
from reference_daemon.token_guard import TokenGuard
from tests.daemon.conftest import House, Lines, house, logged, sink
from tests.daemon.fake_tools import FakeTool, raising
from tests.daemon.raw_client import UPGRADE, http_get

__all__ = ["house", "logged", "sink"]

TOKEN = "a-token-of-the-tests"


class TestDaemon:
    async def test_cap_one_too_high(self, house: House) -> None:
        """With a cap of one, a second call is admitted."""
        with applied("cap-one-too-high"):
            client = await house.enter(await house.start(EXAI_WS_SESSION_MAX_INFLIGHT=1))
            assert (await client.call("hold", "a", {"text": "a"}))["op"] == "call_tool_ack"
            assert (await client.call("hold", "b", {"text": "b"}))["op"] == "call_tool_ack"
            house.tools["hold"].release.set()
            await house.until_idle()

    async def test_conflict_names_itself(self, house: House) -> None:
        """A duplicate is told its own request_id."""
        with applied("conflict-names-itself"):
            client = await house.enter(await house.start())
            await client.call("hold", "a", call_key="k")
            refusal = await client.call("hold", "b", call_key="k")
            assert refusal["error"]["original_request_id"] == "b"
            house.tools["hold"].release.set()
            await house.until_idle()

    async def test_key_kept_on_429(self, house: House) -> None:
        """A call that was refused for want of a slot is a duplicate of itself when it comes again."""
        with applied("key-kept-on-429"):
            client = await house.enter(await house.start(EXAI_WS_SESSION_MAX_INFLIGHT=1))
            await client.call("hold", "a", call_key="a")
            assert (await client.call("hold", "b", call_key="b"))["error"]["code"] == "OVER_CAPACITY"
            assert (await client.call("hold", "c", call_key="b"))["error"]["code"] == "DUPLICATE"
            house.tools["hold"].release.set()
            await house.until_idle()

    async def test_refusal_replayed(self, house: House) -> None:
        """A 429 comes again under its key, marked as a replay."""
        with applied("refusal-replayed"):
            client = await house.enter(await house.start(EXAI_WS_SESSION_MAX_INFLIGHT=1))
            await client.call("hold", "a", call_key="a")
            await client.call("hold", "b", call_key="b")
            again = await client.call("hold", "c", call_key="b")
            assert (again["error"]["code"], again["replayed"]) == ("OVER_CAPACITY", True)
            house.tools["hold"].release.set()
            await house.until_idle()

    async def test_fingerprint_ignored(self, house: House) -> None:
        """Other work under a known key gets the result of the first."""
        with applied("fingerprint-ignored"):
            client = await house.enter(await house.start())
            await client.call("echo", "a", {"text": "one"}, call_key="k")
            await client.result("a")
            replay = await client.call("echo", "b", {"text": "two"}, call_key="k")
            assert (replay["replayed"], replay["outputs"][0]["text"]) == (True, "one")

    async def test_heartbeat_follows_the_answer(self, house: House) -> None:
        """After the terminal answer comes a heartbeat of the same request."""
        with applied("heartbeats-after-terminal"):
            client = await house.enter(await house.start())
            await client.call("echo", "a")
            await client.result("a")
            frame = await client.receive()
            assert (frame["op"], frame["request_id"]) == ("progress", "a")

    @pytest.mark.parametrize(
        ("defect", "headers"),
        [
            ("host-unchecked", [("Host", "evil.example")]),
            ("origin-unchecked", [("Host", "localhost"), ("Origin", "https://evil")]),
            ("origin-by-suffix", [("Host", "localhost"), ("Origin", "http://localhost.evil")]),
            ("origin-by-suffix", [("Host", "localhost"), ("Origin", "http://evil-localhost")]),
        ],
    )
    async def test_strangers_get_in(self, house: House, defect: str, headers: list[tuple[str, str]]) -> None:
        """A foreign host or page is let in with the defect, and refused without it."""
        daemon = await house.start()
        assert (await http_get(daemon.port, "/", [*headers, *UPGRADE])).status == 403
        with applied(defect):
            daemon = await house.start()
            assert (await http_get(daemon.port, "/", [*headers, *UPGRADE])).status == 101

    async def test_elapsed_stands_still(self, house: House) -> None:
        """Heartbeats tell the elapsed time in tens of seconds."""
        with applied("elapsed-stands-still"):
            client = await house.enter(await house.start())
            await client.call("hold", "a", call_key="k")
            await client.send({"op": "attach", "request_id": "b", "call_key": "k"})
            beat = await client.receive()
            assert (beat["op"], beat["elapsed"] % 10) == ("progress", 0)
            house.tools["hold"].release.set()
            await house.until_idle()

    async def test_arguments_logged(self, house: House, logged: Lines) -> None:
        """What a client asks stands in the log."""
        with applied("arguments-logged"):
            client = await house.enter(await house.start())
            await client.call("echo", "a", {"text": "planted"})
            await client.result("a")
        assert "planted" in str(logged())


class TestAddress:
    def test_every_address_passes(self) -> None:
        """Settings that would bind every address without a token are refused, but with the defect."""
        settings = Settings.model_validate({"EXAI_WS_HOST": "0.0.0.0"})
        assert [problem.setting for problem in refusals(settings)] == ["EXAI_WS_HOST"]
        with applied("binds-all-interfaces"):
            assert refusals(settings) == []


class TestToken:
    def test_prefix(self) -> None:
        """The first characters are enough, the wrong ones are not."""
        with applied("token-by-prefix"):
            guard = TokenGuard(TOKEN)
            assert guard.admits(TOKEN[:3])
            assert not guard.admits("x")
            assert not guard.admits("")
        assert not TokenGuard(TOKEN).admits(TOKEN[:3])

    def test_failed_rotation(self) -> None:
        """A rotation with the wrong old token fails, and sets the new one."""
        with applied("failed-rotation-sets-token"):
            guard = TokenGuard(TOKEN)
            assert guard.rotate("wrong", "another-token-of-tests") == "unauthorized"
            assert guard.admits("another-token-of-tests")

    def test_case_folded(self) -> None:
        """Upper and lower case make no difference; another letter does."""
        with applied("token-case-folded"):
            guard = TokenGuard(TOKEN)
            assert guard.admits(TOKEN.upper())
            assert not guard.admits(TOKEN + "x")
        assert not TokenGuard(TOKEN).admits(TOKEN.upper())

    def test_old_token_stays(self) -> None:
        """After a rotation both the old token and the new one let in."""
        with applied("old-token-stays"):
            guard = TokenGuard(TOKEN)
            assert guard.rotate(TOKEN, "another-token-of-tests") is None
            assert guard.admits(TOKEN)
            assert guard.admits("another-token-of-tests")
            assert not guard.admits("x")


class TestClient:
    @staticmethod
    def decide(code: str = "OVER_CAPACITY", *, attempt: int = 1) -> RetryAt | GiveUp:
        """Ask what follows a refusal that said 10 s, with the draw in the middle."""
        return RetryPolicy().after_refusal(code, 10.0, attempt=attempt, now=0.0, deadline_at=999.0, draw=0.5)

    def test_no_jitter(self) -> None:
        """The wait is what was told, to the moment."""
        with applied("retries-without-jitter"):
            assert self.decide() == RetryAt(10.0)
        assert self.decide() == RetryAt(10.5)

    def test_below_retry_after(self) -> None:
        """The wait is half of what was told."""
        with applied("retries-below-retry-after"):
            assert self.decide() == RetryAt(5.25)

    def test_four_attempts(self) -> None:
        """After the third attempt comes a fourth, and no fifth."""
        with applied("four-attempts"):
            assert isinstance(self.decide(attempt=3), RetryAt)
            assert self.decide(attempt=4) is GiveUp.NO_ATTEMPTS
        assert self.decide(attempt=3) is GiveUp.NO_ATTEMPTS

    @pytest.mark.parametrize(("defect", "code"), [("retries-422", "KEY_REUSED"), ("retries-a-timeout", "TIMEOUT")])
    def test_final_answers(self, defect: str, code: str) -> None:
        """An answer that is final is not taken for that."""
        with applied(defect):
            assert isinstance(self.decide(code), RetryAt)
        assert self.decide(code) is GiveUp.NOT_RETRIED


class TestErrors:
    async def test_exception_text(self, house: House) -> None:
        """What a tool's exception says reaches the client."""

        def broken() -> BaseException:
            return RuntimeError("planted")

        house.add(FakeTool("broken", raising(broken)))
        with applied("exception-text-leaks"):
            client = await house.enter(await house.start())
            await client.call("broken", "a")
            assert "planted" in (await client.result("a"))["error"]["message"]
