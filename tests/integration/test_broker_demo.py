"""The demo's own broker, and what is published to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from ad_lakehouse.demo.artefacts import KafkaUnavailable
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import Generated, generate
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.publish import OtherDemo, publish, published_before, truth_of, write_note
from ad_lakehouse.demo.topics import PARTITIONS, create_topics, delivering, records_on

OWNER = """
import sys, time
from pathlib import Path
from ad_lakehouse.demo.broker import KafkaBroker
broker = KafkaBroker(Path(sys.argv[1])).start()
print(broker.process.pid, flush=True)
time.sleep(600)
"""
LIVE = """
import sys
from ad_lakehouse.demo.live import live
from ad_lakehouse.settings import KafkaSettings, Settings
kafka = KafkaSettings(bootstrap_servers=sys.argv[1], schema_registry=sys.argv[2])
print("sent", live(Settings(kafka=kafka), 300, say=lambda text: print(text, flush=True)), flush=True)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], None]) -> Iterator[KafkaBroker]:
    """A broker of these tests' own: they use the demo's topic names, and kill it."""
    try:
        own = KafkaBroker(tmp_path_factory.mktemp("broker")).start()
    except KafkaUnavailable as error:
        unavailable(str(error))
        return
    yield own
    own.stop()


@pytest.fixture(scope="module")
def generated() -> Generated:
    end = datetime.now(UTC) - timedelta(minutes=1)
    return generate(GeneratorConfig(end, impressions=2_000, days=5))


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.05)


def messages(broker: KafkaBroker, topic: str) -> list[tuple[bytes | None, int]]:
    """Payload and timestamp (milliseconds) of every record."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "witness", "enable.partition.eof": True, "log_level": 0}
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = [], 0
    deadline = time.monotonic() + 30
    while ended < PARTITIONS:
        assert time.monotonic() < deadline
        for message in consumer.consume(1_000, 0.1):
            if message.error() is None:
                found.append((message.value(), message.timestamp()[1]))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
    consumer.close()
    return found


def test_records_survive_kill_and_restart_of_the_broker(broker: KafkaBroker) -> None:
    create_topics(broker.bootstrap)
    with delivering(broker.bootstrap) as sender:
        for number in range(300):
            sender.send("ad.clicks", b"%d" % number, b"user", 1_700_000_000_000)
    before = records_on(broker.bootstrap)
    assert before["ad.clicks"] == 300
    broker.kill()
    broker.start()
    assert records_on(broker.bootstrap) == before
    assert {payload for payload, _ in messages(broker, "ad.clicks")} == {b"%d" % number for number in range(300)}


def test_a_folder_keeps_its_topics_for_the_next_broker_on_another_port(tmp_path: Path, broker: KafkaBroker) -> None:
    with KafkaBroker(tmp_path) as first:
        create_topics(first.bootstrap)
        with delivering(first.bootstrap) as sender:
            sender.send("ad.clicks", b"kept", b"user", 1_700_000_000_000)
    with KafkaBroker(tmp_path) as second:
        assert second.bootstrap != first.bootstrap
        assert records_on(second.bootstrap)["ad.clicks"] == 1
    assert (tmp_path / "data").is_dir()


def test_the_broker_ends_when_its_python_is_killed(tmp_path: Path, broker: KafkaBroker) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    java = psutil.Process(pid)
    assert java.is_running()
    owner.kill()
    owner.wait(10)
    java.wait(10)
    assert not psutil.pid_exists(pid)


def test_a_broker_that_cannot_start_says_so_in_one_line(tmp_path: Path, broker: KafkaBroker) -> None:
    wrong = KafkaBroker(tmp_path, config={"process.roles": "nonsense"})
    with pytest.raises(KafkaUnavailable) as caught:
        wrong.start()
    assert "\n" not in str(caught.value)
    assert "nonsense" in str(caught.value)


def test_topics_hold_what_the_truth_says_under_the_times_of_the_events(
    generated: Generated, broker: KafkaBroker, tmp_path: Path
) -> None:
    home = DemoHome(tmp_path)
    published = publish(generated, broker.bootstrap, home)
    stream = generated.delivered["impressions"].stream
    expected = Counter(zip(stream.payloads, (stream.stamps // 1_000).tolist(), strict=True))
    found = messages(broker, "ad.impressions")
    assert Counter((payload or b"", stamp) for payload, stamp in found) == expected
    assert published.messages == {name: count for name, count in records_on(broker.bootstrap).items() if count}
    assert published.messages["ad.impressions"] == truth_of(home).sources["impressions"].sent == len(found)
    framed = published.messages["ad.bid_requests"]
    assert 0 < framed < truth_of(home).sources["bid_requests"].sent
    assert sorted(path.name.split("-")[0] for path in home.drop.glob("impressions-*")) == []


def test_a_second_publication_adds_nothing_to_the_topics(
    generated: Generated, broker: KafkaBroker, tmp_path: Path
) -> None:
    home = DemoHome(tmp_path)
    publish(generated, broker.bootstrap, home)
    before = records_on(broker.bootstrap)
    assert publish(generated, broker.bootstrap, home).again
    assert records_on(broker.bootstrap) == before


def test_a_publication_that_was_cut_off_leaves_no_record_twice(
    generated: Generated, broker: KafkaBroker, tmp_path: Path
) -> None:
    home = DemoHome(tmp_path)
    whole = publish(generated, broker.bootstrap, home).messages
    write_note(home, {"status": "begun", "config": {}})
    publish(generated, broker.bootstrap, home)
    assert {name: count for name, count in records_on(broker.bootstrap).items() if count} == whole


def test_a_broker_that_lost_what_was_published_is_refused(
    generated: Generated, broker: KafkaBroker, tmp_path: Path
) -> None:
    home = DemoHome(tmp_path)
    publish(generated, broker.bootstrap, home)
    create_topics(broker.bootstrap, anew=True)
    with pytest.raises(OtherDemo, match=r"has 0 of the .* records"):
        published_before(generated.config, broker.bootstrap, home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_events_flow_until_a_signal_and_all_that_was_sent_is_there(
    broker: KafkaBroker, tmp_path: Path, number: signal.Signals
) -> None:
    create_topics(broker.bootstrap, anew=True)
    command = [sys.executable, "-c", LIVE, broker.bootstrap, str(tmp_path / "registry")]
    live = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: records_on(broker.bootstrap).get("ad.clicks", 0) > 0)
        os.kill(live.pid, number)
        said = live.communicate(timeout=30)[0]
    finally:
        live.kill()
    assert live.returncode == 0
    there = records_on(broker.bootstrap)
    assert int(said.rsplit("sent ", 1)[1]) == sum(there.values())
    times = [stamp / 1_000 for _, stamp in messages(broker, "ad.impressions")]
    assert time.time() - 60 < min(times) <= max(times) <= time.time()
    assert json.loads((tmp_path / "registry" / "1.avsc").read_text())["name"] == "BidRequest"
