"""What a provider offers: the one question that costs nothing, to see that its address and its key are right."""

from typing import Final

import httpx2
import msgspec

from reference_daemon.providers.completion import ProviderSettings
from reference_daemon.providers.errors import Failure, ProviderFailedError

WITHIN_WALL_S: Final = 10.0
"""A provider that needs longer to list its models is in trouble."""

_MAX_BYTES: Final = 4 * 1024 * 1024
_OK, _TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR, _FIRST_CLIENT_ERROR = 200, 429, 500, 400


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def models_of(provider: ProviderSettings, *, within_wall_s: float = WITHIN_WALL_S) -> tuple[str, ...]:
    """Return the names of a provider's models.

    Raises:
        ProviderFailedError: The provider refused, failed, vanished or answered nonsense.
    """
    timeout = httpx2.Timeout(within_wall_s)
    headers = {"Authorization": f"Bearer {provider.api_key or 'stub'}"}
    body = bytearray()
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout, trust_env=not provider.local, follow_redirects=False) as client,
            client.stream("GET", f"{provider.base_url.rstrip('/')}/models", headers=headers) as response,
        ):
            if response.status_code != _OK:
                raise _failed(provider, _reason(response.status_code), response.status_code)
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise _failed(provider, Failure.NONSENSE, _OK)
    except httpx2.ConnectError:
        raise _failed(provider, Failure.UNREACHABLE) from None
    except httpx2.HTTPError:
        raise _failed(provider, Failure.LOST) from None
    try:
        return tuple(model.id for model in msgspec.json.decode(bytes(body), type=_Models).data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _failed(provider, Failure.NONSENSE, _OK) from None


def _reason(status: int) -> Failure:
    """Return what an answer that is no list of models means."""
    if status == _TOO_MANY_REQUESTS:
        return Failure.RATE_LIMITED
    if status >= _FIRST_SERVER_ERROR:
        return Failure.BROKEN
    return Failure.REFUSED if status >= _FIRST_CLIENT_ERROR else Failure.REDIRECTED


def _failed(provider: ProviderSettings, reason: Failure, status: int | None = None) -> ProviderFailedError:
    return ProviderFailedError(provider.name, status, None, reason)
