"""A case: the account of an account, of its campaign, or of a campaign alone, as data, text and one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from streamproc.telling import page, text

if TYPE_CHECKING:
    from streamproc.contract.decisions import Campaign, Enforcement
    from streamproc.telling.accounts import AccountTold
    from streamproc.telling.campaigns import CampaignTold, Member

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is told of one subject, and the events that it is told from, oldest first."""

    subject: str
    account: AccountTold | None
    campaign: CampaignTold | None  # the subject, or the campaign that the account is held to belong to
    members: tuple[Member, ...]  # of the campaign, where it is the subject: an account's case names no other
    decisions: tuple[Enforcement, ...]  # of the account
    states: tuple[Campaign, ...]  # of the campaign
    source: str  # where the events came from, in words

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON: the events as they were, and what is told of them."""
        return {
            "subject": self.subject,
            "source": self.source,
            "decisions": msgspec.to_builtins(self.decisions),
            "campaign": msgspec.to_builtins(self.states),
            "told": {
                "account": msgspec.to_builtins(self.account),
                "campaign": msgspec.to_builtins(self.campaign),
                "members": msgspec.to_builtins(self.members),
            },
        }

    def text(self) -> str:
        """As an on-call engineer reads it in a terminal."""
        lines = text.account_lines(self.account) if self.account else []
        lines += text.campaign_lines(self.campaign) if self.campaign else []
        lines += text.member_lines(self.members)
        return "\n".join(lines)

    def html(self) -> str:
        """As one page that needs nothing else: no script, no picture, no address."""
        return page.render("case.html", live=False, case=self, account=self.account, campaign=self.campaign)
