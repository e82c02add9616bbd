"""The findings by name, in the order of the document."""

from typing import Final

from simulator.findings import caps, drilled, retry_advice, retry_storm, ttl
from simulator.findings.experiment import Finding

FINDINGS: Final = {
    finding.name: finding
    for finding in (
        Finding(
            number=1,
            name="cancellations",
            claim="expert calls ended after 8 to 10 s: by clients that gave up, and by the daemon's own heartbeat",
            study=drilled.cancellations,
            real=True,
        ),
        Finding(
            number=2,
            name="duplicates",
            claim="parallel calls waited for one another as duplicates, and a 429 could poison its key",
            study=drilled.duplicates,
            real=True,
        ),
        Finding(
            number=4,
            name="retry-advice",
            claim="what retry_after says decides whether three attempts are enough",
            study=retry_advice.study,
        ),
        Finding(
            number=5,
            name="caps",
            claim="beyond what the provider allows, more cap only moves the queue into the provider",
            study=caps.study,
        ),
        Finding(
            number=6,
            name="ttl",
            claim="too short a TTL throws slow work away, too long a one keeps a retry behind a dead call",
            study=ttl.study,
        ),
        Finding(
            number=7,
            name="retry-storm",
            claim="what a storm costs depends on how the refused are told to come back",
            study=retry_storm.study,
        ),
    )
}
