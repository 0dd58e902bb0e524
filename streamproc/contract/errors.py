"""The two kinds of error: the sender's is counted and passed over, the operator's stops the start."""

from __future__ import annotations


class EventError(ValueError):
    """A message is no event of the contract: count it, dead-letter it, go on.

    Attributes:
        reason: one of a small, fixed set of words; safe as the label of a metric.
        detail: one short phrase without any of the message's content.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class PolicyError(ValueError):
    """The policy cannot be used: refuse to start and say which key and why."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"policy: {key}: {reason}")
        self.key = key
        self.reason = reason
