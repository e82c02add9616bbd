"""What runs, for the checklist: the daemon, whether it runs with these settings, and the providers."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from reference_daemon.assembly import configured_providers
from reference_daemon.channel import HelloRefusedError
from reference_daemon.checklist import Check, Verdict
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from reference_daemon.providers.completion import ProviderSettings
from reference_daemon.providers.errors import Failure, ProviderFailedError
from reference_daemon.providers.model_list import models_of
from reference_daemon.settings import Settings

RESTART: Final = "restart the daemon: it runs with other settings"
_MOST_NAMES: Final = 4
_NOBODYS_FAULT: Final = frozenset({Failure.RATE_LIMITED, Failure.BROKEN, Failure.UNREACHABLE, Failure.LOST})
"""Failures that may pass by themselves, so that they say nothing of the settings."""


async def live_checks(settings: Settings) -> list[Check]:
    """Ask the daemon of these settings and the providers; what does not answer is undecided."""
    checks = await _daemon_checks(settings)
    for name, provider in configured_providers(settings).items():
        checks.append(await _provider_check(name, provider))
    return checks


async def _daemon_checks(settings: Settings) -> list[Check]:
    """Return what the daemon says of itself."""
    token = settings.token.get_secret_value() if settings.token is not None else None
    clock = Clock(settings.time_scale)
    try:
        async with DaemonClient(settings.url, clock=clock, token=token, label="exai checklist") as client:
            health = await client.health()
    except HelloRefusedError as refused:
        if refused.code != "unauthorized":
            return [_unreached(settings, refused)]
        note = "restart the daemon, or write its token to .env: it has another one than these settings"
        return [_live("daemon-token", "the daemon's token", "refused", "ours lets us in", Verdict.FAIL, note=note)]
    except HarnessError as error:
        return [_unreached(settings, error)]
    return [_up(health), *_same_settings(settings, health)]


def _unreached(settings: Settings, error: HarnessError) -> Check:
    note = f"its log, and exai status, say more of {settings.url}"
    return _live("daemon-up", "the daemon", str(error), "it answers", Verdict.UNDECIDED, note=note)


def _up(health: Mapping[str, Any]) -> Check:
    """Return whether the daemon takes calls."""
    draining = bool(health.get("draining"))
    state = "draining" if draining else "up"
    value = f"{state}, boot id {health.get('boot_id', 'not told')}"
    verdict, note = (Verdict.FAIL, "it is ending: start it again") if draining else (Verdict.PASS, "")
    return _live("daemon-up", "the daemon", value, "it answers, and takes calls", verdict, note=note)


def _same_settings(settings: Settings, health: Mapping[str, Any]) -> Iterator[Check]:
    """Compare what the daemon runs with to what these settings would give."""
    caps = settings.policy().caps
    wanted_caps = {"global": caps.total}
    wanted_caps |= {f"tool {name}": cap for name, cap in caps.tools.items()}
    wanted_caps |= {f"provider {name}": cap for name, cap in caps.providers.items()}
    told_caps: dict[str, Any] = {"global": health.get("global_capacity")}
    for kind in ("tool", "provider"):
        pools = health.get(f"{kind}s", {})
        told_caps |= {f"{kind} {name}": pool.get("capacity") for name, pool in pools.items()}
    yield _compared("daemon-caps", "the daemon's caps", wanted_caps, told_caps, told="tools" in health)

    wanted_s = {
        "call": settings.call_timeout_s,
        "step": settings.step_timeout_s,
        "expert": settings.expert_timeout_s,
        "progress": settings.progress_interval_s,
        "heartbeat": settings.expert_heartbeat_s,
    }
    told_s = health.get("timeouts")
    yield _compared("daemon-timeouts", "the daemon's timeouts", wanted_s, told_s or {}, told=told_s is not None)

    wanted, told = {"token": settings.token is not None}, {"token": health.get("token")}
    yield _compared("daemon-token", "the daemon's token", wanted, told, told="token" in health)


def _compared(name: str, subject: str, wanted: Mapping[str, Any], found: Mapping[str, Any], *, told: bool) -> Check:
    """Return whether what the daemon says is what these settings would give."""
    rule = "as these settings would give"
    if not told:
        note = "a daemon of another make: look at its own settings"
        return _live(name, subject, "not told", rule, Verdict.UNDECIDED, note=note)
    names = dict.fromkeys([*wanted, *found])
    differ = [each for each in names if wanted.get(each) != found.get(each)]
    if not differ:
        return _live(name, subject, "the same", rule, Verdict.PASS)
    shown = [f"{each}: {_word(found.get(each))}, not {_word(wanted.get(each))}" for each in differ]
    return _live(name, subject, "; ".join(shown), rule, Verdict.FAIL, note=RESTART)


def _word(value: object) -> str:
    """Return a cap, a time or a token's being there as a person says it."""
    if isinstance(value, bool):
        return "set" if value else "not set"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


async def _provider_check(name: str, provider: ProviderSettings | None) -> Check:
    """Ask a provider for its models."""
    subject, rule = f"provider {name}", "it lists its models, the default one among them"
    check = f"provider-{name.lower()}"
    if provider is None:
        note = f"set {name}_API_KEY for the real one"
        return _live(check, subject, "a stub in the daemon", "a stub needs nothing", Verdict.PASS, note=note)
    try:
        models = await models_of(provider)
    except ProviderFailedError as error:
        verdict = Verdict.UNDECIDED if error.reason in _NOBODYS_FAULT else Verdict.FAIL
        note = f"look at {name}_API_URL and {name}_API_KEY"
        return _live(check, subject, str(error), rule, verdict, note=note)
    more = f" and {len(models) - _MOST_NAMES} more" if len(models) > _MOST_NAMES else ""
    value = (", ".join(models[:_MOST_NAMES]) + more) or "no models"
    if provider.default_model in models:
        return _live(check, subject, value, rule, Verdict.PASS, note="a stub" if provider.stub else "")
    note = f"set {name}_DEFAULT_MODEL to one of them: {provider.default_model} is none"
    return _live(check, subject, value, rule, Verdict.FAIL, note=note)


def _live(name: str, subject: str, value: str, rule: str, verdict: Verdict, *, note: str = "") -> Check:
    return Check(name=name, subject=subject, value=value, rule=rule, verdict=verdict, note=note)
