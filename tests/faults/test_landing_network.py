"""A network that cuts, resets, slows down and swallows what a broker sends: the service lands each record once.

Belongs here: what stands between the service and a broker that is well. Not here: the proxy (tcp_proxy.py), a broker
that dies or freezes (test_landing_workers.py).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from landing_network import Net, broker_behind_proxy
from landing_oracle import wait_and_check
from landing_service import Worker, ended, health, shares, wait_landed
from landing_topics import impression, landed_records, load, new_topic, publish, wait_until

from ad_lakehouse.lake import Lake

pytestmark = pytest.mark.kafka
BACKLOG = 8_000  # 1.2 MB, so that a fetch is large


@pytest.fixture(scope="module")
def shared() -> Iterator[Net]:
    with broker_behind_proxy() as net:
        yield net


@pytest.fixture
def net(shared: Net) -> Net:
    shared.proxy.did.clear()
    return shared


def backlog(net: Net) -> str:
    topic = new_topic(net.bootstrap)
    publish(net.bootstrap, topic, [impression(i) if i % 10 else b"{bad" for i in range(BACKLOG)])
    return topic


def test_connections_cut_in_the_middle_of_a_fetch_lose_nothing(net: Net, lake: Lake, tmp_path: Path) -> None:
    topic = backlog(net)
    net.proxy.cuts = 4
    worker = Worker(lake, net.proxied, topic, topic, tmp_path)
    with ended(worker):
        with load(net.bootstrap, topic):
            wait_landed(lake, topic, BACKLOG + 500)
        wait_and_check(lake, net.bootstrap, topic)
        assert worker.end() == 0, worker.log.read_text()
    assert net.proxy.did["cuts"] == 4


def test_connections_that_are_reset_lose_nothing(net: Net, lake: Lake, tmp_path: Path) -> None:
    topic = backlog(net)
    worker = Worker(lake, net.proxied, topic, topic, tmp_path)
    with ended(worker):
        with load(net.bootstrap, topic):
            for number in range(1, 4):
                wait_landed(lake, topic, number * 2_000)
                net.proxy.reset()
        wait_and_check(lake, net.bootstrap, topic)
        assert worker.end() == 0, worker.log.read_text()
    assert net.proxy.did["resets"] >= 3


def test_a_slow_network_is_landed_as_it_comes(net: Net, lake: Lake, tmp_path: Path) -> None:
    topic = backlog(net)
    net.proxy.rate = 200_000
    worker = Worker(lake, net.proxied, topic, topic, tmp_path)
    with ended(worker):
        with load(net.bootstrap, topic):
            wait_landed(lake, topic, 500)
            assert landed_records(lake, topic).total() < BACKLOG, "it did not wait for all"
            assert health(worker.port)[0] == 200
            wait_landed(lake, topic, BACKLOG)
        wait_and_check(lake, net.bootstrap, topic)
        net.proxy.rate = 0
        assert worker.end() == 0, worker.log.read_text()
    assert net.proxy.did["throttled"] > 10


def test_what_a_black_hole_held_back_is_not_landed_twice(net: Net, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(net.bootstrap)
    lost = Worker(lake, net.proxied, topic, topic, tmp_path)
    with ended(lost):
        with load(net.bootstrap, topic):
            wait_landed(lake, topic, 200)
            net.proxy.swallow()
            heir = Worker(lake, net.bootstrap, topic, topic, tmp_path)
            with ended(heir):
                wait_until(lambda: heir.partitions() == {0, 1}, 60)  # the session of the first one has run out
                wait_landed(lake, topic, landed_records(lake, topic).total() + 200)
                wait_until(lambda: health(lost.port)[0] == 503, 60)
                net.proxy.heal()
                wait_until(lambda: shares([lost, heir], 2), 60)
                assert heir.end() == 0, heir.log.read_text()
            wait_until(lambda: lost.partitions() == {0, 1}, 60)
        wait_and_check(lake, net.bootstrap, topic)
        assert health(lost.port)[0] == 200
        assert lost.end() == 0, lost.log.read_text()
    assert net.proxy.did["held"] > 0
