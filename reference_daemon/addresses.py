"""What the name or address of a host says by itself, without asking a resolver."""

import ipaddress
from urllib.parse import urlsplit


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_unspecified(host: str) -> bool:
    """Return whether `host` stands for every address of this machine: 0.0.0.0 or ::, or nothing at all."""
    return not host or (is_address(host) and ipaddress.ip_address(host).is_unspecified)


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address, or the name, of this machine alone."""
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"  # a name such as 127.0.0.1.evil.example leads anywhere


def is_loopback_url(url: str) -> bool:
    """Return whether `url` leads to this machine."""
    return is_loopback(urlsplit(url).hostname or "")
