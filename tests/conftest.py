"""What all tests share."""

import asyncio

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Leave no event loop lying about: asyncio's default one is made by whoever asks first, and closed by nobody."""
    asyncio.set_event_loop(None)
