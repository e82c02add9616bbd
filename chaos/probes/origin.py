"""Pages of other sites, and names that lead here by a trick, are refused before any frame is read (INV-31)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from chaos.probes.case import Case, Seen
from chaos.probes.raw import UPGRADE, http_status
from chaos.probes.target import Target

FORBIDDEN: Final = 403
UPGRADED: Final = 101

FOREIGN_ORIGINS: Final = (
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://evil.example/localhost",
    "http://127.0.0.1.evil.example",
)
LOCAL_ORIGINS: Final = ("http://localhost:1234", "http://127.0.0.1:1234", "http://localhost")
FOREIGN_HOSTS: Final = ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "evillocalhost")
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def cases(target: Target) -> Iterator[Case]:
    """Give the questions; which local pages are allowed is known of a daemon of ours only: none."""
    origins = FOREIGN_ORIGINS + (LOCAL_ORIGINS if target.embedded else ())
    for origin in origins:
        yield _case(f"Origin {origin}", [("Host", "localhost"), ("Origin", origin)], FORBIDDEN)
    for host in FOREIGN_HOSTS:
        yield _case(f"Host {host}", [("Host", host)], FORBIDDEN)
    yield _case("Host missing", [], FORBIDDEN)
    yield _case("two Hosts", [("Host", "localhost"), ("Host", "evil.example")], FORBIDDEN)
    for host in LOCAL_HOSTS:
        yield _case(f"Host {host}, no Origin", [("Host", f"{host}:{target.port}")], UPGRADED)


def _case(name: str, headers: Sequence[tuple[str, str]], status: int) -> Case:
    # HTTP itself wants one Host, so that "bad request" is as good as "forbidden" where there is none, or two.
    also = {400} if name in {"Host missing", "two Hosts"} else set()
    return Case("INV-31", name, f"HTTP {status}", partial(_upgrade, headers=headers, statuses={status, *also}))


async def _upgrade(target: Target, *, headers: Sequence[tuple[str, str]], statuses: set[int]) -> Seen:
    status, _ = await http_status(target, [*headers, *UPGRADE])
    return Seen(f"HTTP {status}", status in statuses)
