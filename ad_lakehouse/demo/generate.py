"""A whole demo in memory: what each source will deliver, the dimension files, and the truth about it.

Belongs here: putting traffic, delivery and truth together. Not here: any writing (publish.py).
"""

from dataclasses import dataclass

import numpy as np

from ad_lakehouse.demo.avro_bids import bid_records
from ad_lakehouse.demo.catalogue import dimension_files
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.delivery import Delivered, Stream, deliver
from ad_lakehouse.demo.traffic import Traffic, make_traffic
from ad_lakehouse.demo.troubles import BID_TROUBLES, CLICK_TROUBLES, CONVERSION_TROUBLES, IMPRESSION_TROUBLES
from ad_lakehouse.demo.truth import GroundTruth, ground_truth
from ad_lakehouse.demo.wire import click_rows, conversion_rows, impression_records


@dataclass(frozen=True)
class Generated:
    """The demo's events. `delivered` by source: impressions, clicks, conversions, bid_requests."""

    config: GeneratorConfig
    traffic: Traffic
    delivered: dict[str, Delivered]
    dimensions: dict[str, str]

    def streams(self, *, files_only: bool) -> dict[str, Stream]:
        """What is sent of each source; without a broker, records that no file can hold are not."""
        streams = {name: each.stream for name, each in self.delivered.items()}
        if files_only:
            streams = {name: each.chosen(np.flatnonzero(~each.topic_only)) for name, each in streams.items()}
        return streams

    def truth(self, *, files_only: bool = False) -> GroundTruth:
        config = {
            "seed": self.config.seed,
            "impressions": self.config.impressions,
            "days": self.config.days,
            "end": self.config.end.isoformat(),
            "files_only": files_only,
        }
        return ground_truth(self.traffic, self.delivered, self.streams(files_only=files_only), config)


def generate(config: GeneratorConfig) -> Generated:
    """The same config gives the same bytes."""
    traffic = make_traffic(config)
    rng = np.random.default_rng([config.seed, 2])
    end, people = config.span[1], traffic.people
    delivered = {
        "impressions": deliver(
            rng,
            end,
            people,
            traffic.impressions,
            impression_records,
            IMPRESSION_TROUBLES,
            bare={"viewable": -1, "price": -1, "auction": -1},
        ),
        "clicks": deliver(
            rng,
            end,
            people,
            traffic.clicks,
            click_rows,
            CLICK_TROUBLES,
            bare={"impression": -1, "price": -1, "creative": -1},
        ),
        "conversions": deliver(
            rng,
            end,
            people,
            traffic.conversions,
            conversion_rows,
            CONVERSION_TROUBLES,
            may_be_bare=traffic.conversions["order"] < 0,  # an order stays one conversion whatever its id
        ),
        "bid_requests": deliver(rng, end, people, traffic.bids, bid_records, BID_TROUBLES),
    }
    dimensions = dimension_files(config.start.date(), config.end.date(), config.moved_at)
    return Generated(config, traffic, delivered, dimensions)
