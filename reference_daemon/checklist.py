"""The restart checklist: what the settings are, where each comes from, and whether they keep the timeout ladder.

The rules themselves are the policy's; here they meet the settings that the daemon would read.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from reference_daemon.addresses import is_loopback
from reference_daemon.policy.errors import ConfigError
from reference_daemon.policy.ladder import RULES, Finding, Profile, Rule, judge
from reference_daemon.settings import Settings, SettingsError, read_settings, settings_file

PROVIDER_CAP: Final = "EXAI_WS_<PROVIDER>_MAX_INFLIGHT"
DEFAULT: Final = "default"
_SHOWN_WITH_NEIGHBOURS: Final = frozenset({"client-timeout", "provider-caps", "token"})
"""Rules whose value is made of several settings."""


class Verdict(enum.StrEnum):
    """What a check found."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "FAIL"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the checklist.

    Attributes:
        name: A short name, for programs.
        subject: What it is about: a setting, or a part of what runs.
        value: What was found.
        origin: Where a setting comes from; empty for what runs.
        rule: What must hold.
        verdict: Whether it does.
        write: Lines for .env that help.
        note: What else to know, or to do.
    """

    name: str
    subject: str
    value: str
    rule: str
    verdict: Verdict
    origin: str = ""
    write: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read.

    Attributes:
        path: The file that stands after the environment.
        settings: The settings; a default stands for each that is wrong.
        origins: Variable → where it is set; those that are not set are missing.
        problems: The values that are wrong.
    """

    path: Path
    settings: Settings
    origins: Mapping[str, str]
    problems: tuple[ConfigError, ...]


def read(env_file: Path | None = None) -> Reading:
    """Read the settings as the daemon would, and go on where a value is wrong.

    Raises:
        SettingsError: The file cannot be read, or one that was named does not exist.
    """
    path = settings_file(env_file)
    problems: tuple[ConfigError, ...] = ()
    try:
        settings = read_settings(path)
    except SettingsError as error:
        problems = tuple(error.problems)
        if any(problem.setting == "ENV_FILE" for problem in problems):
            raise
        settings = read_settings(path, **_defaults_of(problems))
    return Reading(path=path, settings=settings, origins=_origins(path), problems=problems)


def _defaults_of(problems: Iterable[ConfigError]) -> dict[str, Any]:
    """Return what stands in for the settings that are wrong."""
    defaults = {str(field.validation_alias): field.get_default() for field in Settings.model_fields.values()}
    caps = {name[len("EXAI_WS_") : -len("_MAX_INFLIGHT")]: 1 for name in _wrong(problems) - defaults.keys()}
    known = {name: defaults[name] for name in _wrong(problems) & defaults.keys()}
    return {**known, PROVIDER_CAP: caps} if caps else known


def _wrong(problems: Iterable[ConfigError]) -> set[str]:
    """Return the variables that are wrong, without the part of them that is named."""
    return {problem.setting.partition("[")[0] for problem in problems}


def _origins(path: Path) -> dict[str, str]:
    """Return where each variable is set."""
    in_file = DotEnvSettingsSource(Settings, env_file=path).env_vars
    environment = EnvSettingsSource(Settings).env_vars
    return {**dict.fromkeys(in_file, str(path)), **dict.fromkeys(environment, "environment")}


def profile_of(settings: Settings) -> Profile:
    """Return what the rules need to know of the settings."""
    policy = settings.policy()
    return Profile(
        caps=policy.caps,
        timeouts=policy.timeouts,
        progress_interval_s=settings.progress_interval_s,
        expert_heartbeat_s=settings.expert_heartbeat_s,
        shim_rpc_s=settings.shim_rpc_timeout_s,
        client_s=settings.client_timeout_s,
        long_run=settings.long_run,
        uncoalesced=settings.disable_coalesce_for,
        host=settings.host,
        loopback=is_loopback(settings.host),
        token_set=settings.token is not None,
    )


def ladder(reading: Reading) -> list[Check]:
    """Judge what was read; rules that need a value that is wrong are left out."""
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    wrong = {name if name in known else PROVIDER_CAP for name in _wrong(reading.problems)}
    rules = [rule for rule in RULES if wrong.isdisjoint(rule.settings)]
    profile = profile_of(reading.settings)
    return [_check(finding, _origin(finding.rule, profile, reading.origins)) for finding in judge(profile, rules)]


def _check(finding: Finding, origin: str) -> Check:
    rule = finding.rule
    hidden = not finding.passed and "environment" in origin
    note = "unset it in the environment, which comes before .env" if hidden else finding.note
    return Check(
        name=rule.name,
        subject=rule.settings[0],
        value=finding.value,
        origin=origin,
        rule=rule.says,
        verdict=Verdict.PASS if finding.passed else Verdict.FAIL,
        write=finding.write,
        note=note,
    )


def _origin(rule: Rule, profile: Profile, origins: Mapping[str, str]) -> str:
    """Return where a rule's value comes from; several places are all named."""
    names = list(rule.settings if rule.name in _SHOWN_WITH_NEIGHBOURS else rule.settings[:1])
    if PROVIDER_CAP in names:
        names[:1] = [f"EXAI_WS_{name}_MAX_INFLIGHT" for name in profile.caps.providers]
    places = dict.fromkeys(origins[name] for name in names if name in origins)
    return ", ".join(places) or DEFAULT
