"""Builders of one table at once: one commits, the others plan again, nothing older comes back."""

from collections.abc import Iterator
from typing import Any

import pytest
from one_table import SAME_DAY, Builder, published, show, version
from small_lake import SmallLake

from ad_lakehouse.dbt_delta.engine import Draft, Overtaken
from ad_lakehouse.dbt_delta.store import AnotherBuildRuns, Build, Outcome


def test_of_two_builders_the_later_one_plans_again_and_finds_nothing_to_do(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)
    one, other = Builder(small), Builder(small)
    draft = one.build.stage()
    assert other.run().days_replaced == 1
    with pytest.raises(Overtaken):
        one.build.publish(draft)
    assert one.run().days_rebuilt == 0
    assert version(small) == 2


def test_of_two_first_builders_one_creates_the_table(small: SmallLake) -> None:
    one, other = Builder(small), Builder(small)
    draft = one.build.stage()
    other.run()
    with pytest.raises(Overtaken):
        one.build.publish(draft)
    assert one.run().version is None
    assert len(published(small)) == 3


def test_builder_that_began_earlier_does_not_put_the_older_result_back(small: SmallLake) -> None:
    Builder(small).run()
    early = Builder(small)
    show(small, 1)
    Builder(small).run()
    newer = published(small)
    assert early.run().days_rebuilt == 0
    assert published(small) == newer


class Slow(Build):
    """A builder that is overtaken each time between its plan and its commit."""

    def __init__(self, *given: Any, rival: Iterator[Any]) -> None:
        super().__init__(*given)
        self.rival = rival

    def publish(self, draft: Draft) -> Outcome:
        next(self.rival)
        return super().publish(draft)


def test_builder_overtaken_three_times_gives_up_and_names_the_reason(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)

    def rivals() -> Iterator[Any]:
        for number in range(9):  # each time another code, so that there is something to do again
            yield Builder(small, f"{SAME_DAY} where user_id <> '{number}'").run()

    slow = Builder(small)
    build = Slow(slow.build.model, slow.pins, slow.build.staging, slow.request, rival=rivals())
    with pytest.raises(AnotherBuildRuns, match=r"silver\.impressions: other builds committed first, 3 times"):
        build.run()
