"""Paths and credits, worked out in plain Python: no SQL, no macro, no shared code.

Belongs here: the attribution models as one would explain them. Not here: what counts as a touch or a conversion
(events_by_hand.py), the comparison (test_models_attribution.py).
"""

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

from events_by_hand import Conversion, Row, Touch, World, conversions, touches

HALF_LIFE = 7
MODELS = ("last", "first", "linear", "position", "decay")


def path(conversion: Conversion, all_touches: Sequence[Touch]) -> list[Touch]:
    eligible = [
        each
        for each in all_touches
        if each.user == conversion.user and each.owner == conversion.owner
        and timedelta() <= conversion.ts - each.ts <= timedelta(each.days)
    ]  # fmt: skip
    return sorted(eligible, key=lambda each: (each.ts, each.id, each.kind))


def weights(model: str, conversion: Conversion, found: Sequence[Touch]) -> list[Fraction]:
    n = len(found)
    if model == "linear":
        return [Fraction(1)] * n
    if model == "decay":
        halves = [(conversion.ts - each.ts) / timedelta(HALF_LIFE) for each in found]
        return [Fraction(int(1e9 * 2.0**-each + 0.5)) for each in halves]
    if model == "position" and n > 2:
        return [Fraction(2, 5) if at in (0, n - 1) else Fraction(1, 5) / (n - 2) for at in range(n)]
    if model == "position":
        return [Fraction(1)] * n
    clicks = [at for at, each in enumerate(found) if each.kind == "click"]
    winner = 0 if model == "first" else (clicks[-1] if clicks else n - 1)
    return [Fraction(at == winner) for at in range(n)]


def shares(total: int, by: Sequence[Fraction], ids: Sequence[Any]) -> list[int]:
    """Largest remainder, ties by id."""
    exact = [total * each / sum(by) for each in by]
    floors = [int(each) for each in exact]
    order = sorted(range(len(by)), key=lambda at: (floors[at] - exact[at], ids[at]))
    for at in order[: total - sum(floors)]:
        floors[at] += 1
    return floors


def all_credits(landed: dict[str, list[Row]]) -> list[tuple[Any, ...]]:
    """Day, conversion, model, traffic, touch, kind, campaign, position, path length, credit, revenue, currency, day."""
    world = World(landed)
    all_touches = touches(world)
    rows: list[tuple[Any, ...]] = []
    for conversion in conversions(world):
        if not conversion.counted:
            continue
        gross = path(conversion, all_touches)
        for traffic, found in (("gross", gross), ("net", [each for each in gross if not each.bot])):
            for model in MODELS:
                rows += credited(conversion, model, traffic, found)
    return rows


def credited(conversion: Conversion, model: str, traffic: str, found: Sequence[Touch]) -> list[tuple[Any, ...]]:
    begin = (conversion.day, conversion.id, model, traffic)
    end = (conversion.currency, conversion.report_date)
    if not found:
        return [(*begin, None, None, None, None, None, 10**9, conversion.order_revenue, *end)]
    ids = [(each.id, each.kind, each.ts) for each in found]
    credit = shares(10**9, weights(model, conversion, found), ids)
    earning = [at for at, each in enumerate(credit) if each]
    sign = -1 if conversion.order_revenue < 0 else 1
    revenue = shares(
        abs(conversion.order_revenue), [Fraction(credit[at]) for at in earning], [ids[at] for at in earning]
    )
    return [
        (*begin, found[at].id, found[at].kind, found[at].campaign, at + 1, len(found), credit[at], sign * money, *end)
        for at, money in zip(earning, revenue, strict=True)
    ]
