"""Fetches one page: follows its redirects, checks every address on the way, bounds its size.

The address that was checked is the one that is connected to: a name is resolved once per hop, and the request
goes to the address, with the name in `Host` and in TLS. A name that answers differently the second time gains
nothing.
"""

import re
from dataclasses import dataclass

import httpx2

from reference_daemon.clock import Clock
from reference_daemon.server.web_address import Resolver, is_public
from reference_daemon.server.web_text import words_of

MAX_REDIRECTS = 5
MAX_URL_CHARACTERS = 2000
# How long one address may take to accept a connection before the next address of the same name is tried, in
# seconds.
_CONNECT_S = 5.0
_MAX_CONNECTIONS = 32

_TEXT = re.compile(r"text/[\w.+-]+|application/([\w.-]+\+)?(json|xml|yaml|x-yaml|javascript)")
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FIRST_OK, _AFTER_OK = 200, 300


class PageError(Exception):
    """A page cannot be read.

    Attributes:
        problem: Why, in words that quote nothing of the page.
        status: HTTP status of the last answer; None if there was none.
    """

    def __init__(self, problem: str, status: int | None = None) -> None:
        """Keep the facts."""
        super().__init__(problem, status)
        self.problem, self.status = problem, status


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read.

    Attributes:
        status: Its HTTP status, a success.
        text: Its text; of HTML, the words.
    """

    status: int
    text: str


class PageReader:
    """Reads pages over HTTP and HTTPS. It keeps no cookies, no connections, and uses no proxy."""

    def __init__(self, clock: Clock, resolver: Resolver, *, max_bytes: int, allow_private: bool) -> None:
        """Make a reader; nothing is connected yet."""
        self._clock = clock
        self._resolver = resolver
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        # No connection is kept: the pool knows only addresses, and two names may share one.
        limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0)
        self._transport = httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def read(self, text: str) -> Page:
        """Read a page; its caller bounds the time.

        Raises:
            PageError: It cannot be read.
        """
        url = parse_url(text)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(url)
            try:
                if response.status_code not in _REDIRECTS:
                    return await self._page(response)
                url = _next(url, response)
            except httpx2.HTTPError:
                raise PageError("the connection broke", response.status_code) from None
            finally:
                await response.aclose()
        raise PageError(f"more than {MAX_REDIRECTS} redirects")

    async def _get(self, url: httpx2.URL) -> httpx2.Response:
        """Ask the addresses of the URL's host, one after the other, until one accepts the connection."""
        for address in await self._addresses(url):
            try:
                return await self._transport.handle_async_request(self._request(url, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
            except httpx2.HTTPError:
                raise PageError("the connection broke") from None
        raise PageError("cannot connect")

    async def _addresses(self, url: httpx2.URL) -> list[str]:
        host = url.raw_host.decode("ascii")
        try:
            found = list(await self._resolver(host, _port(url)))
        except (OSError, UnicodeError):
            raise PageError("the host's name is not known") from None
        # One bad address condemns the name: a mixture is how an attacker would try.
        if not (self._allow_private or all(is_public(address) for address in found)):
            raise PageError("the host's address is not public")
        return found

    def _request(self, url: httpx2.URL, address: str) -> httpx2.Request:
        host = url.raw_host.decode("ascii")
        return httpx2.Request(
            "GET",
            url.copy_with(host=address),
            headers={
                "Host": url.netloc.decode("ascii"),
                "Accept": "text/*, application/json, application/xml;q=0.9, */*;q=0.1",
                # Sent as it is, a page cannot grow while it is unpacked.
                "Accept-Encoding": "identity",
                "User-Agent": "exai-harness",
            },
            extensions={
                "sni_hostname": host,
                "timeout": {"connect": self._clock.wall_s(_CONNECT_S)},
            },
        )

    async def _page(self, response: httpx2.Response) -> Page:
        status = response.status_code
        if not _FIRST_OK <= status < _AFTER_OK:
            raise PageError(f"HTTP {status}", status)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _TEXT.fullmatch(kind):
            named = kind if _MEDIA_TYPE.fullmatch(kind) else "something without a type"
            raise PageError(f"no text but {named[:80]}", status)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise PageError("it is compressed, which was not asked for", status)
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise PageError(f"longer than {self._max_bytes} bytes", status)
        text = _decode(bytes(body), response.charset_encoding)
        return Page(status, words_of(text) if kind in _HTML else text)


def parse_url(text: str) -> httpx2.URL:
    """Read a URL that may be fetched; its fragment is dropped.

    Raises:
        PageError: It is none.
    """
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise PageError("no valid URL") from None
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise PageError("only http and https URLs are fetched")
    if url.userinfo:
        raise PageError("URLs with a name or password are not fetched")
    if len(text) > MAX_URL_CHARACTERS:
        raise PageError(f"the URL is longer than {MAX_URL_CHARACTERS} characters")
    return url.copy_with(fragment=None)


def _next(url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
    location = response.headers.get("location")
    if not location:
        raise PageError("a redirect to nowhere", response.status_code)
    try:
        joined = str(url.join(location))
    except (httpx2.InvalidURL, ValueError):
        raise PageError("a redirect to nowhere", response.status_code) from None
    return parse_url(joined)


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _decode(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):  # an unknown name, or a codec that is not for text
        return body.decode("utf-8", errors="replace")
