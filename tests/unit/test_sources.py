"""Sources: the built-in ones, a user's own, and errors a user can act on."""

import re
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pytest

from ad_lakehouse.errors import ConfigurationError
from kafka_sinks.sources import bronze_schema, load_sources, sources_of_file


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_sources_are_the_tables_of_the_design() -> None:
    sources = load_sources()
    events = {name for name, source in sources.items() if not source.dimension}
    assert events == {"impressions", "clicks", "conversions", "bid_requests"}
    assert set(sources) - events == {"advertisers", "campaigns", "creatives", "sites", "fx_rates"}
    assert {source.topic for source in sources.values()} - {None} == {f"ad.{name}" for name in events}


def test_bronze_columns_are_the_schema_then_the_landing() -> None:
    schema = bronze_schema(load_sources()["impressions"])
    assert schema.names[:3] == ["event_id", "event_ts", "creative_id"]
    assert schema.names[schema.names.index("consent") + 1 :] == [
        *(
            "event_date",
            "_rescued",
            "_synthetic_id",
            "_topic",
            "_partition",
            "_offset",
            "_timestamp",
            "_key",
            "_headers",
        ),
        *("_file", "_row", "_landed_at", "_batch", "_reason", "_error", "_raw"),
    ]
    assert schema.field("event_ts").type == pa.timestamp("us", "UTC")
    assert bronze_schema(load_sources()["fx_rates"]).field("usd_per_unit").type == pa.decimal128(18, 9)


@pytest.mark.parametrize(
    ("file", "takers"),
    [
        ("a.jsonl", ["impressions"]),
        ("a.jsonl.gz", ["impressions"]),
        ("a.jsonl.zst", ["impressions"]),
        ("march.csv", ["clicks", "conversions"]),
        ("march.csv.zst", ["clicks", "conversions"]),
        ("dimensions/sites.csv.zst", ["sites"]),
        ("b.avro", ["bid_requests"]),
        ("dimensions/campaigns.csv", ["campaigns"]),
        ("dimensions/campaigns-2024.csv", ["campaigns"]),
        ("dimensions/other.csv", []),
        ("readme.txt", []),
    ],
)
def test_a_file_belongs_to_the_sources_that_name_it(file: str, takers: list[str]) -> None:
    assert [source.name for source in sources_of_file(load_sources(), PurePosixPath(file))] == takers


def test_an_override_keeps_the_fields_it_does_not_give(tmp_path: Path) -> None:
    write(tmp_path, "impressions", "topic: acme.views\nmapping:\n  creative_id: imp.creative.id\n")
    source = load_sources(tmp_path)["impressions"]
    assert (source.topic, source.wire, source.files) == ("acme.views", "json", ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst"))
    assert source.paths["creative_id"] == ("imp", "creative", "id")
    assert source.paths["user_id"] == ("user_id",)


def test_a_part_in_quotes_is_one_key() -> None:
    assert load_sources()["impressions"].path_of('a."b.c".d') == ("a", "b.c", "d")
    assert load_sources()["clicks"].path_of("a.b") == ("a.b",)


def test_an_unmapped_field_that_holds_mapped_ones_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "impressions", "mapping:\n  ip: device.ip\n")
    assert "device" not in load_sources(tmp_path)["impressions"].paths


def test_a_users_own_source_has_its_own_schema(tmp_path: Path) -> None:
    (tmp_path / "views.avsc").write_text(
        '{"type": "record", "name": "View", "fields": ['
        '{"name": "event_id", "type": ["null", "string"], "default": null},'
        '{"name": "event_ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},'
        '{"name": "watched", "type": "double"}]}',
        encoding="utf-8",
    )
    write(tmp_path, "video_views", "wire: json\ntopic: acme.video\nschema: views.avsc\n")
    source = load_sources(tmp_path)["video_views"]
    assert [field.name for field in source.fields] == ["event_id", "event_ts", "watched"]
    assert bronze_schema(source).field("watched").type == pa.float64()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("wire: json\nmapping:\n  creativ_id: x\n", 3, ["creativ_id", "creative_id"]),
        ("wire: xml\n", 1, ["wire", "xml", "json"]),
        ("\ntopics: a\n", 2, ["topics", "no such field", "topic"]),
        ("mapping:\n  ip: device\n  user_id: device.user\n", 2, ["mapping.ip", "object"]),
        ("header:\n  - [a, b, a]\n", 1, ["header", "twice"]),
        ("header:\n  - [a, b]\n  - [c, d]\n", 1, ["header", "same number"]),
        ("split:\n  by: kind\n  values: [a]\n", 2, ["split.by", "kind"]),
        ("schema: gone.avsc\n", 0, ["gone.avsc", "No such file"]),
        ("wire: [\n", 2, ["expected"]),
        ("- a\n", 1, ["not a mapping"]),
        ("name: Not A Table\nwire: json\n", 1, ["Not A Table", "lower case"]),
        ("name: mystery\nwire: json\n", 1, ["schema", "missing"]),
    ],
)
def test_an_error_names_file_line_field_and_remedy(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    path = write(tmp_path, "impressions", text)
    with pytest.raises(ConfigurationError) as caught:
        load_sources(tmp_path)
    said = str(caught.value)
    if line:
        assert re.search(rf"{re.escape(str(path))}:{line}\b", said), said
    for word in words:
        assert word in said
    assert caught.value.remedy


def test_two_sources_cannot_take_the_same_files_without_a_split(tmp_path: Path) -> None:
    write(tmp_path, "bid_requests", 'wire: json\nfiles: ["*.jsonl"]\n')
    with pytest.raises(ConfigurationError, match=r"impressions.*\*\.jsonl"):
        load_sources(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        load_sources(tmp_path / "gone")


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("a.jsonl", True),
        ("2026/11/27/a.jsonl", True),
        ("2026/11/27/a.csv", False),
        ("dimensions/sites.csv", False),
    ],
)
def test_two_stars_stand_for_any_number_of_folders(tmp_path: Path, path: str, taken: bool) -> None:
    write(tmp_path, "impressions", 'files: ["**/*.jsonl"]\n')
    assert load_sources(tmp_path)["impressions"].takes(PurePosixPath(path)) is taken
