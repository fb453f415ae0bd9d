"""Contract files: what is refused, and how the error says where."""

from pathlib import Path

import pytest

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.views import duckdb_type
from ad_lakehouse.quality.contracts import contract_path, contract_paths, declared_checks, load_contract
from kafka_sinks.sources import bronze_schema, load_sources

GOOD = """dataset: lake/silver/impressions
columns:
  - name: event_id
    checks:
      - missing:
          name: every impression has an id
          attributes: {blocking: true}
  - name: price_micros
    checks:
      - invalid:
          name: prices are sane
          valid_min: 0
          threshold: {level: warn, metric: percent, must_be_less_than: 1}
checks:
  - schema: {name: columns are as declared}
  - failed_rows:
      name: viewable needs a price
      qualifier: viewable_price
      expression: viewable and price_micros is null
"""


def write(folder: Path, text: str, table: str = "silver.impressions") -> Path:
    name = TableName.parse(table)
    path = folder / name.layer / f"{name.table}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_check_names_are_stable_and_hold_only_what_dagster_allows(tmp_path: Path) -> None:
    checks = declared_checks(write(tmp_path, GOOD))
    assert [(check.name, check.blocking, check.severity) for check in checks] == [
        ("soda__event_id__missing", True, "error"),
        ("soda__price_micros__invalid", False, "warn"),
        ("soda__schema", False, "error"),
        ("soda__failed_rows__viewable_price", False, "error"),
    ]
    assert checks[1].body.limit == "must be less than 1 %"
    assert checks[0].body.limit == "must be 0"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("- missing:", "- mising:", 5, "Did you mean missing?"),
        ("  - schema:", "  - freshnes:", 15, "Did you mean freshness?"),
        ("blocking: true", "blocknig: true", 7, "attributes.blocknig"),
        ("blocking: true", "blocking: maybe", 7, "'maybe'"),
        ("valid_min: 0", "valid_minimum: 0", 12, "valid_minimum"),
        ("valid_min: 0", "valid_min: zero", 12, "'zero'"),
        ("valid_min: 0", "filter: viewable", 10, "says what is valid"),
        ("must_be_less_than: 1", "must_be_les_than: 1", 13, "must_be_les_than"),
        ("must_be_less_than: 1", "must_be_less_than: 1, must_be: 3", 13, "one comparison"),
        ("level: warn", "level: warning", 13, "'warning'"),
        ("name: prices are sane", "qualifier: a-b", 10, "name"),
        ("expression: viewable and", "query: select * from silver.impressions where", 16, "{relation}"),
        ("attributes: {", "threshold: {level: warn}\n          attributes: {", 5, "blocking"),
        ("dataset: lake/silver/impressions", "dataset: lake/silver/clicks", 1, "lake/silver/impressions"),
        ("  - name: price_micros", "  - name: event_id", 8, "twice"),
        ("qualifier: viewable_price", "name: again", 18, "twice"),
        ("columns:\n", "columns\n", 3, "not YAML"),
        ("- schema: {name: columns are as declared}", "- schema", 15, "is not one check"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_field_value_and_remedy(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        load_contract(path)
    text = str(caught.value)
    assert said in text
    assert caught.value.remedy
    found = int(text.removeprefix(str(path)).split(":")[1])
    assert found == line, text


def test_two_checks_alike_need_a_qualifier(tmp_path: Path) -> None:
    twin = "      - missing: {name: event ids again}\n  - name: price_micros"
    with pytest.raises(ConfigurationError, match="qualifier"):
        load_contract(write(tmp_path, GOOD.replace("  - name: price_micros", twin)))


def test_a_users_own_contract_replaces_ours(tmp_path: Path) -> None:
    name = TableName.parse("bronze.impressions")
    ours = contract_path(name)
    own = write(tmp_path, GOOD.replace("lake/silver", "lake/bronze"), "bronze.impressions")
    assert ours is not None
    assert ours != own
    assert contract_path(name, tmp_path) == own
    assert contract_path(TableName.parse("bronze.clicks"), tmp_path) == contract_path(TableName.parse("bronze.clicks"))
    assert contract_path(TableName.parse("bronze.nothing"), tmp_path) is None
    assert contract_paths(tmp_path)[name] == own
    with pytest.raises(ConfigurationError, match="no such folder"):
        contract_paths(tmp_path / "absent")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert len(declared_checks(path)) == 4
    path.write_text(GOOD + "  - row_count: {name: there are rows}\n")
    assert len(declared_checks(path)) == 5


@pytest.mark.parametrize("name", [name for name in contract_paths() if name.layer == "bronze"], ids=str)
def test_bronze_contracts_have_the_columns_and_types_of_the_source_schema(name: TableName) -> None:
    landed = {field.name: duckdb_type(field.type) for field in bronze_schema(load_sources()[name.table])}
    same = {"timestamptz": "timestamp with time zone", "decimal(18,9)": "decimal"}
    declared = {column.name: column.data_type for column in load_contract(contract_paths()[name]).columns}
    unsaid = {"_key", "_headers", "_reason", "_error", "_raw"}  # of rejected rows, or too free to promise anything
    assert declared == {column: same.get(kind, kind) for column, kind in landed.items() if column not in unsaid}


def test_every_source_has_a_contract() -> None:
    assert {TableName("bronze", source) for source in load_sources()} <= set(contract_paths())


@pytest.mark.parametrize("path", contract_paths().values(), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_our_contracts_say_in_plain_words_what_each_check_promises(path: Path) -> None:
    checks = declared_checks(path)
    titles = [check.title for check in checks]
    assert len(titles) == len(set(titles)), "two checks with one name"
    assert all(check.kind != "row_count" for check in checks), "a quiet day is no error"
    assert [check.kind for check in checks if check.blocking].count("schema") == 1
