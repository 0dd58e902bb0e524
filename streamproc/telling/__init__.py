"""Events of the contract told to people: what a campaign is and why, what is in force for an account and why.

Pure: events and the time in, an account of them out, as data (`told`), as text and as one HTML page (`case`). `explain`
and the console tell by it, so that no two of them say different things.
"""

from __future__ import annotations

from streamproc.telling.accounts import AccountTold, tell_account
from streamproc.telling.campaigns import CampaignTold, tell_campaign
from streamproc.telling.case import Case

__all__ = ["AccountTold", "CampaignTold", "Case", "tell_account", "tell_campaign"]
