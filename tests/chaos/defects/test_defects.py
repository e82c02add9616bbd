"""Every defect fits the code as it is, can be undone, and is asked for by its name."""

import re
import subprocess
import sys

import pytest

from chaos.defects import DEFECTS, UnknownDefectError, applied, find
from chaos.defects.defect import Change, Defect, original_of
from chaos.defects.run import main
from reference_daemon.token_guard import TokenGuard

NAMES = sorted(DEFECTS)


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_applies_and_is_undone(self, name: str) -> None:
        """While it is applied its targets are replaced; afterwards they are the very objects that stood there."""
        targets = [change._replace(value=None) for change in find(name).changes()]
        before = [original_of(target) for target in targets]
        with applied(name):
            assert all(original_of(target) is not was for target, was in zip(targets, before, strict=True))
        assert [original_of(target) for target in targets] == before

    def test_is_undone_after_an_error(self, name: str) -> None:
        """An error in the body passes, and the code is whole again."""
        targets = [change._replace(value=None) for change in find(name).changes()]
        before = [original_of(target) for target in targets]
        with pytest.raises(ZeroDivisionError), applied(name):
            raise ZeroDivisionError
        assert [original_of(target) for target in targets] == before

    def test_says_what_must_catch_it(self, name: str) -> None:
        """Its name fits a scenario's field, and its rules are invariants or expectations."""
        defect = DEFECTS[name]
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert name == defect.name
        for rule in (defect.rule, *defect.also):
            assert re.fullmatch(r"INV-\d\d|expectation:[a-z0-9_]+", rule)
        assert defect.rule not in defect.also


class TestFinding:
    def test_an_unknown_name_gets_the_nearest(self) -> None:
        """A slip of the pen is answered with the name that was meant, as wrong usage."""
        with pytest.raises(UnknownDefectError, match="did you mean duplicate-waits") as caught:
            find("duplicate-wait")
        assert caught.value.exit_code == 2

    def test_without_a_near_name_all_are_told(self) -> None:
        """Where nothing is near, the names that there are help."""
        with pytest.raises(UnknownDefectError, match="slot-kept-on-reject"):
            find("zzzz")

    def test_a_target_that_is_gone_is_named(self) -> None:
        """A defect that is older than the code says so, instead of changing nothing."""
        gone = Defect(
            name="gone",
            title="",
            rule="INV-01",
            stage="smoke",
            where="daemon",
            changes=lambda: (Change(TokenGuard, "gone", None),),
        )
        with pytest.raises(AttributeError, match="TokenGuard has no gone"):
            gone.apply()


class TestCommand:
    def test_needs_a_name_the_dashes_and_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Anything else is wrong usage."""
        assert main(["duplicate-waits", "daemon"]) == 2
        assert "usage" in capsys.readouterr().err

    def test_refuses_a_name_that_there_is_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An unknown defect is wrong usage; nothing runs."""
        assert main(["duplicate-wait", "--", "daemon"]) == 2
        assert "did you mean duplicate-waits?" in capsys.readouterr().err

    def test_runs_a_command_of_exai(self) -> None:
        """The rest is a command line of `exai`, and its exit status is the process's."""
        command = [sys.executable, "-m", "chaos.defects.run", "duplicate-waits", "--", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60.0)
        assert "with the defect duplicate-waits" in done.stderr
        assert done.returncode in {0, 70}  # 70: run from a folder, without being installed, there is no version
