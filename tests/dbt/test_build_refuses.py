"""What a build refuses, with the thing, the place and the remedy; the table then stays as it was."""

from pathlib import Path

import pytest
from deltalake import DeltaTable
from one_table import COLUMNS, SHOWN, Builder, published, show, version
from small_lake import SmallLake

from ad_lakehouse.dbt_delta.audit import BlockedByCheck
from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Request
from ad_lakehouse.dbt_delta.pins import MissingInput
from ad_lakehouse.lake import TableName

CONTRACT = """
dataset: lake/silver/impressions
columns:
  - name: user_id
    checks:
      - missing: {name: every impression has a user, attributes: {blocking: true}}
"""


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("sum(1) over () as n", "column n has the type HUGEINT.*cast it to bigint"),
        ("timestamp '2026-01-01' as n", "column n has the type TIMESTAMP,.*timestamptz"),
        ("time '10:00' as n", "column n has the type TIME,"),
        ("null as n", 'column n has the type "NULL".*Give the column a type'),
        ("[cast(1 as hugeint)] as n", "column n has the type HUGEINT"),
        ("{'a': timestamp '2026-01-01'} as n", "column n has the type STRUCT"),
    ],
)
def test_type_that_delta_cannot_hold_is_refused_by_column_name(small: SmallLake, column: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Builder(small, f'select {COLUMNS}, {column} from "bronze.impressions[0..0]"').run()
    assert small.lake.open_if_exists(SHOWN) is None


def test_nested_columns_of_allowed_types_are_published(small: SmallLake) -> None:
    nested = "[{'a': 1, 'b': [event_ts]}] as n, map {'k': 1.5::decimal(18, 6)} as m"
    Builder(small, f'select {COLUMNS}, {nested} from "bronze.impressions[0..0]"').run()
    Builder(small, f'select {COLUMNS}, {nested} from "bronze.impressions[0..0]" ').run()
    assert len(published(small)) == 3
    assert version(small) == 1


@pytest.mark.parametrize(
    "sql", ["select event_id, user_id", "select event_id, cast(event_date as varchar) as event_date"]
)
def test_model_without_its_day_column_is_refused(small: SmallLake, sql: str) -> None:
    with pytest.raises(ModelError, match="partition_by names event_date"):
        Builder(small, f'{sql} from "bronze.impressions[0..0]"').run()


def test_rows_without_a_day_are_refused_in_a_full_and_in_an_incremental_build(small: SmallLake) -> None:
    sql = "select event_id, nullif(event_date, date '2026-07-05') as event_date from \"bronze.impressions[0..0]\""
    Builder(small, sql).run()
    show(small, 4)
    for request in (Request(), Request(full_refresh=True)):
        with pytest.raises(ModelError, match="1 rows have no event_date"):
            Builder(small, sql, request).run()
    assert version(small) == 1


def test_missing_table_is_named_with_the_way_to_make_it(small: SmallLake) -> None:
    with pytest.raises(MissingInput, match=r"bronze\.clicks is not in the lake .*ad-lakehouse land"):
        Builder(small, 'select * from "bronze.clicks[0..0]"').run()
    with pytest.raises(MissingInput, match=r"silver\.clicks is not in the lake .*dbt build --select \+clicks"):
        Builder(small, 'select * from "silver.clicks[0..0]"').run()


def test_table_that_cannot_be_read_fails_only_the_models_that_need_it(small: SmallLake) -> None:
    foreign = Path(small.lake.uri(TableName("bronze", "clicks")))
    DeltaTable.create(str(foreign), small.lake.open(TableName("bronze", "impressions")).schema())
    assert Builder(small).run().rows == 3
    with pytest.raises(MissingInput, match=r"bronze\.clicks cannot be read: .*not created by the ad lakehouse"):
        Builder(small, f'select {COLUMNS} from "bronze.clicks[0..0]"').run()


def test_days_of_a_table_without_days_are_refused(small: SmallLake) -> None:
    sql = 'select user_id, count(*) as shown from "bronze.impressions[all]" group by all'
    Builder(small, sql, partition_by="none").run()
    builder = Builder(small, 'select * from "silver.impressions[0..0]"')
    with pytest.raises(MissingInput, match=r"silver\.impressions has no day partition.*lake_all"):
        builder.run()


def test_failing_blocking_check_leaves_the_last_good_version(small: SmallLake, tmp_path: Path) -> None:
    (tmp_path / "contracts" / "silver").mkdir(parents=True)
    (tmp_path / "contracts" / "silver" / "impressions.yml").write_text(CONTRACT)
    request = Request(contracts=tmp_path / "contracts")
    Builder(small, request=request).run()
    good = published(small)
    show(small, 1, user=None)
    with pytest.raises(BlockedByCheck, match=r"every impression has a user.*Nothing was published"):
        Builder(small, request=request).run()
    assert (published(small), version(small)) == (good, 1)
    show(small, 2)
    with pytest.raises(BlockedByCheck):
        Builder(small, request=request).run()  # the bad day is still stale
