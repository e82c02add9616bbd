"""What the policy may import, of the standard library, too, which import-linter does not know by purpose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

POLICY = Path(__file__).resolve().parents[2] / "reference_daemon" / "policy"
# No clock, no chance, no I/O, no threads, no environment, no logging. Whatever is added here must have none.
ALLOWED = {
    "__future__",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "itertools",
    "math",
    "re",
    "types",
    "typing",
}
OWN = "reference_daemon.policy"


def imports_of(source: str) -> set[str]:
    """Return every module that a source text imports; relative ones count as the policy's own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "") if node.level == 0 else OWN)
    return found


def is_allowed(module: str) -> bool:
    """Return whether the policy may import a module."""
    return module in ALLOWED or module == OWN or module.startswith(f"{OWN}.")


@pytest.mark.parametrize("path", sorted(POLICY.rglob("*.py")), ids=lambda path: path.name)
def test_policy_imports_only_itself_and_pure_modules(path: Path) -> None:
    """A module of the policy imports the policy, and of the standard library only what is pure."""
    assert {module for module in imports_of(path.read_text("utf-8")) if not is_allowed(module)} == set()


@pytest.mark.parametrize("name", ["__import__", "open", "print", "input", "eval", "exec"])
def test_policy_calls_no_builtin_that_reaches_outside(name: str) -> None:
    """No module of the policy names a builtin that reads, writes or imports."""
    users = [
        path.name
        for path in sorted(POLICY.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name) and node.id == name
    ]
    assert users == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from random import Random",
        "def f():\n    import asyncio",
        "import simpy",
    ],
)
def test_rule_sees_every_form_of_import(source: str) -> None:
    """A forbidden import is seen at the top and inside a function, as `import` and as `from`."""
    assert not all(is_allowed(module) for module in imports_of(source))


@pytest.mark.parametrize("source", ["from .core import Core", "from reference_daemon.policy.core import Core"])
def test_policy_may_import_itself(source: str) -> None:
    """The policy's modules may import each other, by either name."""
    assert all(is_allowed(module) for module in imports_of(source))
