"""A broker that is reached two ways: straight, and through a proxy that treats connections badly.

Belongs here: the broker's two listeners. Not here: the proxy (tcp_proxy.py), what is done to connections.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tcp_proxy import TcpProxy

from ad_lakehouse.demo.broker import KafkaBroker, free_ports


@dataclass
class Net:
    """A broker, and the proxy before its second listener: who comes by that one is sent there again."""

    broker: KafkaBroker
    proxy: TcpProxy

    @property
    def bootstrap(self) -> str:
        """The broker, not through the proxy."""
        return self.broker.bootstrap

    @property
    def proxied(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"


@contextmanager
def broker_behind_proxy() -> Iterator[Net]:
    """A broker of its own; raises `KafkaUnavailable`."""
    direct, behind, controller = free_ports(3)
    with TcpProxy() as proxy:
        listeners = {
            "listeners": f"PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{behind},"
            f"CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        }
        proxy.target = behind
        with KafkaBroker(port=direct, config=listeners) as broker:
            assert broker.bootstrap == f"127.0.0.1:{direct}", "another program took the port"
            yield Net(broker, proxy)
