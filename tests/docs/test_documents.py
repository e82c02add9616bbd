"""What the documents name exists: links, settings, commands, and the lines of the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reference_daemon.settings import Settings
from tests.processes import ROOT

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
STRATEGY = (ROOT / "docs" / "architecture" / "ws_daemon" / "strategy.md").read_text("utf-8")
SETTING = r"\b(?:EXAI_(?:WS|SHIM|CLIENT|LONG|LOG|WEB|TIME|STUB)|GLM|KIMI|WORKFLOW|EXPERT)_[A-Z_]+[A-Z]\b"


def anchors(path: Path) -> set[str]:
    """Return the names under which the headings of a document can be linked to."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link is a file, and each of its anchors a heading."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_index_names_every_document() -> None:
    """docs/README.md leads to each document."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / name).resolve() for name in re.findall(r"\]\(([^)#]+)\)", index.read_text("utf-8"))}
    assert [path.name for path in DOCUMENTS if path != index and path not in linked] == []


@pytest.mark.parametrize("text", [OPERATIONS, STRATEGY], ids=["operations", "strategy"])
def test_settings_exist(text: str) -> None:
    """A setting that a document names can be set."""
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    caps = {"EXAI_WS_GLM_MAX_INFLIGHT", "EXAI_WS_KIMI_MAX_INFLIGHT"}
    errors = {"EXPERT_TIMEOUT"}  # a code of the protocol that looks like a setting
    assert set(re.findall(SETTING, text)) - known - caps - errors == set()


def test_log_lines_exist() -> None:
    """Each line of the table of log lines is written somewhere."""
    table = OPERATIONS[OPERATIONS.index("| line | level |") : OPERATIONS.index("## Rotate")]
    names = set(re.findall(r"`([a-z_]+)`", "\n".join(row.split("|")[1] for row in table.splitlines() if "|" in row)))
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "reference_daemon").rglob("*.py"))
    by_code = {"over_capacity", "draining", "duplicate", "key_reused"}  # the error's code, in small letters
    written = {name for name in names if f'"{name.upper() if name in by_code else name}"' in source}
    assert len(names) >= len(by_code)
    assert names - written == set()
