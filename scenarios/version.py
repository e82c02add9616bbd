"""Versions, as runs and studies note them."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final

OURS: Final = "exai-harness"
"""This distribution's name."""


def version(distribution: str = OURS) -> str:
    """Return the version of a distribution; "not installed" for one that is not, as ours in a plain checkout."""
    try:
        return installed(distribution)
    except PackageNotFoundError:
        return "not installed"
