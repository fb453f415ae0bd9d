"""kafka-delta-ingest of one JSON topic into a Delta table: a peer, run where `KDI_BIN` names its binary.

Belongs here: its table, its command line, running it until its table has every row, what it took. Not here: how to
build it (README.md).

It runs as its guide says: one worker, on a table made beforehand, the day and the origin as transforms. It rejects
nothing: without a table for dead letters, what cannot be read is left out.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

import duckdb
import psutil
import pyarrow as pa
from deltalake import DeltaTable

from ad_lakehouse.errors import ConfigurationError
from benchmarks.measure import Measured, used
from kafka_sinks.sources import LANDING_COLUMNS, Source

VARIABLE = "KDI_BIN"
HINT = f"kafka-delta-ingest was not run. {VARIABLE}=/path/to/kafka-delta-ingest before the command runs it, too."
REMEDY = f"Give the path of a kafka-delta-ingest binary, or unset {VARIABLE} to leave this peer out."
DAY = "event_date"
ORIGIN = {name: f"kafka.{name[1:]}" for name in ("_topic", "_partition", "_offset", "_timestamp")}
TRANSFORMS = {DAY: "substr(epoch_micros_to_iso8601(event_ts), `0`, `10`)", **ORIGIN}
LATENCY = 1  # seconds; the rows after the last full file wait so long for their commit, and the figure includes it
BATCH_ROWS = 5_000  # its own default, as the next
FILE_BYTES = 128 << 20
POLL = 0.1  # seconds between two looks at the table: how exact its time is
PATIENCE = 60.0  # seconds without a commit


def given_binary(environment: Mapping[str, str]) -> str | None:
    """The binary that `KDI_BIN` names, a path or a name on PATH; None when unset.

    Raises `ConfigurationError` when it cannot be run, or its help lacks an option that `command` gives.
    """
    named = environment.get(VARIABLE, "")
    if not named:
        return None
    found = shutil.which(named, path=environment.get("PATH"))
    if found is None:
        raise ConfigurationError(f"{VARIABLE}={named}: this is no executable file.", remedy=REMEDY)
    try:
        asked = subprocess.run([found, "ingest", "--help"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{VARIABLE}={named}: {error}.", remedy=REMEDY) from error
    known = set(re.findall(r"--\w+", asked.stdout))
    unknown = [word for word in command(found, "", "", "") if word.startswith("--") and word not in known]
    if unknown:
        raise ConfigurationError(f"{VARIABLE}={named}: its `ingest --help` does not name {unknown[0]}.", remedy=REMEDY)
    return found


def command(binary: str, table: str, bootstrap: str, topic: str) -> list[str]:
    """Its command line. Each transform has its own flag, which old and new versions understand alike."""
    words = [binary, "ingest", topic, table, "--kafka", bootstrap, "--consumer_group", f"kdi.{topic}"]
    words += ["--app_id", topic, "--auto_offset_reset", "earliest", "--allowed_latency", str(LATENCY)]
    words += ["--max_messages_per_batch", str(BATCH_ROWS), "--min_bytes_per_file", str(FILE_BYTES)]
    for column, taken_from in TRANSFORMS.items():
        words += ["--transform", f"{column}: {taken_from}"]
    return words


def create_table(table: str, source: Source) -> None:
    """Makes the empty table, which it does not do itself."""
    columns = [pa.field(field.name, field.type) for field in source.fields]
    columns.append(pa.field(DAY, pa.string()))  # it can partition by texts and integers only, not by dates
    columns += [field for field in LANDING_COLUMNS if field.name in ORIGIN]
    DeltaTable.create(table, schema=pa.schema(columns), partition_by=[DAY])


def land(
    binary: str, table: str, bootstrap: str, topic: str, source: Source, rows: int, *, patience: float = PATIENCE
) -> Measured:
    """Lands the topic of so many records, from the start of its process to the commit of the last row.

    It never ends by itself, so it is stopped then. The rows are those its files really hold. Raises `RuntimeError`
    with its last words when it ends early, or commits nothing for `patience` seconds.
    """
    create_table(table, source)
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        running = subprocess.Popen(
            command(binary, table, bootstrap, topic),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            trouble = wait_for(running, DeltaTable(table), rows, patience)
            seconds = time.perf_counter() - start
            if trouble:
                raise RuntimeError(f"{binary} {trouble}:\n{last_words(log)}")
            cpu, peak = used(psutil.Process(running.pid))
        finally:
            stop(running)
    return Measured(seconds, cpu, peak, count(DeltaTable(table)))


def wait_for(running: subprocess.Popen[bytes], table: DeltaTable, rows: int, patience: float) -> str:
    """Waits until the log counts so many rows; returns what went wrong, or nothing."""
    version, deadline = table.version(), time.monotonic() + patience
    while True:
        code = running.poll()
        table.update_incremental()
        if table.version() != version:
            version, deadline = table.version(), time.monotonic() + patience
        if code is not None:
            return f"ended with {code} at {table.count():,} of {rows:,} rows"
        if table.count() >= rows:
            return ""
        if time.monotonic() > deadline:
            return f"committed nothing for {patience:g} s at {table.count():,} of {rows:,} rows"
        time.sleep(POLL)


def stop(running: subprocess.Popen[bytes]) -> None:
    """Ends it and what it started, if it is a script that starts the binary."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, end)
        with suppress(subprocess.TimeoutExpired):
            running.wait(10)
            return


def count(table: DeltaTable) -> int:
    """Rows in the table's files, by their own footers."""
    found = duckdb.execute("select count(*) from read_parquet($files)", {"files": table.file_uris()}).fetchone()
    assert found is not None
    return int(found[0])


def last_words(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-2000:].strip()
