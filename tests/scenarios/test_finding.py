"""Which file is meant by a name."""

from pathlib import Path

import pytest

import scenarios.load
from scenarios.load import ScenarioError, find_scenario, shipped
from tests.scenarios.files import GOOD


class TestFinding:
    @pytest.fixture(autouse=True)
    def _shipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ship two scenarios."""
        for name in ("04-chaos", "soak"):
            (tmp_path / f"{name}.yaml").write_text(GOOD, encoding="utf-8")
        monkeypatch.setattr(scenarios.load, "_SHIPPED", tmp_path)

    def test_names_in_order(self, tmp_path: Path) -> None:
        """A shipped scenario has its file's name."""
        assert shipped() == {"04-chaos": tmp_path / "04-chaos.yaml", "soak": tmp_path / "soak.yaml"}

    @pytest.mark.parametrize("name", ["04-chaos", "chaos"])
    def test_name_with_or_without_its_number(self, tmp_path: Path, name: str) -> None:
        """The number in front only sorts; a folder of the same name in the current one does not matter."""
        assert find_scenario(name) == tmp_path / "04-chaos.yaml"

    def test_path(self, tmp_path: Path) -> None:
        """Anything else is the path of a file."""
        assert find_scenario(str(tmp_path / "soak.yaml")) == tmp_path / "soak.yaml"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("caos", 'caos: no such file, and no shipped scenario of this name (did you mean "chaos"?)'),
            ("zzz", "zzz: no such file, and no shipped scenario of this name; shipped: 04-chaos, soak"),
        ],
    )
    def test_neither(self, name: str, message: str) -> None:
        """What is neither a file nor a name gets the nearest name, or all of them."""
        with pytest.raises(ScenarioError) as caught:
            find_scenario(name)
        assert str(caught.value) == message
