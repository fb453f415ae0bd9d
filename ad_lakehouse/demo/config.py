"""How large the demo's traffic is, when it ends, and from which seed it grows.

Belongs here: the generator's arguments. Not here: where anything is written (home.py), settings of the product.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ad_lakehouse.errors import ConfigurationError

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class GeneratorConfig:
    """The same values give the same bytes. `end` (aware) is the moment the traffic ends; the demo passes now."""

    end: datetime
    impressions: int = 300_000
    days: int = 14
    seed: int = 7

    def __post_init__(self) -> None:
        if self.end.tzinfo is None:
            raise ConfigurationError("The demo's end has no time zone.", remedy="Pass an aware datetime.")
        if self.impressions < 1_000 or not 2 <= self.days <= 60:
            raise ConfigurationError(
                f"The demo can't make {self.impressions} impressions over {self.days} days.",
                remedy="At least 1,000 impressions, 2 to 60 days.",
            )

    @property
    def start(self) -> datetime:
        """Midnight UTC of the first of `days` days, the last of them being that of `end`."""
        last = self.end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return last - timedelta(days=self.days - 1)

    @property
    def moved_at(self) -> datetime:
        """When one creative moves to another campaign."""
        return self.start + timedelta(days=self.days // 2, hours=9)

    @property
    def span(self) -> tuple[int, int]:
        """First microsecond since 1970, and the one after the last."""
        return micros(self.start), micros(self.end)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly (a float of seconds would round)."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
