"""What the tests of the tools share."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from tests.server.fakes import Hands


@pytest.fixture
def hands() -> Hands:
    """Time, provider and web, moved by hand."""
    return Hands()


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
