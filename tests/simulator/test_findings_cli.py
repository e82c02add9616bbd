"""The command `exai findings`."""

import json
from pathlib import Path

import pytest

import exai
from simulator.findings.catalogue import FINDINGS


def test_without_a_name_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its number and its claim."""
    assert exai.main(["findings"]) == exai.ExitCode.HELD
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(FINDINGS)


def test_one_finding_prints_its_table_and_leaves_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document gets table and plots between its marks."""
    document = tmp_path / "mine.md"
    document.write_text("# Mine\n\n<!-- exai findings retry-storm -->\n<!-- end -->\n", "utf-8")
    options = ["--replications", "2", "--workers", "1", "--runs-dir", str(tmp_path / "runs")]
    assert exai.main(["findings", "retry-storm", *options, "--document", str(document)]) == exai.ExitCode.HELD
    assert "appointment, 3 attempts (shipped)" in capsys.readouterr().out
    text = document.read_text("utf-8")
    assert "![" in text
    assert (tmp_path / "mine" / "retry-storm-success.svg").read_bytes().startswith(b"<?xml")
    (directory,) = (tmp_path / "runs").iterdir()
    assert json.loads((directory / "summary.json").read_text("utf-8"))["kind"] == "finding"


def test_a_document_without_a_place_is_refused(tmp_path: Path) -> None:
    """Exit 2; the document stays as it was."""
    document = tmp_path / "mine.md"
    document.write_text("# Mine\n", "utf-8")
    options = ["--replications", "2", "--workers", "1", "--runs-dir", str(tmp_path / "runs")]
    assert exai.main(["findings", "retry-storm", *options, "--document", str(document)]) == exai.ExitCode.USAGE
    assert document.read_text("utf-8") == "# Mine\n"


@pytest.mark.parametrize("option", ["--replications", "--seed", "--workers"])
def test_a_drilled_finding_takes_no_option_that_would_do_nothing(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2: whoever asks for 20 seeds must not believe that there were some."""
    options = [option, "3", "--runs-dir", str(tmp_path / "runs")]
    assert exai.main(["findings", "duplicates", *options]) == exai.ExitCode.USAGE
    assert option in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_number_names_a_finding_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the list shows it: 2 is the finding about duplicates, which drills and takes no seed."""
    assert exai.main(["findings", "2", "--seed", "3", "--runs-dir", str(tmp_path / "runs")]) == exai.ExitCode.USAGE
    assert "duplicates drills the real daemon" in " ".join(capsys.readouterr().err.split())


def test_an_unknown_finding_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and the message names those that there are."""
    assert exai.main(["findings", "nonsense"]) == exai.ExitCode.USAGE
    assert "retry-storm" in capsys.readouterr().err
