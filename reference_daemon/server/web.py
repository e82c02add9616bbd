"""Web context: fetches the pages that a call names, within its web budget, and lists them under its answer.

A page that cannot be had is a line in that list, never the end of the call.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import structlog

from reference_daemon.clock import Clock
from reference_daemon.server.web_address import Resolver, resolve
from reference_daemon.server.web_cache import ExpiringCache
from reference_daemon.server.web_page import MAX_URL_CHARACTERS, PageError, PageReader, parse_url

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Limits of fetching.

    Attributes:
        cache_ttl_s: How long a fetched page is served again, in seconds.
        max_bytes: The longest page that is read.
        max_cache_bytes: Most bytes of all cached pages together.
        max_cache_entries: Most cached pages.
        allow_private: Whether addresses are fetched that are not public: this machine and its neighbours.
    """

    cache_ttl_s: float = 300.0
    max_bytes: int = 1_000_000
    max_cache_bytes: int = 20_000_000
    max_cache_entries: int = 256
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one URL.

    Attributes:
        url: The URL as it was asked for, fit to be shown.
        status: HTTP status of the last answer; None if there was none.
        fetched_at: Unix time at which it was fetched, or given up.
        text: Its text; empty if there is a problem.
        from_cache: Whether it was fetched earlier.
        problem: Why it was not read; None if it was.
    """

    url: str
    status: int | None
    fetched_at: float
    text: str
    from_cache: bool
    problem: str | None


@dataclass(slots=True)
class _Fetch:
    """A fetch under way, and how many callers wait for it."""

    key: str
    task: asyncio.Task[Fetched]
    waiters: int = 0


class WebFetcher:
    """Fetches pages for all calls of the daemon; `aclose` it."""

    def __init__(
        self,
        settings: WebSettings,
        clock: Clock,
        *,
        resolver: Resolver = resolve,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """Make a fetcher; nothing is connected yet.

        Args:
            settings: Limits.
            clock: Source of time.
            resolver: Finds a host's addresses.
            unix_time: Wall clock, only to say when a page was fetched.
        """
        self._clock = clock
        self._unix_time = unix_time
        self._reader = PageReader(clock, resolver, max_bytes=settings.max_bytes, allow_private=settings.allow_private)
        self._cache: ExpiringCache[Fetched] = ExpiringCache(
            ttl_s=settings.cache_ttl_s,
            max_entries=settings.max_cache_entries,
            max_bytes=settings.max_cache_bytes,
        )
        self._running: dict[str, _Fetch] = {}
        # Cancelled fetches too, until they have really ended.
        self._tasks: set[asyncio.Task[Fetched]] = set()

    async def fetch_all(self, urls: Sequence[str], budget_s: float) -> list[Fetched]:
        """Fetch all URLs at once, and return what became of each, in their order, within the budget.

        Calls that want the same URL share one fetch; it goes on until it ends or nobody waits for it any
        more.
        """
        begun = [self._begin(url) for url in urls]
        fetches = [each for each in begun if isinstance(each, _Fetch)]
        try:
            if fetches:
                await asyncio.wait({each.task for each in fetches}, timeout=self._clock.wall_s(budget_s))
            return [self._outcome(url, each) for url, each in zip(urls, begun, strict=True)]
        finally:
            for fetch in fetches:
                self._leave(fetch)

    async def aclose(self) -> None:
        """End all fetches and close every connection."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._reader.aclose()

    def _begin(self, url: str) -> "_Fetch | Fetched":
        """Find the page in the cache, join the fetch that is under way, or begin one."""
        try:
            key = str(parse_url(url))
        except PageError as error:
            return self._problem(url, error)
        cached = self._cache.get(key, now=self._clock.now())
        if cached is not None:
            return replace(cached, from_cache=True)
        fetch = self._running.get(key)
        if fetch is None:
            fetch = _Fetch(key, asyncio.create_task(self._fetch(key), name="fetch a web page"))
            self._running[key] = fetch
            self._tasks.add(fetch.task)
            fetch.task.add_done_callback(self._tasks.discard)
        fetch.waiters += 1
        return fetch

    def _leave(self, fetch: _Fetch) -> None:
        """Stop waiting for a fetch; the last to leave ends it."""
        fetch.waiters -= 1
        if fetch.waiters == 0:
            fetch.task.cancel()
            # At once, so that nobody joins a fetch that is ending.
            if self._running.get(fetch.key) is fetch:
                del self._running[fetch.key]

    def _outcome(self, url: str, begun: "_Fetch | Fetched") -> Fetched:
        if isinstance(begun, Fetched):
            return replace(begun, url=_shown(url))
        if not begun.task.done():
            return self._problem(url, PageError("no answer within the web time of the call"))
        if begun.task.cancelled():
            return self._problem(url, PageError("the daemon is ending"))
        return replace(begun.task.result(), url=_shown(url))

    async def _fetch(self, key: str) -> Fetched:
        """Fetch a page, keep it, and return it; a problem is returned, too."""
        try:
            page = await self._reader.read(key)
        except PageError as error:
            return self._problem(key, error)
        except Exception:  # noqa: BLE001 - outermost frame: a bug here costs a source, not the answer
            _log.exception("web page failed")
            return self._problem(key, PageError("it cannot be read"))
        fetched = Fetched(key, page.status, self._unix_time(), page.text, from_cache=False, problem=None)
        self._cache.put(key, fetched, len(page.text.encode()), now=self._clock.now())
        return fetched

    def _problem(self, url: str, error: PageError) -> Fetched:
        return Fetched(_shown(url), error.status, self._unix_time(), "", from_cache=False, problem=error.problem)


def render_sources(fetched: Sequence[Fetched]) -> str:
    """Return the list of sources that ends an answer: every URL with its fetch time and status."""
    return "\n".join(["Sources:", *(f"- {each.url} ({_facts(each)})" for each in fetched)])


def _facts(fetched: Fetched) -> str:
    moment = datetime.fromtimestamp(fetched.fetched_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if fetched.problem is not None:
        return f"not read: {fetched.problem}; tried {moment}"
    return f"HTTP {fetched.status}, fetched {moment}{', from the cache' if fetched.from_cache else ''}"


def _shown(url: str) -> str:
    """Return a URL that is fit to stand in an answer: on one line, not endless, without a password."""
    clean = "".join(letter if letter.isprintable() and letter != " " else "?" for letter in url)
    try:
        parts = urlsplit(clean)
    except ValueError:
        return clean[:MAX_URL_CHARACTERS]
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return shown[:MAX_URL_CHARACTERS]
