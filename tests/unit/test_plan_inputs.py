"""How a model's inputs are read from its compiled SQL."""

import pytest

from ad_lakehouse.dbt_delta.inputs import ModelError, code_hash, dependencies, input_name, parse_input_name
from ad_lakehouse.dbt_delta.plan import Dependency


@pytest.mark.parametrize(
    ("text", "dependency"),
    [
        ("silver.impressions[-30..0]", Dependency("silver.impressions", (30, 0))),
        ("silver.impressions[0..0]", Dependency("silver.impressions", (0, 0))),
        ("bronze.clicks[-1..1]", Dependency("bronze.clicks", (1, 1))),
        ("silver.campaigns[all]", Dependency("silver.campaigns", None)),
    ],
)
def test_name_of_an_input_is_read_back_as_it_was_written(text: str, dependency: Dependency) -> None:
    assert parse_input_name(text) == dependency
    assert input_name(dependency) == text


@pytest.mark.parametrize(
    "text", ["silver.x", "x[all]", "other.x[all]", "silver.x[-1]", "silver.x[..]", "silver.x[all] "]
)
def test_other_names_are_no_inputs(text: str) -> None:
    assert parse_input_name(text) is None


def test_inputs_are_found_in_ctes_joins_and_subqueries_but_not_in_text() -> None:
    sql = """
    -- from "silver.commented[all]"
    with a as (select * from "silver.a[-1..1]"), b as (select * from a)
    select *, '"silver.quoted[all]"' as text from b
    join "silver.c[all]" as c on c.k = b.k
    where b.k in (select k from "silver.d[0..0]") and exists (select 1 from "silver.a[all]")
    qualify row_number() over (partition by k order by k) = 1
    """
    assert {input_name(each) for each in dependencies(sql)} == {
        "silver.a[-1..1]", "silver.a[all]", "silver.c[all]", "silver.d[0..0]"
    }  # fmt: skip


@pytest.mark.parametrize("table", ['"memory"."silver"."clicks"', "silver.clicks", '"silver"."clicks"'])
def test_table_read_without_its_days_is_refused_with_the_way_to_write_it(table: str) -> None:
    with pytest.raises(ModelError, match=r"silver\.clicks.*lake_days\(ref\('clicks'\)"):
        dependencies(f"with x as (select 1) select * from x, {table}")


@pytest.mark.parametrize("call", ["read_parquet('x.parquet')", "read_csv('x.csv')", "delta_scan('x')"])
def test_files_read_past_the_lake_are_refused(call: str) -> None:
    with pytest.raises(ModelError, match="changes nobody sees"):
        dependencies(f"select * from {call}")


def test_generated_rows_are_no_input() -> None:
    assert dependencies("select * from range(3), unnest([1, 2])") == frozenset()


def test_sql_that_cannot_be_parsed_says_so() -> None:
    with pytest.raises(ModelError, match="cannot be parsed"):
        dependencies("select from where")


def test_hash_covers_sql_and_configuration() -> None:
    one = code_hash("select 1", {"partition_by": "event_date"})
    assert one == code_hash("select 1", {"partition_by": "event_date"})
    assert one != code_hash("select 2", {"partition_by": "event_date"})
    assert one != code_hash("select 1", {"partition_by": None})


def test_inputs_are_found_in_sparks_sql_too() -> None:
    sql = """
    -- from `silver.commented[all]`
    with a as (select * from `silver.a[-1..1]`), b as (select * from a)
    select *, 'from `silver.quoted[all]`' as text from b
    join `silver.c[all]` as c on c.k = b.k
    where b.k in (select k from `silver.d[0..0]`) and exists (select 1 from `silver.a[all]`)
    qualify row_number() over (partition by k order by k) = 1
    """
    assert {input_name(each) for each in dependencies(sql, "spark")} == {
        "silver.a[-1..1]", "silver.a[all]", "silver.c[all]", "silver.d[0..0]"
    }  # fmt: skip


@pytest.mark.parametrize("sql", ["select * from silver.a", "select * from parquet.`/files`", "select * from"])
def test_sparks_sql_that_hides_what_it_reads_is_refused(sql: str) -> None:
    with pytest.raises(ModelError):
        dependencies(sql, "spark")
