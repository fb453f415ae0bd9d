"""The peer that a benchmark runs from a binary of the user's: what is refused, how it is started, waited for, measured.

kafka-delta-ingest itself is not here: the programs below stand for the ways in which its process can go.
"""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ad_lakehouse.errors import ConfigurationError
from benchmarks.kafka_delta_ingest import TRANSFORMS, command, create_table, given_binary, land
from kafka_sinks.sources import load_sources

IMPRESSIONS = load_sources()["impressions"]
HELP = (
    "--kafka --consumer_group --app_id --auto_offset_reset --allowed_latency "
    "--max_messages_per_batch --min_bytes_per_file --transform"
)
# Appends 3 × 100 rows to the table that its command line names, a part of the work in a process of its own;
# before the last of them it writes down what it took by its own account
APPENDS = """
import os, pathlib, subprocess, sys, time
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

held = bytearray(b"1") * 300_000_000
burn = "import time\\nwhile time.process_time() < 1: pass"
subprocess.run([sys.executable, "-c", burn])
stays = 'import time; held = bytearray(b"1") * 200_000_000; time.sleep(600)'
subprocess.Popen([sys.executable, "-c", stays, sys.argv[3]])
for offset in range(0, 300, 100):
    rows = pa.table({"_offset": pa.array(range(offset, offset + 100), pa.int64()), "event_date": ["2026-01-01"] * 100})
    times = os.times()
    peak = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    pathlib.Path(sys.argv[3] + ".took").write_text(f"{sum(times[:4])} {int(peak) * 1024}")
    write_deltalake(sys.argv[3], rows, mode="append", schema_mode="merge")
    time.sleep(0.3)
time.sleep(600)
"""


def program(folder: Path, text: str, interpreter: str = "/bin/sh") -> str:
    path = folder / "program"
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(binary: str, folder: Path, *, rows: int = 300, patience: float = 60) -> object:
    return land(binary, f"{folder}/table", "broker:9092", "bench.0", IMPRESSIONS, rows, patience=patience)


def all_ended(folder: Path) -> bool:
    """Whether no process has this folder in its command line any more; waits for those that were told to end."""
    running = psutil.process_iter(["cmdline"])
    named = [each for each in running if any(str(folder) in word for word in each.info["cmdline"] or [])]
    return not psutil.wait_procs(named, timeout=5)[1]


def test_no_binary_given_is_no_peer() -> None:
    assert given_binary({}) is None
    assert given_binary({"KDI_BIN": ""}) is None


def test_a_binary_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    binary = program(tmp_path, f"echo '{HELP}'")
    assert given_binary({"KDI_BIN": binary}) == binary
    assert given_binary({"KDI_BIN": "program", "PATH": str(tmp_path)}) == binary


@pytest.mark.parametrize("what", ["nothing", "folder", "text"])
def test_what_is_no_executable_file_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("#!/bin/sh\n")
    with pytest.raises(ConfigurationError, match=rf"KDI_BIN=.*/{what}: this is no executable file\. Give the path"):
        given_binary({"KDI_BIN": str(tmp_path / what)})


def test_a_binary_of_another_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
    path.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"Exec format error.*Give the path"):
        given_binary({"KDI_BIN": str(path)})


def test_a_binary_that_lacks_an_option_is_refused_by_its_name(tmp_path: Path) -> None:
    binary = program(tmp_path, f"echo '{HELP.replace('--auto_offset_reset ', '')}'")
    with pytest.raises(ConfigurationError, match=r"does not name --auto_offset_reset"):
        given_binary({"KDI_BIN": binary})


def test_the_benchmark_refuses_before_it_measures(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "benchmarks", "landing", "--peers"]
    done = subprocess.run(
        asked, env=os.environ | {"KDI_BIN": f"{tmp_path}/none"}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert f"KDI_BIN={tmp_path}/none: this is no executable file." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_is_the_documented_one() -> None:
    assert command("/bin/kdi", "/lake/table", "broker:9092", "bench.0") == [
        "/bin/kdi", "ingest", "bench.0", "/lake/table",
        "--kafka", "broker:9092",
        "--consumer_group", "kdi.bench.0",
        "--app_id", "bench.0",
        "--auto_offset_reset", "earliest",
        "--allowed_latency", "1",
        "--max_messages_per_batch", "5000",
        "--min_bytes_per_file", "134217728",
        "--transform", "event_date: substr(epoch_micros_to_iso8601(event_ts), `0`, `10`)",
        "--transform", "_topic: kafka.topic",
        "--transform", "_partition: kafka.partition",
        "--transform", "_offset: kafka.offset",
        "--transform", "_timestamp: kafka.timestamp",
    ]  # fmt: skip


def test_its_table_has_the_columns_it_fills_and_no_feature_it_lacks(tmp_path: Path) -> None:
    create_table(str(tmp_path), IMPRESSIONS)
    table = DeltaTable(tmp_path)
    columns = pa.schema(table.schema().to_arrow())
    assert columns.names == [field.name for field in IMPRESSIONS.fields] + list(TRANSFORMS)
    assert table.metadata().partition_columns == ["event_date"]
    assert next(each.type for each in table.schema().fields if each.name == "event_date").type == "string"
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 2)


def test_it_is_stopped_at_the_last_row_and_measured_with_what_it_started(tmp_path: Path) -> None:
    binary = program(tmp_path, APPENDS, sys.executable)
    took = run(binary, tmp_path)
    assert took.rows == 300
    assert 1.6 < took.seconds < 60  # a second of work and two waits
    cpu, peak = map(float, Path(f"{tmp_path}/table.took").read_text().split())
    assert cpu > 1.0  # that of the process it has waited for is in it
    assert cpu - 0.1 < took.cpu_seconds < cpu + 2  # starting and ending Python costs, too
    assert took.peak_bytes == pytest.approx(peak + 200e6, abs=80e6)  # with the one that still runs
    assert all_ended(tmp_path)


def test_more_rows_than_published_are_seen(tmp_path: Path) -> None:
    binary = program(tmp_path, APPENDS, sys.executable)
    assert run(binary, tmp_path, rows=150).rows == 200


def test_one_that_ends_early_fails_with_its_last_words(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo 'no such topic' >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"program ended with 3 at 0 of 300 rows:\nno such topic"):
        run(binary, tmp_path)


def test_one_that_commits_nothing_is_stopped(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo waiting; sleep 600")
    with pytest.raises(RuntimeError, match=r"committed nothing for 1 s at 0 of 300 rows:\nwaiting"):
        run(binary, tmp_path, patience=1)
    assert all_ended(tmp_path)
