"""Which network addresses the daemon fetches pages from: public ones only, unless a setting allows others.

A URL comes from a client, or from a page that sends us on; without this check it could name the machine
itself, its neighbours, or a cloud's metadata service.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

# Returns the addresses of a host; raises OSError if it has none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host as the system knows them, each once, the preferred first.

    Raises:
        OSError: The host is not known.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public internet; what is no address does not.

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64) are not public: who connects to
    them may end anywhere.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.sixtofour or ip.teredo):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
