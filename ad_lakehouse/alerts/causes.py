"""Which alert explains which.

Belongs here: giving conditions their cause, and finding the topmost active cause. Not here: what follows from it
(machine.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ad_lakehouse.alerts.conditions import Condition, kind_of
from ad_lakehouse.alerts.state import AlertState, Policy

STALENESS = ("lag", "freshness", "pipeline")  # each explains the next one on the same asset


def fold_below(conditions: Iterable[Condition], upstream: Mapping[str, Iterable[str]]) -> list[Condition]:
    """Gives each staleness the one that explains it as parent: on the same asset, else on the nearest above.

    `upstream` maps an asset to the assets it is made from.
    """
    known = list(conditions)
    stale = {(each.asset, each.kind): each for each in known if each.kind in STALENESS}

    def cause(condition: Condition) -> str | None:
        own = STALENESS[: STALENESS.index(condition.kind)]
        for kind in own:
            if (condition.asset, kind) in stale:
                return stale[condition.asset, kind].key
        seen, layer = {condition.asset}, [condition.asset]
        while layer:
            layer = sorted({above for asset in layer for above in upstream.get(asset, ())} - seen)
            seen.update(layer)
            for asset in layer:
                for kind in STALENESS:
                    if (asset, kind) in stale:
                        return stale[asset, kind].key
        return None

    return [
        replace(each, parent=cause(each)) if each.kind in STALENESS and each.parent is None else each for each in known
    ]


@dataclass(frozen=True)
class Scene:
    """What one evaluation sees."""

    present: Mapping[str, Condition]
    states: Mapping[str, AlertState]
    scope: Collection[str] | None
    now: datetime
    policy: Policy

    def covers(self, key: str) -> bool:
        return self.scope is None or kind_of(key) in self.scope

    def active(self, key: str) -> bool:
        """Seen now; or told and not over; or, not looked at this time, as it was."""
        if key in self.present:
            return True
        state = self.states.get(key)
        if state is None or state.status == "closed":
            return False
        return not self.covers(key) or (state.status == "open" and not self.is_over(state))

    def is_over(self, state: AlertState) -> bool:
        """An open alert whose condition is gone, and for long enough."""
        limit = self.policy.flap_settle if is_flapping(state, self.policy) else self.policy.resolve_after
        return self.now - (state.absent_since or self.now) >= limit

    def parent(self, key: str) -> str | None:
        subject = self.present.get(key) or self.states.get(key)
        return subject.parent if subject else None

    def cause(self, key: str) -> str | None:
        """The topmost active one above `key`. Of parents in a circle the first by name is the top."""
        path = [key]
        above = self.parent(key)
        while above and self.active(above):
            if above in path:
                top = min(path[path.index(above) :])
                return None if top == key else top
            path.append(above)
            above = self.parent(above)
        return path[-1] if len(path) > 1 else None


def is_flapping(state: AlertState, policy: Policy) -> bool:
    """It opened too often within the window before its last opening."""
    return len(state.openings) >= policy.flap_count > 0
