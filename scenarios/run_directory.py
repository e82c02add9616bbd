"""The directory of one run: a name of its own, and files that are whole or not there."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from reference_daemon.policy.errors import HarnessError


class RunDirectoryError(HarnessError):
    """The run directory, or a file in it, cannot be written.

    Attributes:
        path: What was to be written.
        reason: Why it was not: no space, no permission.
    """

    def __init__(self, path: Path, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """Name the file and the reason."""
        return f"cannot write {self.path}: {self.reason}"

    @classmethod
    def of(cls, path: Path, error: OSError) -> Self:
        """Make the error for a file that the system refused."""
        return cls(path, error.strerror or type(error).__name__)


class RunDirectory:
    """An existing directory `<UTC time>-<scenario>` with `logs/` in it; made by `create`.

    Attributes:
        path: The directory.
        logs: Where children and daemon write their logs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"

    @classmethod
    def create(cls, runs: Path, scenario: str, *, started_at: datetime) -> Self:
        """Make a new directory under `runs`; runs that start in the same second get a number behind the name.

        Raises:
            RunDirectoryError: It cannot be made.
        """
        name = f"{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{scenario}"
        path, number = runs / name, 1
        try:
            runs.mkdir(parents=True, exist_ok=True)
            while not _made(path):
                number += 1
                path = runs / f"{name}-{number}"
            directory = cls(path)
            directory.logs.mkdir()
        except OSError as error:
            raise RunDirectoryError.of(path, error) from error
        return directory

    @classmethod
    def named(cls, parent: Path, name: str) -> Self:
        """Make a new directory of exactly that name.

        Raises:
            RunDirectoryError: It cannot be made.
        """
        directory = cls(parent / name)
        try:
            directory.logs.mkdir(parents=True)
        except OSError as error:
            raise RunDirectoryError.of(directory.path, error) from error
        return directory

    def write(self, name: str, content: bytes) -> Path:
        """Write a file; who reads it sees all of it or nothing.

        Raises:
            RunDirectoryError: It cannot be written; no part of it is left.
        """
        path = self.path / name
        write_whole(path, content)
        return path

    def discard(self) -> None:
        """Take it away if nothing was written into it, since a run that was broken off has no result."""
        try:
            self.logs.rmdir()
            self.path.rmdir()
        except OSError:
            return  # something is in it: somebody may want to read that


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder if there is none; who reads it sees the old one or the whole new one.

    Raises:
        RunDirectoryError: It cannot be written; no part of it is left.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            part.write_bytes(content)
            os.replace(part, path)  # noqa: PTH105 - the name says that it replaces
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RunDirectoryError.of(path, error) from error


def _made(path: Path) -> bool:
    """Make a directory and return whether it is new: the only test that two runs cannot both pass."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
