"""Puts a daemon together from its settings: providers, tools, metrics. A composition, nothing else.

Where neither key nor URL of a provider is set, a stub answers in its place, from within this process, and says so in
every answer: a daemon can be tried before there is any account.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Final, NamedTuple

from reference_daemon.addresses import is_loopback_url
from reference_daemon.clock import Clock
from reference_daemon.daemon import Daemon
from reference_daemon.observability.health_file import HEALTH_FILE, HealthFile
from reference_daemon.observability.lines import RotatingFile
from reference_daemon.observability.metrics import Metrics
from reference_daemon.policy.errors import HarnessError
from reference_daemon.providers.completion import ProviderSettings
from reference_daemon.providers.gateway import Gateway
from reference_daemon.providers.latency import parse_latency
from reference_daemon.providers.routing import GLM, KIMI, MODELS, Router
from reference_daemon.providers.stub_model import StubConfig, StubProvider
from reference_daemon.providers.stub_server import StubServer
from reference_daemon.server.info_tools import ProviderInfo
from reference_daemon.server.registry import build_tools
from reference_daemon.server.web import WebFetcher, WebSettings
from reference_daemon.settings import Settings, url_of

METRICS_FILE: Final = "ws_daemon.metrics.jsonl"
MAX_METRICS_BYTES: Final = 64 * 1024 * 1024
"""The metrics file is moved away at this size: about 150,000 calls."""

PUBLIC_URLS: Final = {GLM: "https://open.bigmodel.cn/api/paas/v4", KIMI: "https://api.moonshot.cn/v1"}
"""Where the providers are, for those who set a key and no URL."""


class Running(NamedTuple):
    """A daemon that listens, and what answers its questions."""

    daemon: Daemon
    providers: tuple[ProviderSettings, ...]


class LogDirectoryError(HarnessError):
    """The folder of logs cannot be written."""


@asynccontextmanager
async def running_daemon(settings: Settings, clock: Clock) -> AsyncIterator[Running]:
    """Run a daemon and all it needs, and end them in the reverse order.

    Raises:
        LogDirectoryError: The metrics file cannot be made.
        PortTakenError: The address is in use.
        ConfigError: A provider's settings do not fit together.
    """
    async with AsyncExitStack() as stack:
        providers = await _providers(settings, clock, stack)
        gateway = Gateway(providers, clock)
        stack.push_async_callback(gateway.aclose)
        web = WebFetcher(
            WebSettings(
                cache_ttl_s=settings.web_cache_ttl_s,
                max_bytes=settings.web_max_bytes,
                allow_private=settings.web_allow_private,
            ),
            clock,
        )
        stack.push_async_callback(web.aclose)
        tools = build_tools(
            router=Router({provider.name: provider.default_model for provider in providers}),
            gateway=gateway,
            web=web,
            provider_infos=[
                ProviderInfo(each.name, MODELS[each.name], each.default_model, each.stub) for each in providers
            ],
            clock=clock,
            token_hex=secrets.token_hex,
        )
        metrics = Metrics(stack.enter_context(closing(_metrics_file(settings))))
        daemon = await stack.enter_async_context(Daemon(settings, tools, clock, metrics))
        url = url_of(settings.host, daemon.port)
        await stack.enter_async_context(HealthFile(settings.log_dir / HEALTH_FILE, url, daemon.health, clock))
        yield Running(daemon, providers)


def _metrics_file(settings: Settings) -> RotatingFile:
    path = settings.log_dir / METRICS_FILE
    try:
        return RotatingFile(path, max_bytes=MAX_METRICS_BYTES)
    except OSError as error:
        raise LogDirectoryError(f"cannot write {path}: {error.strerror}") from error


def configured_providers(settings: Settings) -> Mapping[str, ProviderSettings | None]:
    """Return each provider as the settings describe it; None where they say nothing, and a stub stands in.

    Raises:
        ConfigError: A provider's settings do not fit together.
    """
    given = {
        GLM: (settings.glm_api_url, settings.glm_api_key, settings.glm_default_model),
        KIMI: (settings.kimi_api_url, settings.kimi_api_key, settings.kimi_default_model),
    }
    providers: dict[str, ProviderSettings | None] = {}
    for name, (url, secret, model) in given.items():
        if url is None and secret is None:
            providers[name] = None
            continue
        base_url = url or PUBLIC_URLS[name]
        key = secret.get_secret_value() if secret is not None else ""
        stub_answers = not key and is_loopback_url(base_url)
        providers[name] = ProviderSettings(
            name=name, base_url=base_url, api_key=key, default_model=model, stub=stub_answers
        )
    return providers


async def _providers(settings: Settings, clock: Clock, stack: AsyncExitStack) -> tuple[ProviderSettings, ...]:
    """Return where each provider is, starting a stub in the place of those that nothing is set for."""
    providers = configured_providers(settings)
    default_models = {GLM: settings.glm_default_model, KIMI: settings.kimi_default_model}
    missing = [name for name, provider in providers.items() if provider is None]
    stub_urls: dict[str, str] = {}
    if missing:
        latency = parse_latency(settings.stub_latency)
        stubs = {name: StubProvider(latency=latency, models=MODELS[name]) for name in missing}
        stub = await stack.enter_async_context(StubServer(StubConfig(providers=stubs), clock))
        stub_urls = {name: stub.base_url(name) for name in missing}
    return tuple(
        provider
        if provider is not None
        else ProviderSettings(
            name=name, base_url=stub_urls[name], api_key="", default_model=default_models[name], stub=True
        )
        for name, provider in providers.items()
    )
