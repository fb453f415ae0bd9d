"""The flow of docker/nifi on a real NiFi: dropped files go into the router's outbox, and from there to topics once.

Not here: what the router makes of files (integration/test_router.py).
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fastavro
import pytest
from avro_writers import BID_TYPES, bid, settings_with, writer
from nifi_stateless import NifiMissing, NifiStateless
from registry_server import RegistryServer
from router import World, places

from ad_lakehouse.demo.broker import KafkaBroker

FILES, ROWS = 80, 50
HEADER = "event_ts,user_id,campaign_id,conversion_type"


@pytest.fixture
def nifi(tmp_path: Path, unavailable: Callable[[str], None]) -> Iterator[NifiStateless]:
    try:
        made = NifiStateless(tmp_path)
    except NifiMissing as error:
        unavailable(str(error))
        return
    try:
        yield made
    finally:
        made.close()


def clicks(number: int, rows: int = ROWS) -> bytes:
    """A file of its own content."""
    lines = [f"2026-11-30T12:00:{row % 60:02}Z,u{number}-{row},c{number % 3},click" for row in range(rows)]
    return "\n".join([HEADER, *lines, ""]).encode()


def files(folder: Path) -> list[Path]:
    """Whole files: others have a hidden name."""
    return [each for each in folder.rglob("[!.]*") if each.is_file()]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wait(done: Callable[[], bool], nifi: NifiStateless, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, nifi.log.read_text()[-3_000:]
        time.sleep(0.005)


def test_dropped_files_reach_their_topics_once_though_nifi_is_killed(
    nifi: NifiStateless, kafka: KafkaBroker, registry: RegistryServer, tmp_path: Path
) -> None:
    dropped, archive, outbox = nifi.folders.values()
    contents = {f"clicks{number}.csv": clicks(number) for number in range(FILES)}
    contents |= {"partner/clicks0.csv": clicks(FILES), "again.csv": clicks(1)}  # a name and a content that were there
    contents |= {"partner/a;b %s $x é.csv": clicks(FILES + 1, 3), "empty.csv": b""}
    (dropped / "partner").mkdir()
    for name, content in contents.items():
        (dropped / name).write_bytes(content)
    (dropped / ".unfinished.csv").write_bytes(b"left")
    with (dropped / "bids.avro").open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(writer(BID_TYPES)), [bid(number) for number in range(ROWS)])
    contents["bids.avro"] = (dropped / "bids.avro").read_bytes()

    nifi.start()
    wait(lambda: bool(files(outbox)), nifi)
    nifi.kill()
    assert 0 < len(files(outbox)) < len(contents) - 1, "it was not killed while it worked"
    assert len(files(dropped)) == len(contents), "what is not done is where it was"

    nifi.start()
    wait(lambda: not files(dropped), nifi)
    nifi.kill()
    assert (dropped / ".unfinished.csv").exists()
    arrived = {each.name: sha(each.read_bytes()) for each in files(outbox)}
    different = {(sha(content), name.rpartition("/")[2]) for name, content in contents.items()}
    assert arrived == {f"{known[:16]}-{name}": known for known, name in different}
    kept = Counter(sha(each.read_bytes()) for each in files(archive))
    assert kept == Counter(map(sha, contents.values())), "each original is kept"

    world = World(kafka.bootstrap, outbox, "clicks", "conversions", "bid_requests")
    reports = world.route(settings_with(registry, world.settings()))
    assert {each.outcome for each in reports.values()} == {"routed", "already routed"}
    rows = {sha(each): each.count(b"\n") - 1 for each in contents.values() if each.startswith(HEADER.encode())}
    assert len(rows) == FILES + 2
    rows[sha(contents["bids.avro"])] = ROWS
    wanted = Counter((known, row) for known, count in rows.items() for row in range(count))
    assert places(world.seen("clicks", "conversions", "bid_requests")) == wanted


def test_what_cannot_be_put_into_the_outbox_stays_where_it_is(nifi: NifiStateless, tmp_path: Path) -> None:
    dropped, archive, outbox = nifi.folders.values()
    outbox.rmdir()
    outbox.write_text("no folder")
    (dropped / "clicks.csv").write_bytes(clicks(1))
    nifi.start()
    wait(lambda: nifi.log.read_text().count("PutFile") > 20 and "FileSystemException" in nifi.log.read_text(), nifi)
    assert (dropped / "clicks.csv").read_bytes() == clicks(1)
    assert not files(archive)

    outbox.unlink()
    outbox.mkdir()
    wait(lambda: not files(dropped), nifi)
    assert [each.read_bytes() for each in files(outbox)] == [clicks(1)]
