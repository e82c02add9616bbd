"""The version that a study was made with."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """Return the version of this package; "not installed" for a plain checkout."""
    try:
        return installed("exai-harness")
    except PackageNotFoundError:
        return "not installed"
