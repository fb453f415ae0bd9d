"""Which campaign truly earned each conversion, by last touch, written a second time in plain Python.

Belongs here: the rules of attribution as the documentation states them, for the demo's ground truth. It must not use
anything of the product: it is what the product is compared with.

The rules. Records with one order id are one conversion, at the earliest of them; records of a refund or a cancellation
are none. In a campaign that counts `one`, an action of a user counts once per click window of that campaign, from the
counted one on. A touch is an impression or a click, at or before the conversion, of the same user, on a campaign of
the advertiser the conversion is booked for, within the window of the touch's own campaign. The last click earns the
conversion, else the last view, else it is organic. Net: touches by bots are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DAY = 86_400_000_000
DEFAULT_CLICK_DAYS, DEFAULT_VIEW_DAYS = 30, 1
UNDONE = ("refunded", "cancelled")


@dataclass(frozen=True)
class Terms:
    """A campaign's terms; None where the product's defaults hold."""

    advertiser: str
    click_days: int | None
    view_days: int | None
    counting: str | None

    def window(self, *, click: bool) -> int:
        """Microseconds for which a touch may earn credit."""
        days = self.click_days if click else self.view_days
        default = DEFAULT_CLICK_DAYS if click else DEFAULT_VIEW_DAYS
        return (default if days is None else days) * DAY


@dataclass(frozen=True)
class Touch:
    """An impression, or a click, of some user."""

    ts: int
    campaign: str
    click: bool
    bot: bool


@dataclass(frozen=True)
class Action:
    """One accepted, deduplicated record of a conversion. `order` is empty where there is none."""

    ts: int
    user: str
    campaign: str
    kind: str
    order: str
    status: str


def one_per_order(actions: Iterable[Action]) -> list[Action]:
    """Conversions in order of time: the earliest record of each order, no refunds, no cancellations."""
    orders: set[str] = set()
    kept = []
    for action in sorted(actions, key=lambda each: each.ts):
        if action.status in UNDONE or (action.order and action.order in orders):
            continue
        orders.add(action.order)
        kept.append(action)
    return kept


def counted(conversions: Sequence[Action], terms: Mapping[str, Terms]) -> list[Action]:
    """The conversions that count, where a campaign counts one per user, action and click window."""
    last: dict[tuple[str, str, str], int] = {}
    kept = []
    for action in sorted(conversions, key=lambda each: each.ts):
        campaign = terms[action.campaign]
        if campaign.counting == "one":
            key = (action.campaign, action.user, action.kind)
            if key in last and action.ts - last[key] < campaign.window(click=True):
                continue
            last[key] = action.ts
        kept.append(action)
    return kept


def earner(action: Action, touches: Iterable[Touch], terms: Mapping[str, Terms], *, net: bool) -> str | None:
    """The campaign of the touch that earned the conversion; None when it is organic. `touches`: those of the user."""
    advertiser = terms[action.campaign].advertiser
    eligible = [
        touch
        for touch in touches
        if terms[touch.campaign].advertiser == advertiser
        and not (net and touch.bot)
        and 0 <= action.ts - touch.ts <= terms[touch.campaign].window(click=touch.click)
    ]
    for pool in ([touch for touch in eligible if touch.click], eligible):
        if pool:
            return max(pool, key=lambda touch: touch.ts).campaign
    return None
