"""What must come out of the demo: counted while it is made, kept as JSON, compared with what the lake says.

Belongs here: the numbers and how they follow from events and their fates. Not here: the rules of attribution
(last_touch.py), printing. Nothing of the product is used: a truth computed by it would prove nothing.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ad_lakehouse.demo.catalogue import CAMPAIGNS
from ad_lakehouse.demo.delivery import CONFLICTING, DUPLICATE, EVENT, Delivered, Stream
from ad_lakehouse.demo.last_touch import UNDONE, Action, Terms, Touch, counted, earner, one_per_order
from ad_lakehouse.demo.traffic import CAMPAIGN_IDS, Table, Traffic, rows

TERMS = {
    each.id: Terms(each.advertiser, each.click_window_days, each.view_window_days, each.counting) for each in CAMPAIGNS
}


@dataclass(frozen=True)
class SourceTruth:
    """Records of one source. sent = unique + natural_duplicates + all rejected.

    `unique`: events after deduplication; `conflicting` of them share their id with another. `late`: unique events that
    came an hour to three days after they happened. `bots`: unique events with a bot's user agent. `unknown_fields`
    and `without_id`: unique events sent so.
    """

    sent: int
    unique: int
    natural_duplicates: int
    conflicting: int
    rejected: dict[str, int]
    late: int
    bots: int
    without_id: int
    unknown_fields: int

    @property
    def accepted(self) -> int:
        return self.unique + self.natural_duplicates


@dataclass
class CampaignTruth:
    """One campaign. `conversions` are those booked for it that count; `last` those it earned by last touch, with all
    touches, `last_net` without those of bots. `organic`: booked for it and earned by nobody.
    """

    impressions: int = 0
    impressions_net: int = 0
    viewable: int = 0
    clicks: int = 0
    clicks_net: int = 0
    conversions: int = 0
    last: int = 0
    last_net: int = 0
    organic: int = 0
    organic_net: int = 0


@dataclass(frozen=True)
class ConversionTruth:
    """What becomes of the unique records of conversions: records = counted + order_repeats + undone + not_counted.

    `undone`: records that refund or cancel an order. `not_counted`: conversions beyond one per user, action and
    window where a campaign counts `one`. `undone_orders`: counted orders that were refunded or cancelled later.
    """

    records: int
    order_repeats: int
    undone: int
    not_counted: int
    counted: int
    undone_orders: int
    organic: int
    organic_net: int


@dataclass(frozen=True)
class GroundTruth:
    """The numbers a demo must end in."""

    sources: dict[str, SourceTruth]
    campaigns: dict[str, CampaignTruth]
    conversions: ConversionTruth
    clicks_before_impression: int
    config: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> "GroundTruth":
        data = json.loads(path.read_text())
        return cls(
            {name: SourceTruth(**each) for name, each in data["sources"].items()},
            {name: CampaignTruth(**each) for name, each in data["campaigns"].items()},
            ConversionTruth(**data["conversions"]),
            data["clicks_before_impression"],
            data["config"],
        )


def source_truth(stream: Stream, table: Table, first_bot_agent: int) -> SourceTruth:
    """Counts the fates of what was sent."""
    fates = stream.fate_counts()
    accepted = (EVENT, DUPLICATE, CONFLICTING)
    return SourceTruth(
        sent=fates.total(),
        unique=fates[EVENT] + fates[CONFLICTING],
        natural_duplicates=fates[DUPLICATE],
        conflicting=fates[CONFLICTING],
        rejected={reason: count for reason, count in sorted(fates.items()) if reason not in accepted},
        late=int(table["late"].sum()),
        bots=int((table["agent"] >= first_bot_agent).sum()),
        without_id=int(table["no_id"].sum()),
        unknown_fields=int(table["unknown"].sum()),
    )


def ground_truth(
    traffic: Traffic, delivered: Mapping[str, Delivered], streams: Mapping[str, Stream], config: dict[str, Any]
) -> GroundTruth:
    """`streams`: what is really sent of each source; without a broker that is less than `delivered` has."""
    first_bot = traffic.people.first_bot_agent
    seen, clicked = delivered["impressions"].table, delivered["clicks"].table
    campaigns = {name: CampaignTruth() for name in CAMPAIGN_IDS}
    for campaign, viewable, agent in rows(seen, "campaign", "viewable", "agent"):
        each = campaigns[CAMPAIGN_IDS[campaign]]
        each.impressions += 1
        each.viewable += viewable == 1
        each.impressions_net += agent < first_bot
    for campaign, agent in rows(clicked, "campaign", "agent"):
        each = campaigns[CAMPAIGN_IDS[campaign]]
        each.clicks += 1
        each.clicks_net += agent < first_bot
    ids = traffic.people.ids
    actions = list(actions_of(delivered["conversions"].table, ids))
    users = {action.user for action in actions}
    touches: dict[str, list[Touch]] = defaultdict(list)
    for table, click in ((seen, False), (clicked, True)):
        for ts, user, campaign, agent in rows(table, "ts", "user", "campaign", "agent"):
            if ids[user] in users:
                touches[ids[user]].append(Touch(ts, CAMPAIGN_IDS[campaign], click, agent >= first_bot))
    return GroundTruth(
        sources={name: source_truth(streams[name], each.table, first_bot) for name, each in delivered.items()},
        campaigns=campaigns,
        conversions=attribute(actions, touches, campaigns),
        clicks_before_impression=clicks_before_impression(seen, clicked),
        config=config,
    )


def actions_of(table: Table, ids: list[str]) -> Iterator[Action]:
    for ts, user, campaign, kind, order, status in rows(table, "ts", "user", "campaign", "kind", "order", "status"):
        yield Action(ts, ids[user], CAMPAIGN_IDS[campaign], kind, str(order) if order >= 0 else "", status)


def attribute(
    actions: list[Action], touches: Mapping[str, list[Touch]], campaigns: dict[str, CampaignTruth]
) -> ConversionTruth:
    """Adds what each campaign earned to `campaigns`, and counts the conversions."""
    distinct = one_per_order(actions)
    conversions = counted(distinct, TERMS)
    organic: Counter[bool] = Counter()
    for action in conversions:
        booked = campaigns[action.campaign]
        booked.conversions += 1
        mine = touches.get(action.user, [])
        gross, net = (earner(action, mine, TERMS, net=each) for each in (False, True))
        if gross is None:
            booked.organic += 1
        else:
            campaigns[gross].last += 1
        if net is None:
            booked.organic_net += 1
        else:
            campaigns[net].last_net += 1
        organic.update({False: gross is None, True: net is None})
    undone = [action for action in actions if action.status in UNDONE]
    undone_orders = {action.order for action in undone}
    return ConversionTruth(
        records=len(actions),
        order_repeats=len(actions) - len(undone) - len(distinct),
        undone=len(undone),
        not_counted=len(distinct) - len(conversions),
        counted=len(conversions),
        undone_orders=sum(action.order in undone_orders for action in conversions if action.order),
        organic=organic[False],
        organic_net=organic[True],
    )


def clicks_before_impression(seen: Table, clicked: Table) -> int:
    """Clicks whose time is before that of the impression they name, where both were sent with their ids."""
    shown = {event: ts for event, ts, no_id in rows(seen, "id", "ts", "no_id") if not no_id}
    return sum(shown.get(impression, ts) > ts for impression, ts in rows(clicked, "impression", "ts"))
