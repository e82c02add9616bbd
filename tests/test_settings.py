"""Settings: where they come from, each rule with its message, and the two documents that list them."""

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from reference_daemon.addresses import is_loopback, is_loopback_url
from reference_daemon.policy.config import AdviceMode, PolicyConfig
from reference_daemon.settings import (
    LONG_RUN_CLIENT_TIMEOUT_S,
    Settings,
    SettingsError,
    load_settings,
    url_of,
)

ROOT = Path(__file__).resolve().parent.parent
PROVIDER_CAPS = "EXAI_WS_<PROVIDER>_MAX_INFLIGHT"
NAMES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without settings, and a working directory without `.env`."""
    for name in list(os.environ):
        if name.startswith(("EXAI_", "GLM_", "KIMI_", "LOG_", "ENV_FILE", "WORKFLOW_", "EXPERT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """Return the lines with which an environment is refused."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.exit_code == 2
    return str(refused.value).splitlines()


class TestSources:
    def test_defaults_are_the_policys_own(self) -> None:
        """What nobody sets is what the policy says: there is no second copy that could differ."""
        assert load_settings().policy() == PolicyConfig()

    def test_environment_comes_first(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment wins over the file, the file over the default."""
        (bare / ".env").write_text("EXAI_WS_PORT=1111\nEXAI_WS_CALL_TIMEOUT=170\n")
        monkeypatch.setenv("EXAI_WS_PORT", "2222")
        settings = load_settings()
        assert (settings.port, settings.call_timeout_s, settings.session_max_inflight) == (2222, 170.0, 8)

    def test_env_file_names_another_file(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """ENV_FILE replaces `.env`; a file that the caller names replaces both."""
        (bare / ".env").write_text("EXAI_WS_PORT=1111\n")
        (bare / "other.env").write_text("EXAI_WS_SESSION_MAX_INFLIGHT=3\n")
        (bare / "third.env").write_text("EXAI_WS_PORT=3333\n")
        monkeypatch.setenv("ENV_FILE", "other.env")
        assert (load_settings().port, load_settings().session_max_inflight) == (8765, 3)
        assert load_settings(bare / "third.env").port == 3333

    def test_file_that_is_named_must_be_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A misspelt ENV_FILE is refused: to start with the defaults instead would surprise."""
        assert refusal(monkeypatch, ENV_FILE="no.env") == ["ENV_FILE = 'no.env': must name a file that exists"]

    def test_file_must_be_text(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that is no UTF-8 is refused in one line."""
        (bare / "bad.env").write_bytes(b"EXAI_WS_PORT=\xff")
        (line,) = refusal(monkeypatch, ENV_FILE="bad.env")
        assert line == "ENV_FILE = 'bad.env': must be a text file in UTF-8 that can be read"

    def test_empty_means_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """NAME= leaves the default, as in the shipped profile; an empty token is no token."""
        monkeypatch.setenv("EXAI_WS_TOKEN", "")
        monkeypatch.setenv("EXAI_WS_PORT", "")
        assert (load_settings().token, load_settings().port) == (None, 8765)

    def test_names_of_others_are_left_alone(self, bare: Path) -> None:
        """A file may hold what belongs to other programs."""
        (bare / ".env").write_text("OTHER_PROGRAM=1\nEXAI_OF_ANOTHER_MAKE=x\n")
        assert load_settings() == Settings(_env_file=None)

    def test_settings_never_change(self) -> None:
        """What was checked stays as it was checked."""
        with pytest.raises(ValueError, match="frozen"):
            load_settings().port = 1  # type: ignore[misc]


class TestProviderCaps:
    def test_any_provider_has_a_cap_by_its_name(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The name's pattern is enough: environment before file, and the rest of the defaults stays."""
        (bare / ".env").write_text("EXAI_WS_GLM_MAX_INFLIGHT=2\nEXAI_WS_LOCAL7_MAX_INFLIGHT=1\n")
        monkeypatch.setenv("EXAI_WS_GLM_MAX_INFLIGHT", "3")
        assert load_settings().policy().caps.providers == {"GLM": 3, "KIMI": 6, "LOCAL7": 1}

    def test_other_caps_are_no_providers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """GLOBAL, SESSION and TOOL have the same form, and their own meaning."""
        monkeypatch.setenv("EXAI_WS_GLOBAL_MAX_INFLIGHT", "12")
        monkeypatch.setenv("EXAI_WS_SESSION_MAX_INFLIGHT", "4")
        monkeypatch.setenv("EXAI_WS_TOOL_MAX_INFLIGHT", "analyze=1")
        caps = load_settings().policy().caps
        assert (caps.total, caps.session, caps.tools) == (12, 4, {"analyze": 1})
        assert set(caps.providers) == {"GLM", "KIMI"}

    @pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
    def test_bad_cap_names_its_variable(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """The message names the variable as the user wrote it, not our pattern."""
        (line,) = refusal(monkeypatch, EXAI_WS_GLM_MAX_INFLIGHT=value)
        assert line.startswith(f"EXAI_WS_GLM_MAX_INFLIGHT = '{value}': input should be")


class TestValues:
    def test_lists_and_caps_are_read_leniently(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Spaces and trailing commas change nothing."""
        monkeypatch.setenv("EXAI_WS_ALLOWED_ORIGINS", " http://a , http://b,")
        monkeypatch.setenv("EXAI_WS_TOOL_MAX_INFLIGHT", " analyze = 2 , chat=5,")
        settings = load_settings()
        assert settings.allowed_origins == ("http://a", "http://b")
        assert settings.tool_max_inflight == {"analyze": 2, "chat": 5}

    @pytest.mark.parametrize(
        ("text", "mode", "fixed_s"),
        [
            ("fixed:2.5", AdviceMode.FIXED, 2.5),
            ("residual", AdviceMode.RESIDUAL, 1.0),
            ("appointment", AdviceMode.APPOINTMENT, 1.0),
        ],
    )
    def test_retry_after_has_three_forms(
        self, monkeypatch: pytest.MonkeyPatch, text: str, mode: AdviceMode, fixed_s: float
    ) -> None:
        """A mode, and for `fixed` the seconds."""
        monkeypatch.setenv("EXAI_WS_RETRY_AFTER", text)
        advice = load_settings().policy().advice
        assert (advice.mode, advice.fixed_s) == (mode, fixed_s)

    def test_long_run_raises_the_clients_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EXAI_LONG_RUN means 240 s, unless the timeout is set itself."""
        monkeypatch.setenv("EXAI_LONG_RUN", "true")
        assert load_settings().client_timeout_s == LONG_RUN_CLIENT_TIMEOUT_S == 240.0
        monkeypatch.setenv("EXAI_CLIENT_TIMEOUT", "200")
        assert load_settings().client_timeout_s == 200.0

    def test_secrets_are_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Printing the settings prints no token and no key."""
        for name in ("EXAI_WS_TOKEN", "GLM_API_KEY", "KIMI_API_KEY"):
            monkeypatch.setenv(name, "s3cret-value")
        settings = load_settings()
        assert settings.token == SecretStr("s3cret-value")
        assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()}"


FINITE = ["0", "-1", "nan", "inf", "soon"]


class TestRefusals:
    @pytest.mark.parametrize("value", FINITE)
    @pytest.mark.parametrize(
        "name",
        [
            "EXAI_WS_CALL_TIMEOUT",
            "EXAI_SHIM_RPC_TIMEOUT",
            "EXAI_CLIENT_TIMEOUT",
            "WORKFLOW_STEP_TIMEOUT_SECS",
            "EXPERT_ANALYSIS_TIMEOUT_SECS",
            "EXPERT_HEARTBEAT_INTERVAL_SECS",
            "EXAI_WS_PROGRESS_INTERVAL_SECS",
            "EXAI_WS_DRAIN_GRACE_SECS",
            "EXAI_WS_INFLIGHT_TTL_SECS",
            "EXAI_WS_TTL_MULTIPLIER",
            "EXAI_WS_RESULT_TTL",
            "EXAI_WS_EXPECTED_CALL_SECS",
            "EXAI_WS_HELLO_TIMEOUT",
            "EXAI_WEB_BUDGET_SECS",
            "EXAI_WEB_CACHE_TTL_SECS",
        ],
    )
    def test_times_are_finite_and_above_zero(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        """The one line names variable, value and rule."""
        (line,) = refusal(monkeypatch, **{name: value})
        assert line.startswith(f"{name} = '{value}': input should be ")

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
    @pytest.mark.parametrize(
        "name",
        [
            "EXAI_WS_GLOBAL_MAX_INFLIGHT",
            "EXAI_WS_SESSION_MAX_INFLIGHT",
            "EXAI_WS_MAX_SESSIONS",
            "EXAI_WS_MAX_FRAME_BYTES",
            "EXAI_WS_MAX_ARGUMENTS_BYTES",
            "EXAI_WS_MAX_RESULT_BYTES",
            "EXAI_WS_RESULT_MAX_ENTRIES",
            "EXAI_WS_RESULT_MAX_BYTES",
            "EXAI_WS_MAX_TOMBSTONES",
            "EXAI_WEB_MAX_BYTES",
        ],
    )
    def test_counts_are_whole_and_at_least_one(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        """A cap of zero would refuse everything, a fraction means nothing."""
        (line,) = refusal(monkeypatch, **{name: value})
        assert line.startswith(f"{name} = '{value}': input should be ")

    @pytest.mark.parametrize(
        ("name", "value", "rule"),
        [
            ("EXAI_WS_PORT", "65536", "less than or equal to 65535"),
            ("EXAI_WS_PORT", "-1", "greater than or equal to 0"),
            ("EXAI_WS_RETRY_AFTER_QUANTILE", "1", "less than 1"),
            ("EXAI_WS_RETRY_AFTER_QUANTILE", "0", "greater than 0"),
            ("EXAI_WS_RETRY_AFTER_QUANTILE", "nan", "input should be"),
            ("EXAI_WS_RETRY_AFTER", "soon", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_RETRY_AFTER", "fixed", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_RETRY_AFTER", "fixed:0", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_RETRY_AFTER", "fixed:inf", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_RETRY_AFTER", "fixed:nan", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_RETRY_AFTER", "residual:3", "appointment, residual or fixed:SECONDS"),
            ("EXAI_WS_TOOL_MAX_INFLIGHT", "analyze", "'analyze' is not of the form tool=cap"),
            ("EXAI_WS_TOOL_MAX_INFLIGHT", "=3", "'=3' is not of the form tool=cap"),
            ("EXAI_LONG_RUN", "perhaps", "boolean"),
            ("EXAI_WEB_ALLOW_PRIVATE", "2", "boolean"),
            ("LOG_FORMAT", "xml", "'console' or 'json'"),
            ("LOG_LEVEL", "info", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
            ("EXAI_TIME_SCALE", "0", "greater than 0"),
            ("EXAI_TIME_SCALE", "1.1", "less than or equal to 1"),
            ("EXAI_TIME_SCALE", "nan", "input should be"),
            ("EXAI_STUB_LATENCY", "slow", "must be NAME:NUMBERS"),
            ("EXAI_STUB_LATENCY", "uniform:3", "uniform takes 2"),
        ],
    )
    def test_other_rules(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str) -> None:
        """Each value outside its rule is refused with variable, value and rule."""
        (line,) = refusal(monkeypatch, **{name: value})
        assert line.startswith(f"{name} = '{value}': ")
        assert rule in line

    def test_cap_of_a_tool_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of several caps in one variable the message names the one that is wrong."""
        lines = refusal(monkeypatch, EXAI_WS_TOOL_MAX_INFLIGHT="analyze=3,chat=0")
        assert lines == ["EXAI_WS_TOOL_MAX_INFLIGHT[chat] = '0': input should be greater than or equal to 1"]

    def test_all_problems_are_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who has three mistakes in a file starts the daemon once, not three times."""
        lines = refusal(
            monkeypatch, EXAI_WS_PORT="abc", EXAI_WS_CALL_TIMEOUT="-1", EXAI_WS_GLM_MAX_INFLIGHT="0", LOG_LEVEL="loud"
        )
        assert [line.split(" = ")[0] for line in lines] == [
            "EXAI_WS_PORT",
            "EXAI_WS_GLM_MAX_INFLIGHT",
            "EXAI_WS_CALL_TIMEOUT",
            "LOG_LEVEL",
        ]

    @pytest.mark.parametrize("name", ["EXAI_WS_PROGRESS_INTERVAL_SECS", "EXPERT_HEARTBEAT_INTERVAL_SECS"])
    def test_heartbeats_must_fit_into_a_call(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """An interval as long as the longest call would mean no heartbeat, ever."""
        (line,) = refusal(monkeypatch, **{name: "20", "EXAI_WS_CALL_TIMEOUT": "20"})
        assert line == f"{name} = 20.0: must be below EXAI_WS_CALL_TIMEOUT (20 s)"
        monkeypatch.setenv(name, "19.9")
        load_settings()

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "daemon.example", "127.0.0.1.evil.example"])
    def test_address_for_others_needs_a_token(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        """Whoever can reach the daemon can spend the owner's money, so it must ask who they are."""
        (line,) = refusal(monkeypatch, EXAI_WS_HOST=host)
        assert line == f"EXAI_WS_HOST = '{host}': an address that is not loopback needs EXAI_WS_TOKEN"
        monkeypatch.setenv("EXAI_WS_TOKEN", "t")
        load_settings()


class TestAddresses:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
    def test_loopback(self, host: str) -> None:
        """These lead to this machine alone."""
        assert is_loopback(host)
        assert is_loopback_url(url_of(host, 8765))

    @pytest.mark.parametrize("host", ["", "0.0.0.0", "127.evil.example", "localhost.evil", "::", "10.0.0.1"])
    def test_not_loopback(self, host: str) -> None:
        """These may lead elsewhere, however much their names look like it."""
        assert not is_loopback(host)

    def test_url_of_an_ipv6_address_has_brackets(self) -> None:
        """Without brackets the port could not be told from the address."""
        assert url_of("::1", 8765) == "ws://[::1]:8765"
        assert load_settings().url == "ws://127.0.0.1:8765"


class TestShippedProfile:
    TEXT = (ROOT / ".env.example").read_text("utf-8")
    LINES = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", TEXT, flags=re.MULTILINE)

    def test_it_is_the_defaults(self, bare: Path) -> None:
        """Who copies the profile gets what everybody else gets."""
        assert load_settings(ROOT / ".env.example").model_dump(exclude={"provider_caps"}) == Settings(
            _env_file=None
        ).model_dump(exclude={"provider_caps"})
        assert load_settings(ROOT / ".env.example").policy() == PolicyConfig()

    def test_it_has_every_setting_once_and_nothing_else(self) -> None:
        """A setting that is added is added there, too."""
        caps = {"EXAI_WS_GLM_MAX_INFLIGHT", "EXAI_WS_KIMI_MAX_INFLIGHT"}
        names = [name for name, _ in self.LINES]
        assert sorted(names) == sorted({*NAMES, *caps} - {PROVIDER_CAPS})

    def test_what_stands_as_a_comment_is_the_default_too(self, bare: Path) -> None:
        """Taking the comment sign away changes nothing by itself."""
        (bare / "all.env").write_text("".join(f"{name}={value}\n" for name, value in self.LINES))
        assert load_settings(bare / "all.env").policy() == PolicyConfig()
        assert load_settings(bare / "all.env").client_timeout_s == 180.0

    def test_each_setting_has_its_reason(self) -> None:
        """Above each group of settings stands what they are for."""
        before = "\n"
        for line in self.TEXT.splitlines():
            if re.match(r"[A-Z]", line):
                assert before.startswith("#") or re.match(r"[A-Z]", before), line
            before = line

    @pytest.mark.parametrize(
        "line",
        [
            "EXAI_WS_CALL_TIMEOUT=180",
            "EXAI_SHIM_RPC_TIMEOUT=150",
            "WORKFLOW_STEP_TIMEOUT_SECS=120",
            "EXPERT_ANALYSIS_TIMEOUT_SECS=90",
            "EXPERT_HEARTBEAT_INTERVAL_SECS=5",
            "EXAI_WS_PROGRESS_INTERVAL_SECS=5.0",
            "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS=kimi_chat_with_tools,analyze,codereview,testgen",
            "EXAI_WS_GLOBAL_MAX_INFLIGHT=16",
            "EXAI_WS_SESSION_MAX_INFLIGHT=8",
            "EXAI_WS_GLM_MAX_INFLIGHT=4",
            "EXAI_WS_KIMI_MAX_INFLIGHT=6",
        ],
    )
    def test_it_has_the_values_of_the_strategy(self, line: str) -> None:
        """The profile that operators are told to use, word for word."""
        assert line in self.TEXT.splitlines()


DOCUMENT = (ROOT / "docs" / "settings.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", DOCUMENT, re.MULTILINE))


class TestDocument:
    def test_it_lists_every_setting_and_nothing_else(self) -> None:
        """Each setting has a row; a name that no longer exists has none."""
        assert sorted(ROWS) == sorted({*NAMES, "ENV_FILE"})

    @pytest.mark.parametrize("name", sorted(set(NAMES) - {PROVIDER_CAPS}))
    def test_its_defaults_are_the_real_ones(self, bare: Path, name: str) -> None:
        """The default of the row, set as a value, is the default."""
        shown = ROWS[name].strip().strip("`")
        value = "" if shown == "none" else shown
        (bare / "row.env").write_text(f"{name}={value}\n")
        assert load_settings(bare / "row.env") == Settings(_env_file=None)
