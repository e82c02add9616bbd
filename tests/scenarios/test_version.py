"""Versions, as runs note them."""

from importlib.metadata import version as installed

from scenarios.version import version


def test_of_an_installed_distribution() -> None:
    """It is what its metadata say."""
    assert version("pytest") == installed("pytest")


def test_of_one_that_is_not_there() -> None:
    """A plain checkout has no metadata, and that is no failure."""
    assert version("no-such-distribution-at-all") == "not installed"
