"""The stub provider's admin endpoint: what a provider is set to, and how a fault changes it."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from reference_daemon.policy.errors import HarnessError
from scenarios.model_faults import ProviderChange

_WITHIN_S: Final = 5.0
_SETTABLE: Final = frozenset({"mode", "latency", "concurrency", "retry_after_s"})
"""What a fault may change."""

_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a loopback address needs no proxy


class ProviderRefusedError(HarnessError):
    """The stub provider did not take a change, or did not answer.

    Attributes:
        name: The provider.
        reason: What went wrong.
    """

    def __init__(self, name: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        """Name the provider and the reason."""
        return f"stub provider {self.name}: {self.reason}"


async def configure(admin: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Set a provider, and return all that it is set to.

    Raises:
        ProviderRefusedError: It did not take it.
    """
    return await asyncio.to_thread(_exchange, admin, name, settings)


async def read_provider(admin: str, name: str) -> dict[str, Any]:
    """Return what a provider is set to."""
    return _settings(await asyncio.to_thread(_exchange, admin, name, None))


async def change_provider(admin: str, change: ProviderChange) -> dict[str, Any]:
    """Change a provider as a fault says; return what it is set to now."""
    wanted = {
        "mode": change.mode,
        "latency": change.latency,
        "concurrency": change.concurrency,
        "retry_after_s": change.retry_after,
    }
    changes = {key: value for key, value in wanted.items() if value is not None}
    return _settings(await configure(admin, change.name, changes))


async def restore_provider(admin: str, name: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """Set a provider back, and return what it is set to."""
    return _settings(await configure(admin, name, before))


def _settings(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an answer that can be set: the rest are figures."""
    return {key: value for key, value in answer.items() if key in _SETTABLE}


def _exchange(admin: str, name: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the address is the stub's own
        f"{admin}/admin/providers/{name}",
        data=None if settings is None else json.dumps(settings).encode(),
        method="GET" if settings is None else "PUT",
        headers={"Content-Type": "application/json"},
    )
    try:
        with _OPENER.open(request, timeout=_WITHIN_S) as answer:
            read: dict[str, Any] = json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise ProviderRefusedError(name, str(error)) from error
    return read
