"""Settings that no daemon may start with: it ends with exit status 2 and says which they are (INV-30, INV-38)."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from chaos.environment import clean_environment
from chaos.probes.case import MARKER, START_BOUND_S, Case, NotAskedError, Seen
from chaos.probes.target import Target

USAGE: Final = 2
"""Exit status of whoever was told nonsense."""

WITHIN_WALL_S: Final = 45.0
"""Wall seconds that a start may take on a busy machine, here only to be refused."""

ALONE: Final[Mapping[str, str]] = {
    "EXAI_WS_CALL_TIMEOUT": "nan",
    "WORKFLOW_STEP_TIMEOUT_SECS": "inf",
    "EXPERT_ANALYSIS_TIMEOUT_SECS": "-1",
    "EXAI_WS_RESULT_TTL": "0",
    "EXAI_WS_GLOBAL_MAX_INFLIGHT": "0",
    "EXAI_WS_SESSION_MAX_INFLIGHT": "-3",
    "EXAI_WS_TOOL_MAX_INFLIGHT": "analyze=0",
    "EXAI_WS_GLM_MAX_INFLIGHT": "0",
    "EXAI_WS_MAX_FRAME_BYTES": "0",
    "EXAI_WS_PORT": "70000",
    "EXAI_WS_RETRY_AFTER": "fixed:nan",
    "EXAI_WS_RETRY_AFTER_QUANTILE": "1",
    "EXAI_TIME_SCALE": "0",
    "EXAI_STUB_LATENCY": "uniform:5",
}
"""Values that are wrong whatever the others are; one start names them all."""

TOGETHER: Final[Mapping[str, str]] = {
    "EXPERT_HEARTBEAT_INTERVAL_SECS": "60",
    "EXAI_WS_PROGRESS_INTERVAL_SECS": "60",
}
"""Values that are wrong beside a call timeout of 60 s: a heartbeat that comes no earlier than the deadline."""

ELSEWHERE: Final = "192.0.2.1"
"""An address that others could reach, were it any machine's: it is kept for documentation, so that nothing binds it."""


def cases(target: Target) -> Iterator[Case]:
    """Give the questions; each is about one setting, and two starts answer all of them."""
    why_not = None if target.own_logs is not None else "a foreign daemon's settings are not ours to choose"
    alone = Start(ALONE)
    together = Start(
        {**TOGETHER, "EXAI_WS_CALL_TIMEOUT": "60", "EXAI_WS_HOST": ELSEWHERE, "GLM_API_KEY": f"{MARKER}-key"}
    )
    for start, wrong in ((alone, ALONE), (together, TOGETHER)):
        for name, value in wrong.items():
            ask = partial(_is_refused, start=start, name=name)
            yield Case("INV-30", f"setting {name}={value}", f"exit {USAGE}, naming it", ask, why_not, START_BOUND_S)
    ask = partial(_is_refused, start=together, name="EXAI_WS_HOST")
    expected = f"exit {USAGE}, naming it"
    yield Case("INV-38", "an address that others reach, without a token", expected, ask, why_not, START_BOUND_S)


@dataclass
class Start:
    """A start with wrong settings, tried once, for whoever asks first.

    Attributes:
        settings: The settings.
    """

    settings: Mapping[str, str]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _ended: tuple[int, str] | None = field(default=None, init=False)

    async def ended(self, target: Target) -> tuple[int, str]:
        """Return exit status and what was written.

        Raises:
            NotAskedError: It could not be started.
        """
        async with self._lock:
            if self._ended is None:
                self._ended = await self._try(target)
        return self._ended

    async def _try(self, target: Target) -> tuple[int, str]:
        defect = [target.defect] if target.defect else []
        module = ["-m", "chaos.defects.run", *defect, "--"] if defect else ["-m", "exai"]
        with tempfile.TemporaryDirectory(prefix="exai-start-") as scratch:
            empty = Path(scratch) / "empty.env"
            empty.touch()
            own = {"ENV_FILE": str(empty), "EXAI_LOG_DIR": scratch, "EXAI_WS_PORT": "0", "COLUMNS": "400"}
            environment = clean_environment(os.environ) | own | dict(self.settings)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, *module, "daemon"),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=environment,
                )
            except OSError as error:
                raise NotAskedError(f"a daemon could not be started: {error}") from error
            return await _end_of(process)


async def _end_of(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Wait for a process that should end by itself, and end it if it does not."""
    told = b""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_WALL_S):
                _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode if process.returncode is not None else -1, told.decode("utf-8", "replace")


async def _is_refused(target: Target, *, start: Start, name: str) -> Seen:
    status, told = await start.ended(target)
    named = any(name in line for line in told.splitlines())
    clean = "Traceback" not in told and MARKER not in told
    text = f"exit {status}, {'named' if named else 'not named'}{'' if clean else ', with what should not be told'}"
    return Seen(text, status == USAGE and named and clean)
