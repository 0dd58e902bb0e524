"""Family content: what the gateway's classifier saw in the prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import LAWFUL, Statistic, percent

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats
    from streamproc.core.campaigns.cores import Cores


def elicitation(cores: Cores) -> Floats:
    """Share of core requests with any pattern of eliciting training data."""
    return sums.share_of_uses(cores, cores.use_elicits >= 0, cores.use_elicits > 0)


CONTENT = (
    Statistic(
        "elicitation", "content", 1, ("elicits",), elicitation, percent,
        "{observed} of the shared-template requests ask for reasoning traces, grades or "
        "other training data" + LAWFUL,
    ),
)  # fmt: skip
