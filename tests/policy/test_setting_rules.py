"""Names and rules of the settings without an environment, beside those of the daemon's own reader."""

from pathlib import Path

import pytest

from reference_daemon.policy.setting_rules import NAMES, broken_rule, provider_of
from reference_daemon.settings import Settings, SettingsError, read_settings

PROVIDER_CAPS = "EXAI_WS_<PROVIDER>_MAX_INFLIGHT"
TEXTS = ["1", "0", "-1", "1.5", "soon", "nan", "inf", "true", "Off", "json", "INFO", "70000", "a=1", "a", "fixed:3"]


def test_every_setting_has_a_rule() -> None:
    """The names are exactly those that the daemon reads; a new setting is given a rule here, too."""
    assert {str(field.validation_alias) for field in Settings.model_fields.values()} - {PROVIDER_CAPS} == NAMES


@pytest.mark.parametrize("name", [*sorted(NAMES - {"EXAI_STUB_LATENCY"}), "EXAI_WS_GLM_MAX_INFLIGHT"])
def test_the_daemon_refuses_the_same(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value is refused here if, and only if, the daemon's own reader refuses it."""
    empty = tmp_path / "empty.env"
    empty.touch()
    for text in TEXTS:
        monkeypatch.setenv(name, text)
        try:
            read_settings(empty)
        except SettingsError:
            assert broken_rule(name, text) is not None, text
        else:
            assert broken_rule(name, text) is None, text


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("EXAI_WS_GLM_MAX_INFLIGHT", "GLM"),
        ("EXAI_WS_GLOBL_MAX_INFLIGHT", "GLOBL"),
        ("EXAI_WS_GLOBAL_MAX_INFLIGHT", None),
        ("EXAI_WS_TOOL_MAX_INFLIGHT", None),
        ("EXAI_WS_PORT", None),
    ],
)
def test_caps_of_providers(name: str, provider: str | None) -> None:
    """What looks like the cap of a provider is one, unless a setting has that name."""
    assert provider_of(name) == provider
