"""Names that were set and mean nothing are said, with the nearest name that means something."""

from pathlib import Path

import pytest

from reference_daemon.misspelt import misspelt
from reference_daemon.settings import Settings, SettingsError, read_settings

TOOLS, PROVIDERS = ("analyze", "codereview", "testgen"), ("GLM", "KIMI")


def found(path: Path, **settings: object) -> list[str]:
    """Return what is said."""
    return misspelt(path, Settings().model_copy(update=settings), tools=TOOLS, providers=PROVIDERS)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the tests no name of the person who runs them."""
    monkeypatch.setattr("os.environ", {"PATH": "/bin", "LOG_FORMATS": "not ours"})
    monkeypatch.chdir(tmp_path)


def test_names_that_mean_something_are_not_mentioned(tmp_path: Path) -> None:
    """Every setting, and the cap of a known provider, is known; what is not ours is nobody's business."""
    env = tmp_path / ".env"
    env.write_text("EXAI_WS_GLOBAL_MAX_INFLIGHT=4\nEXAI_WS_GLM_MAX_INFLIGHT=2\nOTHER=1\n", "utf-8")
    assert found(env) == []
    assert found(tmp_path / "missing") == []


def test_misspelt_setting_in_the_file(tmp_path: Path) -> None:
    """A name in the file that no setting has is said, with the nearest one."""
    env = tmp_path / ".env"
    env.write_text("EXAI_WS_PROT=99\n", "utf-8")
    assert found(env) == ["EXAI_WS_PROT: no such setting; did you mean EXAI_WS_PORT?"]


def test_misspelt_setting_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one in the environment."""
    monkeypatch.setattr("os.environ", {"EXAI_WS_GLOBAL_MAX_INFLITE": "1"})
    assert found(tmp_path / ".env") == [
        "EXAI_WS_GLOBAL_MAX_INFLITE: no such setting; did you mean EXAI_WS_GLOBAL_MAX_INFLIGHT?"
    ]


def test_cap_of_what_does_not_exist(tmp_path: Path) -> None:
    """A cap of a provider or of a tool that is not there caps nothing, and is said."""
    env = tmp_path / ".env"
    env.write_text("EXAI_WS_ANALYZE_MAX_INFLIGHT=1\n", "utf-8")
    assert found(env, tool_max_inflight={"analize": 1, "testgen": 4}) == [
        "EXAI_WS_ANALYZE_MAX_INFLIGHT: no provider ANALYZE",
        "EXAI_WS_TOOL_MAX_INFLIGHT: no tool analize; did you mean analyze?",
    ]


def test_line_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """A line of the file that is no NAME=value is refused, with its number: its value would be missing silently."""
    env = tmp_path / ".env"
    env.write_text("EXAI_WS_PORT=8766\n\nBAD LINE\n", "utf-8")
    with pytest.raises(SettingsError, match=r"\.env, line 3.*must be NAME=value"):
        read_settings(env)
