"""Settings of a model run: whose stand before whose, and what is refused."""

from pathlib import Path

import pytest

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.errors import ConfigError
from simulator.model.settings import UnknownSettingError, caps_of, check_name, in_force, model_settings, pairs_of
from tests.simulator.small import a_scenario


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Return a file with two of our settings, an empty one, and one of somebody else."""
    path = tmp_path / "recommended.env"
    path.write_text(
        "EXAI_WS_GLOBAL_MAX_INFLIGHT=5\nEXAI_WS_SESSION_MAX_INFLIGHT=2\nEXAI_WS_CALL_TIMEOUT=\nPATH=/bin\n", "utf-8"
    )
    return path


class TestWhoseStand:
    def test_shipped_ones(self) -> None:
        """Where nobody says anything, the shipped settings are in force."""
        settings = model_settings(a_scenario())
        assert (settings.config, settings.client_timeout_s, settings.not_carried) == (PolicyConfig(), 180.0, ())

    def test_command_line_before_file_before_scenario(self, env_file: Path) -> None:
        """Each stands before the one behind it; what nobody else names stays the scenario's."""
        scenario = a_scenario(settings={"EXAI_WS_GLOBAL_MAX_INFLIGHT": 9, "EXAI_WS_GLM_MAX_INFLIGHT": 7})
        settings = model_settings(scenario, env_file=env_file, given={"EXAI_WS_SESSION_MAX_INFLIGHT": "1"})
        caps = settings.config.caps
        assert (caps.total, caps.session, caps.providers["GLM"]) == (5, 1, 7)
        assert settings.values == {
            "EXAI_WS_GLOBAL_MAX_INFLIGHT": "5",
            "EXAI_WS_GLM_MAX_INFLIGHT": "7",
            "EXAI_WS_SESSION_MAX_INFLIGHT": "1",
        }

    def test_cap_of_one_tool_leaves_the_others(self) -> None:
        """One tool's cap goes among those of the others."""
        settings = model_settings(a_scenario(), given={"EXAI_WS_TOOL_MAX_INFLIGHT[analyze]": "9"})
        assert settings.config.caps.tools == {"analyze": 9, "codereview": 3, "testgen": 4}

    def test_what_the_model_has_no_part_for_is_named(self) -> None:
        """An expert's heartbeat interval changes nothing in the model, and nobody should believe that it did."""
        settings = model_settings(a_scenario(settings={"EXPERT_HEARTBEAT_INTERVAL_SECS": 3}))
        assert settings.not_carried == ("setting EXPERT_HEARTBEAT_INTERVAL_SECS: the model has no part for it",)

    def test_heartbeats_come_as_often_as_they_are_set_to(self) -> None:
        """The history of a model run has the heartbeats that its settings say."""
        settings = model_settings(a_scenario(settings={"EXAI_WS_PROGRESS_INTERVAL_SECS": 2}))
        assert (settings.heartbeat_s, settings.not_carried) == (2.0, ())
        assert model_settings(a_scenario()).heartbeat_s == 5.0

    @pytest.mark.parametrize("source", ["scenario", "file", "command line"])
    def test_tools_that_are_not_coalesced(self, tmp_path: Path, source: str) -> None:
        """Wherever it is set, it is read, it is not named as left out, and the engine finds it in the scenario."""
        name, path = "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS", tmp_path / "some.env"
        path.write_text(f"{name}=chat\n" if source == "file" else "", "utf-8")
        scenario = a_scenario(settings={name: "chat"} if source == "scenario" else {})
        settings = model_settings(scenario, env_file=path, given={name: "chat"} if source == "command line" else {})
        assert (settings.uncoalesced, settings.not_carried) == (frozenset({"chat"}), ())
        assert in_force(scenario, settings).settings == {name: "chat"}

    def test_shipped_tools_are_not_coalesced(self) -> None:
        """Where nobody says anything, the daemon's own tools are meant."""
        settings = model_settings(a_scenario())
        assert settings.uncoalesced == {"kimi_chat_with_tools", "analyze", "codereview", "testgen"}
        assert in_force(a_scenario(), settings) == a_scenario()

    @pytest.mark.parametrize(
        ("given", "seconds"),
        [
            ({"EXAI_CLIENT_TIMEOUT": "90"}, 90.0),
            ({"EXAI_LONG_RUN": "true"}, 240.0),
            ({"EXAI_LONG_RUN": "true", "EXAI_CLIENT_TIMEOUT": "90"}, 90.0),
            ({"EXAI_LONG_RUN": "false"}, 180.0),
        ],
    )
    def test_patience_of_the_client(self, given: dict[str, str], seconds: float) -> None:
        """The client waits what it is set to; a long run longer, unless somebody says how long."""
        assert model_settings(a_scenario(), given=given).client_timeout_s == seconds


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("EXAI_WS_GLOBAL_MAX_INFLIHGT", "EXAI_WS_GLOBAL_MAX_INFLIGHT"),
            ("EXAI_WS_GML_MAX_INFLIGHT", "EXAI_WS_GLM_MAX_INFLIGHT"),
            ("EXAI_WS_TOOL_MAX_INFLIGHT[analyse]", "EXAI_WS_TOOL_MAX_INFLIGHT[analyze]"),
            ("expert_analysis_timeout_secs", "EXPERT_ANALYSIS_TIMEOUT_SECS"),
        ],
    )
    def test_misspelt_name_names_the_nearest(self, name: str, meant: str) -> None:
        """A name that there is not is refused with the one that was probably meant."""
        with pytest.raises(UnknownSettingError) as caught:
            check_name(name, a_scenario(), "--set")
        assert caught.value.meant == meant
        assert caught.value.exit_code == 2

    def test_one_that_the_model_does_not_read(self) -> None:
        """Asked for by name, a setting that would change nothing is refused, not passed over."""
        with pytest.raises(UnknownSettingError, match="the model has no part"):
            check_name("EXPERT_HEARTBEAT_INTERVAL_SECS", a_scenario(), "--set")
        with pytest.raises(UnknownSettingError, match="changes no figure"):
            check_name("EXAI_WS_PROGRESS_INTERVAL_SECS", a_scenario(), "--set")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("EXAI_WS_GLOBAL_MAX_INFLIGHT", "0"),
            ("EXAI_WS_TOOL_MAX_INFLIGHT[analyze]", "0"),
            ("EXAI_WS_RETRY_AFTER", "sometimes"),
            ("EXAI_CLIENT_TIMEOUT", "-1"),
            ("EXAI_CLIENT_TIMEOUT", "soon"),
        ],
    )
    def test_bad_value_names_its_setting(self, name: str, value: str) -> None:
        """A value that breaks a rule is refused, by the setting's name."""
        with pytest.raises(ConfigError) as caught:
            model_settings(a_scenario(), given={name: value})
        assert (caught.value.setting, caught.value.value) == (
            name,
            value if name != "EXAI_WS_GLOBAL_MAX_INFLIGHT" else 0,
        )

    def test_misspelt_name_in_a_scenario_or_a_file(self, tmp_path: Path) -> None:
        """The place where it stands is named."""
        with pytest.raises(UnknownSettingError, match="scenario tiny"):
            model_settings(a_scenario(settings={"EXAI_WS_CAL_TIMEOUT": 3}))
        path = tmp_path / "bad.env"
        path.write_text("EXAI_WS_CAL_TIMEOUT=3\n", "utf-8")
        with pytest.raises(UnknownSettingError, match=r"bad\.env"):
            model_settings(a_scenario(), env_file=path)
        with pytest.raises(UnknownSettingError, match="no such file"):
            model_settings(a_scenario(), env_file=tmp_path / "absent.env")

    @pytest.mark.parametrize("text", ["EXAI_WS_CALL_TIMEOUT", "=3", "EXAI_WS_CALL_TIMEOUT="])
    def test_what_is_no_pair(self, text: str) -> None:
        """A setting of the command line is a name and a value."""
        with pytest.raises(UnknownSettingError, match="must be NAME=VALUE"):
            pairs_of([text], "--set")


def test_caps_are_named_as_refusals_name_them() -> None:
    """The scopes of a report are those of a 429."""
    assert caps_of(PolicyConfig()) == {
        "global": 16,
        "session": 8,
        "tool:analyze": 3,
        "tool:codereview": 3,
        "tool:testgen": 4,
        "provider:GLM": 4,
        "provider:KIMI": 6,
    }
