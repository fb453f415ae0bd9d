"""Delta's log on an S3-compatible store as Spark writes it: other writers' entries stay, its own are not put twice.

Belongs here: ad_lakehouse/dbt_spark/scala. Not here: who is let write a table (unit/test_writer.py), a lake there
(test_object_store.py).
"""

import http.client
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from s3_server import S3Server

SCRIPT = Path(__file__).parents[1] / "spark_appends.py"
EACH = 5  # rows of each Spark, each one a commit
HOP_BY_HOP = {"connection", "expect", "transfer-encoding"}


class LosesAnswers(ThreadingHTTPServer):
    """Hands each request on to the store; of every second log entry that was put, the answer is lost."""

    def __init__(self, store: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.lock, self.did = store, threading.Lock(), Counter[str]()
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def loses(self, request: str, status: int) -> bool:
        if not re.match(r"PUT \S+/_delta_log/\d+\.json ", request):
            return False
        with self.lock:
            self.did["refused" if status == http.client.PRECONDITION_FAILED else "put"] += 1
            lost = status == http.client.OK and self.did["put"] % 2 == 0
            self.did["lost"] += lost
            return lost


class Handler(BaseHTTPRequestHandler):
    server: LosesAnswers
    protocol_version = "HTTP/1.1"

    def handed_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        store = http.client.HTTPConnection("127.0.0.1", self.server.store.port)
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                store.putheader(name, value)  # the host too: it is signed
        store.endheaders(body)
        answer = store.getresponse()
        told = answer.read()
        store.close()
        if self.server.loses(self.requestline, answer.status):
            self.close_connection = True
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handed_on  # noqa: N815 named by the library

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def loses_answers(store: S3Server) -> Iterator[LosesAnswers]:
    with LosesAnswers(store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def spark_appends(store: S3Server, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts one; it waits for a line before its first commit."""
    started: list[subprocess.Popen[str]] = []

    def start(table: str, writer: str, **options: str) -> subprocess.Popen[str]:
        settings = {
            "AD_LAKEHOUSE_LAKE": table,
            "AD_LAKEHOUSE_STORAGE_OPTIONS": json.dumps(store.options() | options),
            "AD_LAKEHOUSE_SPARK__DRIVER_MEMORY": "1g",
        }
        command = [sys.executable, str(SCRIPT), table.replace("s3://", "s3a://"), writer, str(EACH)]
        with (tmp_path / f"{writer}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    command,
                    env=os.environ | settings,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.mark.usefixtures("spark")
def test_writers_of_two_engines_lose_and_double_no_commit(
    store: S3Server, loses_answers: LosesAnswers, spark_appends: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    table = f"s3://lake/{tmp_path.name}/shared"
    empty = pa.table({"writer": pa.array([], pa.string()), "number": pa.array([], pa.int64())})
    write_deltalake(table, empty, storage_options=store.options())
    sparks = {
        "near": spark_appends(table, "near"),
        "far": spark_appends(table, "far", AWS_ENDPOINT_URL=loses_answers.endpoint),
    }
    for each in sparks.values():
        assert each.stdout is not None
        assert each.stdout.readline() == "begun\n"
    for each in sparks.values():
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.close()
    number = 0
    while any(each.poll() is None for each in sparks.values()):
        row = pa.table({"writer": ["delta-rs"], "number": pa.array([number], pa.int64())})
        write_deltalake(table, row, mode="append", storage_options=store.options())
        number += 1
        time.sleep(1)  # the others, which take longer, want their turn
    acknowledged = {name: len(each.stdout.readlines()) for name, each in sparks.items() if each.stdout is not None}
    assert acknowledged == {"near": EACH, "far": EACH}, [(tmp_path / f"{name}.log").read_text() for name in sparks]

    landed = DeltaTable(table, storage_options=store.options())
    rows = Counter((row["writer"], row["number"]) for row in landed.to_pyarrow_table().to_pylist())
    expected = {(name, each) for name in sparks for each in range(EACH)} | {
        ("delta-rs", each) for each in range(number)
    }
    assert rows == dict.fromkeys(expected, 1)
    engines = [commit["engineInfo"].partition("/")[0] for commit in landed.history()]
    assert engines.count("Apache-Spark") == len(sparks) * EACH, "a commit was made again, as its answer was lost"
    assert sum(one != other for one, other in itertools.pairwise(engines)) > 5, "they did not meet"
    assert loses_answers.did["lost"] > 1, "no answer was lost"
    assert loses_answers.did["refused"] >= loses_answers.did["lost"], "nothing was asked again"
