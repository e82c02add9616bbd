"""What a drill's children may know of the user's own settings: nothing."""

import pytest

from chaos.topology import clean_environment


@pytest.mark.parametrize(
    "name",
    [
        "EXAI_WS_TOKEN",
        "GLM_API_KEY",
        "KIMI_API_URL",
        "WORKFLOW_STEP_TIMEOUT_SECS",
        "EXPERT_ANALYSIS_TIMEOUT_SECS",
        "ENV_FILE",
        "LOG_FORMAT",
        "HTTPS_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ],
)
def test_settings_and_proxies_of_the_user_stay_outside(name: str) -> None:
    """A drill never reads a real key, and never leaves the machine."""
    assert clean_environment({name: "mine", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["PATH", "PYTHONPATH", "HOME", "SYSTEMROOT", "LANG", "VIRTUAL_ENV", "TMPDIR"])
def test_what_a_program_needs_to_start_is_kept(name: str) -> None:
    """Without its path and its locale no child would start as this process did."""
    assert clean_environment({name: "x"}) == {name: "x"}
