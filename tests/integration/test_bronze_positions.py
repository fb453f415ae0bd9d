"""What a bronze table is asked of its positions is what its open version holds, whoever committed meanwhile."""

import pytest

from ad_lakehouse.lake import Lake, TableName
from kafka_sinks.commit import BronzeTable, Commit, Delivery, WriteFailed
from kafka_sinks.sources import bronze_schema, load_sources

NAME = TableName("bronze", "impressions")
SCHEMA = bronze_schema(load_sources()["impressions"])


def land(table: BronzeTable, place: str, version: int) -> None:
    delivery = Delivery(place, version, 0, {"place": place})
    assert table.land(f"{place}-{version}", lambda _: Commit(SCHEMA.empty_table(), [delivery])) is not None


def test_positions_that_others_moved_are_seen_behind_a_commit_of_ones_own(lake: Lake) -> None:
    ours, theirs = BronzeTable(lake, NAME, SCHEMA), BronzeTable(lake, NAME, SCHEMA)
    land(ours, "a", 1)
    assert (ours.landed("a"), ours.landed("b"), theirs.landed("a")) == (1, None, None)
    land(theirs, "b", 7)  # does not meet ours: another place
    assert theirs.landed("b") == 7
    land(ours, "a", 2)
    assert ours.conflicts == 0
    assert (ours.landed("a"), ours.landed("b")) == (2, 7)
    land(ours, "a", 3)
    assert (ours.landed("a"), ours.landed("b"), BronzeTable(lake, NAME, SCHEMA).landed("a")) == (3, 7, 3)


def test_a_store_that_fails_behind_a_commit_is_told_as_that(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table = BronzeTable(lake, NAME, SCHEMA)
    look, failed = BronzeTable._newest_entry, []

    def once(self: BronzeTable) -> object:
        if self.version == 1 and not failed:
            failed.append(self.version)
            raise OSError("away")
        return look(self)

    monkeypatch.setattr(BronzeTable, "_newest_entry", once)
    with pytest.raises(WriteFailed, match="away"):
        land(table, "a", 1)
    assert failed == [1], "the commit is there, and its entry could not be looked at"
    land(table, "a", 2)
    assert (table.landed("a"), table.version) == (2, 2)


def test_a_position_that_another_moved_is_seen_after_the_conflict(lake: Lake) -> None:
    ours, theirs = BronzeTable(lake, NAME, SCHEMA), BronzeTable(lake, NAME, SCHEMA)
    assert ours.landed("a") is None
    land(theirs, "a", 5)
    seen = []

    def prepare(table: BronzeTable) -> Commit | None:
        seen.append(table.landed("a"))
        version = (seen[-1] or 0) + 1
        return Commit(SCHEMA.empty_table(), [Delivery("a", version, 0, {"place": "a"})])

    assert ours.land("x", prepare) is not None
    assert (seen, ours.conflicts, ours.landed("a")) == ([None, 5], 1, 6)
