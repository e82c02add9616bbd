"""`python tests/explore`: see `tests.explore.run`.

Tests are no package, and some library may ship a package of that name: so it is said here where `tests` is.
"""

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "tests" / "explore")]
tests = ModuleType("tests")
tests.__path__ = [str(ROOT / "tests")]
sys.modules["tests"] = tests

from tests.explore.run import main  # noqa: E402 - only now can it be found

if __name__ == "__main__":
    sys.exit(main())
