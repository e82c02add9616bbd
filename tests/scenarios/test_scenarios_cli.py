"""The commands `exai scenarios list`, `check` and `schema`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import scenarios.load
from scenarios.cli import register
from scenarios.schema import schema

Run = Callable[..., object]

GOOD = """\
name: tiny
title: One call
time_scale: 0.05
providers: {GLM: {latency: {constant: {value: 45}}}}
load: [{phase: only, duration: 300, arrivals: {burst: {size: 1}}, mix: {analyze: 1}}]
expect: [{invariants: all}]
"""


@pytest.fixture
def run() -> Run:
    """Return a runner of `exai scenarios ...` that returns what the command returns."""

    def call(*arguments: object) -> object:
        umbrella = typer.Typer()
        register(umbrella)
        command = typer.main.get_command(umbrella)
        with command.make_context("exai", ["scenarios", *map(str, arguments)]) as context:
            return command.invoke(context)

    return call


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a good scenario file."""
    file = tmp_path / "01-tiny.yaml"
    file.write_text(GOOD, encoding="utf-8")
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Return a file with two mistakes."""
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("title", "titel").replace("value: 45", "value: -45"), encoding="utf-8")
    return file


class TestCheck:
    def test_good_file(self, run: Run, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A good file is named with its load and what that takes on the wall clock, and the status is 0."""
        assert run("check", good) == 0
        assert capsys.readouterr().out == f"{good}: good: One call (300 s of load, 15 s on the wall clock)\n"

    def test_every_mistake_of_every_file(
        self, run: Run, good: Path, bad: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """All files are checked, every mistake is a line on stdout, and the status is 2."""
        assert run("check", bad, good, bad.with_name("absent.yaml")) == 2
        first, second, third, fourth = capsys.readouterr().out.splitlines()
        assert first == f'{bad}:2: titel: unknown key (did you mean "title"?)'
        assert second.startswith(f"{bad}:4: providers.GLM.latency.constant.value: must be")
        assert third.startswith(f"{good}: good")
        assert fourth.startswith(f"{bad.with_name('absent.yaml')}: no such file")

    def test_shipped_name(
        self, run: Run, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The name of a shipped scenario stands for its file."""
        monkeypatch.setattr(scenarios.load, "_SHIPPED", good.parent)
        assert run("check", "tiny") == 0
        assert capsys.readouterr().out.startswith(f"{good}: good")


class TestList:
    def test_table(
        self, run: Run, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each shipped scenario has a row: name, seconds of load, seconds on the wall clock, title."""
        monkeypatch.setattr(scenarios.load, "_SHIPPED", good.parent)
        assert run("list") == 0
        assert capsys.readouterr().out.splitlines() == [
            "NAME     LOAD   WALL  TITLE",
            "01-tiny  300 s  15 s  One call",
        ]

    def test_broken_one(
        self, run: Run, good: Path, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A scenario with mistakes does not hide the others; its mistakes go to stderr, and the status is 2."""
        monkeypatch.setattr(scenarios.load, "_SHIPPED", good.parent)
        assert run("list") == 2
        output = capsys.readouterr()
        assert "01-tiny" in output.out
        assert f"{bad}:2: titel" in output.err


class TestSchema:
    def test_prints_the_schema(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        """The schema goes to stdout, ready for a file."""
        run("schema")
        assert json.loads(capsys.readouterr().out) == schema()
