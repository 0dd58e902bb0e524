"""What campaigns remembers from round to round: campaigns with their hits, and what is in force for whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamproc.contract.decisions import Action, Family, Reason, State
from streamproc.core.arrays import Ints, Keys, Rows


@dataclass(frozen=True, slots=True)
class Hit:
    """A community that scored above its threshold in one round."""

    ts_ms: int
    members: Keys  # account keys, ascending
    core: Rows  # ids of its core components, ascending; valid while the view still holds them
    log10_lr: float


@dataclass(slots=True)
class Watch:
    """The kept values of a campaign's stable core, and the component of each as a number from 0."""

    values: Keys
    component: Ints
    until_ms: int


@dataclass(slots=True)
class Campaign:
    """One suspected campaign.  `hits` are the newest last; `members` the accounts held to be members now."""

    id: str
    first_seen_ms: int
    state: State = "suspected"
    hits: list[Hit] = field(default_factory=list)
    confirmed_ms: int | None = None
    members: dict[int, float] = field(default_factory=dict)  # account key -> P(member), in order of key
    joined: set[int] = field(default_factory=set)  # accounts whose requests are counted; membership tests only
    mixed: bool = False
    limited: bool = False  # seen too little of who the members are: throttle at most
    watch: Watch | None = None
    exchanges: int = 0
    leaked: int = 0
    log10_lr: float = 0.0  # this and the next: of the newest hit, once confirmed of the clearest
    families: tuple[Family, ...] = ()
    evidence: tuple[Reason, ...] = ()
    blind: tuple[str, ...] = ()
    links: tuple[tuple[str, int], ...] = ()  # (template as 16 hex digits, members that hold it)
    capabilities: dict[str, float] = field(default_factory=dict)
    predecessor: str | None = None
    merged_into: str | None = None

    @property
    def last_hit_ms(self) -> int:
        """Event time of the newest hit."""
        return self.hits[-1].ts_ms


@dataclass(slots=True)
class Standing:
    """What is in force for one account."""

    name: str  # the account's id
    action: Action
    expires_ms: int
    campaign: str | None
    hits: int  # rounds in which its campaign was hit while it was a member
    score: float
    mixed: bool = False  # most of its traffic is somebody else's, which a throttle leaves it


@dataclass(slots=True)
class Memory:
    """Campaigns by id and standings by account key, both in the order in which they came to be.

    `exempt` and `cleared` hold the accounts and campaigns that an analyst said to be lawful, and from when on.
    """

    campaigns: dict[str, Campaign] = field(default_factory=dict)
    standings: dict[int, Standing] = field(default_factory=dict)
    exempt: dict[int, int] = field(default_factory=dict)
    cleared: dict[str, int] = field(default_factory=dict)
