"""A file by which a process says where it listens, for those who started it with port 0."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from reference_daemon.policy.errors import HarnessError


class ReadyFileError(HarnessError):
    """The file cannot be written."""


def write_ready_file(path: Path, facts: Mapping[str, object]) -> None:
    """Write `facts` and this process's pid as JSON, as a whole, so that nobody reads half of it.

    Raises:
        ReadyFileError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(msgspec.json.encode({**facts, "pid": os.getpid()}))
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ReadyFileError(f"cannot write {path}: {error.strerror}") from error
