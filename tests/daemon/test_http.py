"""Before the first frame: Origin and Host, and the pages over plain HTTP."""

import asyncio
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.conftest import House
from tests.daemon.raw_client import UPGRADE, http_get

TOKEN = "correct horse battery staple"
LOCAL = ("Host", "localhost")
ALLOWED = "http://localhost:3000"

ORIGINS: list[tuple[str, list[str], int]] = [
    ("none: no browser", [], 101),
    ("the allowed one", [ALLOWED], 101),
    ("a foreign one", ["https://evil"], 403),
    ("a sandboxed page", ["null"], 403),
    ("one that begins like the allowed one", [ALLOWED + ".evil"], 403),
    ("one that ends like the allowed one", ["http://evil." + ALLOWED.removeprefix("http://")], 403),
    ("another scheme", [ALLOWED.replace("http", "https")], 403),
    ("another port", ["http://localhost:3001"], 403),
    ("empty", [""], 403),
    ("two, the first allowed", [ALLOWED, "https://evil"], 403),
    ("two, the second allowed", ["https://evil", ALLOWED], 403),
]

HOSTS: list[tuple[str, list[str], int]] = [
    ("localhost", ["localhost"], 101),
    ("localhost and a port", ["localhost:8765"], 101),
    ("capitals", ["LOCALHOST"], 101),
    ("IPv4", ["127.0.0.1:1"], 101),
    ("another address of this machine", ["127.8.8.8"], 101),
    ("IPv6", ["[::1]"], 101),
    ("IPv6 and a port", ["[::1]:8765"], 101),
    ("foreign", ["evil.example"], 403),
    ("ends like localhost", ["evil.localhost.example"], 403),
    ("begins like localhost", ["localhost.evil.example"], 403),
    ("begins like an address of this machine", ["127.0.0.1.evil.example"], 403),
    ("begins like 127", ["127.evil.example"], 403),
    ("missing", [], 403),
    ("empty", [""], 403),
    ("two", ["localhost", "evil.example"], 403),
    ("half an IPv6 address", ["[::1"], 403),
    ("any address", ["0.0.0.0"], 403),
]


class TestHeaders:
    @pytest.mark.parametrize(("origins", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS])
    async def test_origin(self, house: House, origins: list[str], status: int) -> None:
        """A page may connect only if its origin is listed, exactly; programs send none."""
        daemon = await house.start(EXAI_WS_ALLOWED_ORIGINS=ALLOWED)
        headers = [LOCAL, *UPGRADE, *(("Origin", origin) for origin in origins)]
        assert (await http_get(daemon.port, headers=headers)).status == status

    async def test_no_origin_is_allowed_unless_told(self, house: House) -> None:
        """As shipped no page may connect, not even one of this machine."""
        daemon = await house.start()
        headers = [LOCAL, *UPGRADE, ("Origin", "http://localhost")]
        assert (await http_get(daemon.port, headers=headers)).status == 403

    @pytest.mark.parametrize(("hosts", "status"), [row[1:] for row in HOSTS], ids=[row[0] for row in HOSTS])
    @pytest.mark.parametrize("upgrade", [True, False], ids=["upgrade", "page"])
    async def test_host(self, house: House, hosts: list[str], status: int, upgrade: bool) -> None:
        """Whoever was led here by a foreign name gets neither a connection nor a page."""
        daemon = await house.start()
        headers = [*(("Host", host) for host in hosts), *(UPGRADE if upgrade else ())]
        answer = await http_get(daemon.port, "/" if upgrade else "/healthz", headers)
        assert answer.status == (200 if status == 101 and not upgrade else status)
        assert status == 101 or b"boot_id" not in answer.body

    async def test_refusals_reveal_nothing(self, house: House) -> None:
        """A refusal has no boot id, no session and no name of a server."""
        daemon = await house.start()
        answer = await http_get(daemon.port, headers=[("Host", "evil.example"), *UPGRADE])
        assert daemon.boot_id.encode() not in answer.body
        assert "server" not in answer.headers


class TestPages:
    async def test_health_page(self, house: House) -> None:
        """/healthz has the figures that `health` has."""
        daemon = await house.start()
        await house.enter(daemon)
        answer = await http_get(daemon.port, "/healthz?full=1", [LOCAL])
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        figures = json.loads(answer.body)
        assert figures["sessions"] == 1
        assert figures["draining"] is False

    async def test_health_page_while_draining(self, house: House) -> None:
        """While the daemon drains, /healthz says 503, so that nobody is sent here any more."""
        daemon = await house.start()
        await daemon.drain()
        assert (await http_get(daemon.port, "/healthz", [LOCAL])).status == 503

    async def test_metrics_page(self, house: House) -> None:
        """/metrics is Prometheus' text format; calls are counted by tool and outcome, refusals by code."""
        daemon = await house.start()
        client = await house.enter(daemon)
        await client.call("echo", "1")
        await client.result("1")
        await client.call("nobody", "2")
        answer = await http_get(daemon.port, "/metrics", [LOCAL])
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
        assert samples["exai_calls_total", ("outcome", "ok"), ("tool", "echo")] == 1
        assert samples["exai_rejections_total", ("code", "TOOL_NOT_FOUND"), ("scope", "")] == 1
        assert samples["exai_in_flight", ("scope", "global")] == 0
        assert samples["exai_cap", ("scope", "global")] == 16
        assert samples["exai_sessions",] == 1

    @pytest.mark.parametrize("path", ["/healthz", "/metrics"])
    async def test_pages_need_the_token(self, house: House, path: str) -> None:
        """Where a token is set, the pages want it, as a bearer token."""
        daemon = await house.start(EXAI_WS_TOKEN=TOKEN)
        for value in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer corréct"):
            assert (await http_get(daemon.port, path, [LOCAL, ("Authorization", value)])).status == 401, value
        assert (await http_get(daemon.port, path, [LOCAL])).status == 401
        assert (await http_get(daemon.port, path, [LOCAL, ("Authorization", f"bearer {TOKEN}")])).status == 200

    async def test_guessing_the_token_over_http_is_slow(self, house: House) -> None:
        """A bad token costs 200 ms on a page, too: else this would be the place to guess it."""
        daemon = await house.start(EXAI_WS_TOKEN=TOKEN)
        began_at = asyncio.get_running_loop().time()
        assert (await http_get(daemon.port, "/healthz", [LOCAL, ("Authorization", "Bearer guess")])).status == 401
        assert asyncio.get_running_loop().time() - began_at >= 0.19  # the loop's timers may be a tick early

    @pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/x", "//healthz", "/%68ealthz"])
    async def test_unknown_page(self, house: House, path: str) -> None:
        """What is neither a page nor an upgrade is refused, and reveals nothing."""
        daemon = await house.start()
        answer = await http_get(daemon.port, path, [LOCAL])
        assert 400 <= answer.status < 500
        assert daemon.boot_id.encode() not in answer.body
