"""Family history: people come back to a prompt and talk on; work that is dealt out does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import (
    LAWFUL,
    SHARE_SMOOTHING,
    Statistic,
    percent_of_log,
    percent_of_rest_log,
)

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats
    from streamproc.core.campaigns.cores import Cores


def sittings(cores: Cores) -> Floats:
    """How few core requests do not open anew within 15 minutes of the account's previous request.

    Less the smoothed logarithm of their share.
    """
    return -sums.log(1 - sums.share_of_uses(cores, cores.use_turns >= 0, cores.use_sitting), SHARE_SMOOTHING)


def earlier_turns(cores: Cores) -> Floats:
    """Smoothed logarithm of the share of core requests with an earlier assistant turn."""
    return sums.log(sums.share_of_uses(cores, cores.use_turns >= 0, cores.use_turns > 0), SHARE_SMOOTHING)


HISTORY = (
    Statistic(
        "sittings", "history", -1, ("n_assistant",), sittings, percent_of_rest_log,
        "{observed} of the shared-template requests follow another within 15 minutes, as a "
        "person's tries do" + LAWFUL,
    ),
    Statistic(
        "earlier_turns", "history", -1, ("n_assistant",), earlier_turns, percent_of_log,
        "{observed} of the shared-template requests go on with a conversation" + LAWFUL,
    ),
)  # fmt: skip
