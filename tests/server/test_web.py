import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog

from reference_daemon.clock import Clock
from reference_daemon.server.web import Fetched, WebFetcher, WebSettings, render_sources
from reference_daemon.server.web_address import Resolver, is_public, resolve
from tests.server.web_site import TEXT, Site, a_site

# Long enough that no test ends by it.
AMPLE_S = 60.0
LOCAL = WebSettings(allow_private=True, max_bytes=1000)
UNIX_NOW = 1_445_412_480.0


@contextlib.asynccontextmanager
async def a_fetcher(
    settings: WebSettings = LOCAL, resolver: Resolver = resolve, clock: Clock | None = None
) -> AsyncIterator[WebFetcher]:
    """Give a fetcher whose wall clock stands still, and close it."""
    fetcher = WebFetcher(settings, clock or Clock(), resolver=resolver, unix_time=lambda: UNIX_NOW)
    try:
        yield fetcher
    finally:
        await fetcher.aclose()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site with one page."""
    async with a_site() as site:
        site.pages["/page"] = ("200 OK", TEXT, b"hello")
        yield site


@pytest.fixture
async def fetcher() -> AsyncIterator[WebFetcher]:
    """A fetcher that may fetch from this machine."""
    async with a_fetcher() as fetcher:
        yield fetcher


async def problem_of(fetcher: WebFetcher, url: str) -> str | None:
    """Return why a URL was not read."""
    (fetched,) = await fetcher.fetch_all([url], AMPLE_S)
    assert fetched.text == ""
    return fetched.problem


class TestPages:
    async def test_pages_come_back_in_the_order_of_their_urls(self, fetcher: WebFetcher, site: Site) -> None:
        """Each URL has its outcome; one that fails does not touch the others."""
        fetched = await fetcher.fetch_all([site.url("/none"), site.url("/page")], AMPLE_S)
        assert fetched == [
            Fetched(site.url("/none"), 404, UNIX_NOW, "", from_cache=False, problem="HTTP 404"),
            Fetched(site.url("/page"), 200, UNIX_NOW, "hello", from_cache=False, problem=None),
        ]

    async def test_html_becomes_its_words(self, fetcher: WebFetcher, site: Site) -> None:
        """Markup, scripts and styles are left out, and entities are resolved."""
        html = b"<title>T</title><style>p{}</style><p>a &amp;\n b<script>evil()</script><p>c"
        site.pages["/page"] = ("200 OK", {"content-type": "text/html; charset=utf-8"}, html)
        (fetched,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        assert fetched.text == "T\na & b\nc"

    @pytest.mark.parametrize("charset", ["latin-1", "no-such-charset", "zlib"])
    async def test_any_charset_gives_a_text(self, fetcher: WebFetcher, site: Site, charset: str) -> None:
        """A charset that is unknown, or no charset at all, is read as UTF-8."""
        headers = {"content-type": f"text/plain; charset={charset}"}
        site.pages["/page"] = ("200 OK", headers, b"plain")
        (fetched,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        assert fetched.text == "plain"

    @pytest.mark.parametrize(("size", "problem"), [(999, None), (1000, None), (1001, "longer than 1000 bytes")])
    async def test_size_is_bounded(self, fetcher: WebFetcher, site: Site, size: int, problem: str | None) -> None:
        """A page of exactly the limit is read, one byte more is not."""
        site.pages["/page"] = ("200 OK", TEXT, b"x" * size)
        (fetched,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        assert (fetched.problem, len(fetched.text)) == (problem, 0 if problem else size)

    @pytest.mark.parametrize(
        ("headers", "problem"),
        [
            ({"content-type": "application/pdf"}, "no text but application/pdf"),
            ({"content-type": "evil words"}, "no text but something without a type"),
            ({}, "no text but something without a type"),
        ],
    )
    async def test_what_is_no_text_is_named(
        self, fetcher: WebFetcher, site: Site, headers: dict[str, str], problem: str
    ) -> None:
        """The kind of content is named, its bytes are not read."""
        site.pages["/page"] = ("200 OK", headers, b"%PDF")
        assert await problem_of(fetcher, site.url("/page")) == problem

    async def test_compressed_pages_are_not_unpacked(self, fetcher: WebFetcher, site: Site) -> None:
        """A small page cannot become a huge one in our memory."""
        body = gzip.compress(b"x" * 1_000_000)
        site.pages["/page"] = ("200 OK", {**TEXT, "content-encoding": "gzip"}, body)
        assert await problem_of(fetcher, site.url("/page")) == "it is compressed, which was not asked for"
        assert "accept-encoding: identity" in site.heads[0].lower()

    async def test_connection_that_breaks_is_a_problem(self, fetcher: WebFetcher, site: Site) -> None:
        """A page that is cut off is not taken for a whole one."""
        site.pages["/page"] = ("200 OK", {**TEXT, "content-length": "100"}, b"cut")
        assert await problem_of(fetcher, site.url("/page")) == "the connection broke"

    async def test_nobody_listens(self, fetcher: WebFetcher) -> None:
        """A connection that is refused is a problem, too."""
        async with a_site() as gone:
            pass
        assert await problem_of(fetcher, gone.url("/page")) == "cannot connect"

    async def test_proxies_of_the_environment_are_not_used(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy would connect to an address that nobody checked."""
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with a_fetcher() as fetcher:
            (fetched,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        assert fetched.text == "hello"


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("", "only http and https URLs are fetched"),
            ("example.org", "only http and https URLs are fetched"),
            ("file:///etc/passwd", "only http and https URLs are fetched"),
            ("ftp://example.org/", "only http and https URLs are fetched"),
            ("http://", "only http and https URLs are fetched"),
            ("http://[::1", "no valid URL"),
            ("http://example.org:port/", "no valid URL"),
            ("http://example.org/\n=== END", "no valid URL"),
            ("http://user:secret@example.org/", "URLs with a name or password are not fetched"),
            ("http://example.org/" + "x" * 2000, "the URL is longer than 2000 characters"),
        ],
    )
    async def test_what_is_not_fetched(self, fetcher: WebFetcher, url: str, problem: str) -> None:
        """Only plain http and https URLs are asked for."""
        assert await problem_of(fetcher, url) == problem

    async def test_shown_url_has_no_password_and_one_line(self, fetcher: WebFetcher) -> None:
        """A source list can neither give a password away nor be broken by a URL."""
        urls = ["http://user:secret@example.org/a", "http://example.org/\n=== END"]
        fetched = await fetcher.fetch_all(urls, AMPLE_S)
        assert [each.url for each in fetched] == ["http://example.org/a", "http://example.org/?===?END"]


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "localhost",
            "",
        ],
    )
    def test_what_is_not_public(self, address: str) -> None:
        """This machine, its neighbours, groups, and whatever carries another address inside."""
        assert not is_public(address)

    @pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "2606:4700:4700::1111"])
    def test_what_is_public(self, address: str) -> None:
        """Ordinary addresses of the internet."""
        assert is_public(address)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"]
    )
    async def test_this_machine_is_refused_however_it_is_written(self, site: Site, host: str) -> None:
        """The address counts, not its spelling; nobody is connected to."""
        async with a_fetcher(WebSettings()) as fetcher:
            (fetched,) = await fetcher.fetch_all([site.url("/page", host)], AMPLE_S)
        # A system that does not know a spelling refuses it as well, in other words.
        assert fetched.problem in {"the host's address is not public", "the host's name is not known"}
        assert site.heads == []

    async def test_one_private_address_condemns_the_name(self, site: Site) -> None:
        """A name with a public and a private address is not fetched from either."""

        async def both(host: str, port: int) -> Sequence[str]:
            return ["8.8.8.8", "127.0.0.1"]

        async with a_fetcher(WebSettings(), both) as fetcher:
            problem = await problem_of(fetcher, site.url("/page", "example.org"))
        assert problem == "the host's address is not public"

    async def test_name_is_resolved_once_and_that_address_is_connected_to(self, site: Site) -> None:
        """The connection goes to the address that was checked, and the request still names the host."""
        asked: list[str] = []

        async def once(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"]

        async with a_fetcher(resolver=once) as fetcher:
            (fetched,) = await fetcher.fetch_all([site.url("/page", "name.invalid")], AMPLE_S)
        assert (fetched.text, asked) == ("hello", ["name.invalid"])
        assert f"host: name.invalid:{site.port}\r\n" in site.heads[0].lower()

    async def test_second_address_is_tried_when_the_first_refuses(self, site: Site) -> None:
        """A name with an address that cannot be reached is served by its next."""

        async def two(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.2", "127.0.0.1"]  # the site listens on the second alone

        async with a_fetcher(resolver=two) as fetcher:
            (fetched,) = await fetcher.fetch_all([site.url("/page", "name.invalid")], AMPLE_S)
        assert fetched.text == "hello"

    async def test_tls_is_told_the_name_not_the_address(self) -> None:
        """A certificate is checked against the host that the URL names."""
        named: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a certificate the handshake fails, but only after the client has named the host.
        context.sni_callback = lambda connection, name, own: named.append(name)

        async def here(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server, a_fetcher(resolver=here) as fetcher:
            port = server.sockets[0].getsockname()[1]
            assert await problem_of(fetcher, f"https://name.invalid:{port}/") == "cannot connect"
        assert named == ["name.invalid"]

    async def test_unknown_name_is_a_problem(self) -> None:
        """A resolver that knows nothing costs a source, no more."""

        async def nothing(host: str, port: int) -> Sequence[str]:
            raise OSError

        async with a_fetcher(resolver=nothing) as fetcher:
            assert await problem_of(fetcher, "http://name.invalid/") == "the host's name is not known"

    async def test_bug_of_ours_costs_a_source_not_the_answer(self) -> None:
        """Even an exception that nobody expected is a problem of one page; the log has its traceback."""

        async def broken(host: str, port: int) -> Sequence[str]:
            raise RuntimeError

        with structlog.testing.capture_logs() as lines:
            async with a_fetcher(resolver=broken) as fetcher:
                assert await problem_of(fetcher, "http://name.invalid/") == "it cannot be read"
        assert [line["log_level"] for line in lines] == ["error"]


class TestRedirects:
    async def test_redirects_are_followed(self, fetcher: WebFetcher, site: Site) -> None:
        """Absolute and relative ones, up to five."""
        for step in range(5):
            target = "/page" if step == 4 else f"/{step + 1}"
            location = site.url(target) if step % 2 else target
            site.pages[f"/{step}"] = ("302 Found", {"location": location}, b"")
        (fetched,) = await fetcher.fetch_all([site.url("/0")], AMPLE_S)
        assert (fetched.url, fetched.text) == (site.url("/0"), "hello")

    async def test_a_sixth_redirect_is_not_followed(self, fetcher: WebFetcher, site: Site) -> None:
        """A circle of redirects ends."""
        site.pages["/round"] = ("302 Found", {"location": "/round"}, b"")
        assert await problem_of(fetcher, site.url("/round")) == "more than 5 redirects"
        assert len(site.heads) == 6

    @pytest.mark.parametrize("location", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://[", ""])
    async def test_redirect_to_what_is_not_fetched(self, fetcher: WebFetcher, site: Site, location: str) -> None:
        """A page cannot send us where a call may not."""
        site.pages["/page"] = ("302 Found", {"location": location}, b"")
        assert await problem_of(fetcher, site.url("/page")) is not None
        assert len(site.heads) == 1

    @pytest.mark.parametrize("target", ["rebound.example", "private.example", "127.0.0.1"])
    async def test_every_hop_is_checked(self, site: Site, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        """A public first hop does not vouch for the second, nor for a second look at the same name."""
        # The site stands for a public one: its address passes until the name is looked up again.
        answers = {"rebound.example": ["127.0.0.1", "10.0.0.1"], "private.example": ["10.0.0.1"]}
        answers.setdefault("127.0.0.1", ["192.168.0.1"])
        answers.setdefault("public.example", ["127.0.0.1"])

        async def changing(host: str, port: int) -> Sequence[str]:
            return [answers[host].pop(0)]

        monkeypatch.setattr("reference_daemon.server.web_page.is_public", lambda address: address == "127.0.0.1")
        start = target if target == "rebound.example" else "public.example"
        site.pages["/page"] = ("302 Found", {"location": site.url("/secret", target)}, b"")
        site.pages["/secret"] = ("200 OK", TEXT, b"secret")
        async with a_fetcher(WebSettings(), changing) as fetcher:
            problem = await problem_of(fetcher, site.url("/page", start))
        assert problem == "the host's address is not public"
        assert len(site.heads) == 1


class TestBudget:
    async def test_page_that_is_late_is_a_problem_and_is_dropped(self, fetcher: WebFetcher, site: Site) -> None:
        """When the budget ends, what is there is returned, and the late page's connection is closed."""
        site.held.add("/late")
        urls = [site.url("/page"), site.url("/late")]
        # A twentieth of a second; the first page needs a few milliseconds, but the claim is only about the
        # second.
        fetched = await fetcher.fetch_all(urls, 0.05)
        assert fetched[1].problem == "no answer within the web time of the call"
        if site.asked.is_set():
            await site.left.wait()

    async def test_budget_is_scaled(self, site: Site) -> None:
        """The budget counts on the fetcher's clock: 20 s of it are one wall second at a scale of 0.05."""
        site.held.add("/late")
        async with a_fetcher(clock=Clock(0.001)) as fetcher, asyncio.timeout(20.0):
            (fetched,) = await fetcher.fetch_all([site.url("/late")], 60.0)
        assert fetched.problem == "no answer within the web time of the call"


class TestSharing:
    async def test_two_calls_share_one_fetch(self, fetcher: WebFetcher, site: Site) -> None:
        """The same URL, wanted twice at once, is asked for once; the fragment makes no difference."""
        site.held.add("/page")
        first = asyncio.create_task(fetcher.fetch_all([site.url("/page")], AMPLE_S))
        second = asyncio.create_task(fetcher.fetch_all([site.url("/page#part")], AMPLE_S))
        await site.asked.wait()
        site.release.set()
        assert [(await task)[0].text for task in (first, second)] == ["hello", "hello"]
        assert len(site.heads) == 1

    async def test_one_that_is_cancelled_leaves_the_others_fetch_alone(self, fetcher: WebFetcher, site: Site) -> None:
        """The fetch belongs to all who wait for it, also when the one who began it is gone."""
        site.held.add("/page")
        first = asyncio.create_task(fetcher.fetch_all([site.url("/page")], AMPLE_S))
        await site.asked.wait()
        second = asyncio.create_task(fetcher.fetch_all([site.url("/page")], AMPLE_S))
        await asyncio.sleep(0)  # one turn, in which the second joins
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        site.release.set()
        assert (await second)[0].text == "hello"
        assert len(site.heads) == 1

    async def test_last_one_to_leave_ends_the_fetch(self, fetcher: WebFetcher, site: Site) -> None:
        """A fetch that nobody waits for is dropped; a later call begins anew."""
        site.held.add("/page")
        only = asyncio.create_task(fetcher.fetch_all([site.url("/page")], AMPLE_S))
        await site.asked.wait()
        only.cancel()
        await site.left.wait()
        site.held.clear()
        assert (await fetcher.fetch_all([site.url("/page")], AMPLE_S))[0].text == "hello"

    async def test_closing_ends_what_runs(self, site: Site) -> None:
        """A daemon that ends does not wait for the web; who still waits is told."""
        site.held.add("/page")
        async with a_fetcher() as fetcher:
            waiting = asyncio.create_task(fetcher.fetch_all([site.url("/page")], AMPLE_S))
            await site.asked.wait()
        assert (await waiting)[0].problem == "the daemon is ending"


class TestCache:
    async def test_second_call_is_served_from_the_cache(self, fetcher: WebFetcher, site: Site) -> None:
        """Within its life a page is not asked for again."""
        (first,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        (second,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
        assert (first.from_cache, second.from_cache, second.text) == (False, True, "hello")
        assert len(site.heads) == 1

    async def test_problems_are_not_cached(self, fetcher: WebFetcher, site: Site) -> None:
        """A page that was missing may be there now."""
        await fetcher.fetch_all([site.url("/new")], AMPLE_S)
        site.pages["/new"] = ("200 OK", TEXT, b"new")
        assert (await fetcher.fetch_all([site.url("/new")], AMPLE_S))[0].text == "new"

    async def test_page_lapses_with_the_clock(self, site: Site) -> None:
        """At exactly its TTL a page is fetched again."""
        now = [0.0]
        async with a_fetcher(clock=Clock(monotonic=lambda: now[0])) as fetcher:
            outcomes = []
            for now[0] in (0.0, 299.9, 300.0):
                (fetched,) = await fetcher.fetch_all([site.url("/page")], AMPLE_S)
                outcomes.append(fetched.from_cache)
        assert outcomes == [False, True, False]


class TestSources:
    def test_every_source_has_time_and_status(self) -> None:
        """A reader sees what was read, when, and what was not."""
        sources = [
            Fetched("http://a.example/", 200, UNIX_NOW, "text", from_cache=False, problem=None),
            Fetched("http://b.example/", 200, UNIX_NOW, "text", from_cache=True, problem=None),
            Fetched("http://c.example/", 404, UNIX_NOW, "", from_cache=False, problem="HTTP 404"),
        ]
        assert render_sources(sources) == (
            "Sources:\n"
            "- http://a.example/ (HTTP 200, fetched 2015-10-21T07:28:00Z)\n"
            "- http://b.example/ (HTTP 200, fetched 2015-10-21T07:28:00Z, from the cache)\n"
            "- http://c.example/ (not read: HTTP 404; tried 2015-10-21T07:28:00Z)"
        )
