"""Rules of the house: what holds for every file of the project, whatever it is about."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# A bracket around one letter keeps each pattern from finding itself.
HOSTS = r"pyp[i]\.|pythonhoste[d]\.|golan[g]\.org|npmj[s]\.|crate[s]\.io|mave[n]\.org"
MACHINE_PATHS = r"/wor[k]/|/tmp/la[b]|/roo[t]/|/hom[e]/[a-z]|[A-Z]:\\+User[s]"
LONGEST_CODE_FILE = 400  # lines; what is longer has two subjects
LONGEST_TEST_FILE = 600  # lines; tables of cases are longer than what they test
LONGEST_FUNCTION = 60  # lines, docstring included; aim for 40


def files(suffix: str = "") -> list[Path]:
    """Return the project's files, those not yet committed too."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("git knows which files belong to the project")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listing.stdout.split("\0") if name.endswith(suffix))
    return sorted(path for path in paths if path.is_file())


def text_of(path: Path) -> str:
    """Return a file's text; empty for one that holds none."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def relative(path: Path) -> str:
    """Return a path as git names it."""
    return path.relative_to(ROOT).as_posix()


def is_test(path: Path) -> bool:
    """Return whether a file belongs to the tests."""
    return relative(path).startswith("tests/")


class TestEveryFile:
    @pytest.mark.parametrize("pattern", [HOSTS, MACHINE_PATHS], ids=["hosts", "paths"])
    def test_names_no_package_index_and_no_machine(self, pattern: str) -> None:
        """Where packages come from and where the checkout lies is the machine's business: no file says it."""
        found = {
            relative(path): match[0] for path in files() if (match := re.search(pattern, text_of(path))) is not None
        }
        assert found == {}

    def test_python_files_are_short(self) -> None:
        """A file with more lines than the limit has two subjects."""
        lengths = {relative(path): len(text_of(path).splitlines()) for path in files(".py")}
        limits = {name: LONGEST_TEST_FILE if name.startswith("tests/") else LONGEST_CODE_FILE for name in lengths}
        assert {name: length for name, length in lengths.items() if length > limits[name]} == {}

    def test_functions_are_short(self) -> None:
        """Decide, act, describe: a function longer than a screen does more than one of them."""
        lengths = {
            f"{relative(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
            for path in files(".py")
            for node in ast.walk(ast.parse(text_of(path)))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}

    def test_every_test_states_its_rule(self) -> None:
        """Each test has a docstring: the rule that it holds up."""
        silent = [
            f"{relative(path)}:{node.name}"
            for path in files(".py")
            if is_test(path)
            for node in ast.walk(ast.parse(text_of(path)))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and ast.get_docstring(node) is None
        ]
        assert silent == []


class TestPins:
    PINS = (ROOT / "constraints.txt").read_text("utf-8")
    GO_PINS = (ROOT / "chaos" / "go_toolchain.txt").read_text("utf-8")

    @pytest.mark.parametrize("pins", [PINS, GO_PINS], ids=["constraints.txt", "go_toolchain.txt"])
    def test_each_pin_is_exact_and_has_hashes(self, pins: str) -> None:
        """Every requirement names one version and the hashes of its files."""
        blocks = re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", pins, flags=re.MULTILINE)
        loose = [block.split()[0] for block in blocks if "==" not in block or "--hash=sha256:" not in block]
        assert blocks
        assert loose == []

    @pytest.mark.parametrize("pins", [PINS, GO_PINS], ids=["constraints.txt", "go_toolchain.txt"])
    def test_pins_name_no_place(self, pins: str) -> None:
        """Pins hold no address, no path and no option that says where to look."""
        assert re.findall(r"://|^\s*-(?!-hash=)|^[^\s#]*/", pins, flags=re.MULTILINE) == []

    def test_each_section_of_the_pins_has_a_user(self) -> None:
        """The sections are what bootstrap.py installs: the build, the run, and each extra."""
        extras = set(PYPROJECT["project"]["optional-dependencies"])
        assert set(re.findall(r"^# \[(\w+)\]$", self.PINS, flags=re.MULTILINE)) == {"build", "run"} | extras

    def test_each_dependency_is_pinned(self) -> None:
        """What pyproject.toml asks for is in constraints.txt: `make pins` ran after the last change."""
        project = PYPROJECT["project"]
        asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
        pinned = set(re.findall(r"^([^\s#=]+)==", self.PINS, flags=re.MULTILINE))
        names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in asked}
        assert names - pinned == set()


class TestPackages:
    def test_each_package_is_shipped_checked_and_typed(self) -> None:
        """A package folder is in the wheel, under the import contracts, and marked as typed."""
        shipped = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
        contracted = set(PYPROJECT["tool"]["importlinter"]["root_packages"])
        assert set(PACKAGES) - shipped == set()
        assert set(PACKAGES) == contracted
        assert [name for name in PACKAGES if not (ROOT / name / "py.typed").exists()] == []


class TestDocuments:
    MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
    README = (ROOT / "README.md").read_text("utf-8")

    def test_readme_names_the_targets_that_exist(self) -> None:
        """Each `make` command of the README is a target, and each target with a help text is told there."""
        told = set(re.findall(r"(?:^|`)make ([a-z-]+)", self.README, flags=re.MULTILINE))
        targets = set(re.findall(r"^([a-z-]+):.*## ", self.MAKEFILE, flags=re.MULTILINE))
        assert told - targets == set()
        assert targets - told <= {"help"}

    def test_changelog_has_a_place_for_what_comes(self) -> None:
        """The changelog opens with what is not released yet."""
        headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
        assert headings[0] == "[Unreleased]"

    @pytest.mark.skipif(sys.platform == "win32", reason="no executable bit there")
    def test_ci_script_can_be_started(self) -> None:
        """CI starts `.ci/run` as a program."""
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
