"""Where the daemon listens: on loopback only (INV-38)."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chaos.probes.case import Case, NotAskedError, Seen
from chaos.probes.target import Target

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"
_WORD: Final = 8
"""Hex digits of a 32-bit word, which the kernel writes in the machine's own order of bytes."""


def cases(target: Target) -> Iterator[Case]:
    """Give the questions."""
    why_not = None
    if not target.embedded:
        why_not = "a foreign daemon's addresses were not ours to choose"
    elif not _TABLES[0].exists():
        why_not = "this system has no list of its sockets that can be read"
    yield Case("INV-38", "addresses that it listens on", "loopback only", _listens, why_not)


async def _listens(target: Target) -> Seen:
    found = [address for table in _TABLES if table.exists() for address in listening(table.read_text(), target.port)]
    if not found:
        raise NotAskedError("its socket is not in the system's list")
    held = all(ipaddress.ip_address(address).is_loopback for address in found)
    return Seen(", ".join(sorted(found)), held)


def listening(table: str, port: int) -> list[str]:
    """Return the addresses that a table of the kernel's says somebody listens on at `port`."""
    found = []
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, number = local.partition(":")
        if state == _LISTENING and int(number, 16) == port:
            found.append(_address(address))
    return found


def _address(digits: str) -> str:
    words = [bytes.fromhex(digits[at : at + _WORD])[::-1] for at in range(0, len(digits), _WORD)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
