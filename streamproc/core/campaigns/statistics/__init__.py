"""The statistics of a community, one file a family, and the registry that fixes their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.arrays import Floats, Ints
from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.behaviour import BEHAVIOUR
from streamproc.core.campaigns.statistics.content import CONTENT
from streamproc.core.campaigns.statistics.history import HISTORY
from streamproc.core.campaigns.statistics.identity import IDENTITY
from streamproc.core.campaigns.statistics.statistic import Statistic
from streamproc.core.campaigns.statistics.synchrony import SYNCHRONY
from streamproc.core.campaigns.statistics.template import TEMPLATE

if TYPE_CHECKING:
    from streamproc.contract.decisions import Family
    from streamproc.core.campaigns.cores import Cores

STATISTICS: tuple[Statistic, ...] = (*TEMPLATE, *SYNCHRONY, *HISTORY, *BEHAVIOUR, *IDENTITY, *CONTENT)
NAMES: tuple[str, ...] = tuple(s.name for s in STATISTICS)
FAMILIES: tuple[Family, ...] = ("template", "synchrony", "history", "identity", "behaviour", "content")
SIGNS: Floats = np.array([s.sign for s in STATISTICS], np.float64)

__all__ = ["FAMILIES", "NAMES", "SIGNS", "STATISTICS", "Measures", "Statistic", "measure"]


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured of each community of a view.

    `values` has shape (n, len(STATISTICS)), NaN where a statistic is blind or undefined; `sizes`, the
    members of each, has shape (n,).
    """

    values: Floats
    sizes: Ints

    def blind(self, community: int) -> tuple[str, ...]:
        """Names of the statistics that say nothing of a community."""
        return tuple(n for n, v in zip(NAMES, self.values[community], strict=True) if np.isnan(v))


def measure(cores: Cores) -> Measures:
    """Every statistic of every community."""
    values = np.empty((cores.n, len(STATISTICS)))
    for column, statistic in enumerate(STATISTICS):
        values[:, column] = statistic.compute(cores)
    return Measures(values, sums.sizes(cores))
