"""What a person sees who starts the daemon in a terminal: where it listens, who answers, how to try and to stop it."""

from collections.abc import Sequence

from reference_daemon.providers.completion import ProviderSettings
from reference_daemon.settings import Settings, url_of


def welcome(settings: Settings, port: int, providers: Sequence[ProviderSettings]) -> str:
    """Return the lines that greet a person.

    Args:
        settings: The daemon's settings.
        port: Where it listens, also if the settings say 0.
        providers: Who answers.
    """
    url = url_of(settings.host, port)
    usual = url_of(Settings.model_fields["host"].default, Settings.model_fields["port"].default)
    where = "" if url == usual else f" --url {url}"
    lines = [("The daemon listens on", url)]
    for each in providers:
        stub = f"a stub with made-up texts; set {each.name}_API_KEY for the real one"
        lines.append((f"  {each.name} is", stub if each.stub else each.base_url))
    if any(each.stub for each in providers):
        lines.append(("  stubs take", f"EXAI_STUB_LATENCY={settings.stub_latency} seconds"))
    if settings.time_scale != 1.0:
        faster = f"{1.0 / settings.time_scale:g} times as fast"
        lines.append(("  time runs", f"{faster}; set EXAI_TIME_SCALE for clients, too"))
    if settings.token is not None:
        lines.append(("  clients need", "the same EXAI_WS_TOKEN"))
    lines += [
        ("  try it", f"exai call version{where}"),
        ("", f"exai call analyze{where}"),
        ("  watch it", f"exai status{where}"),
        ("  stop it", "Ctrl-C; calls in flight end first"),
    ]
    return "\n".join(f"{label:22}{text}" for label, text in lines) + "\n"
