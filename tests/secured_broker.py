"""A real Kafka broker that asks who one is: SASL_SSL (SCRAM) and mutual TLS, with a certificate authority of its own.

Belongs here: certificates, listeners, users. Not here: what is tested with them.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from ad_lakehouse.demo.broker import KafkaBroker, free_ports

USERS = {"lake": "a-good-secret", "guest": "another-secret"}  # guest may do nothing


@dataclass(frozen=True)
class Authority:
    """A certificate authority; its files lie in one folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir()
        _openssl("req", "-x509", *_key(folder / "ca"), "-days", "2", "-subj", f"/CN=authority {folder.name}")
        return cls(folder)

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str) -> Path:
        """A certificate for `name` on this machine, with its key behind it in one PEM file."""
        own = self.folder / name
        _openssl("req", "-new", *_key(own), "-subj", f"/CN={name}")
        extensions = own.with_suffix(".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        signed = own.with_suffix(".crt")
        by = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial"]
        _openssl(
            "x509", "-req", "-in", f"{own}.pem", *by, "-days", "2", "-extfile", str(extensions), "-out", str(signed)
        )
        both = own.with_suffix(".both.pem")
        both.write_text(own.with_suffix(".key").read_text() + signed.read_text())
        return both


def _key(place: Path) -> list[str]:
    return ["-newkey", "rsa:2048", "-noenc", "-keyout", f"{place}.key", "-out", f"{place}.pem"]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Secured:
    """The broker, and where each kind of client finds it."""

    broker: KafkaBroker
    authority: Authority
    sasl: str
    mutual: str


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Starts it; each user of `USERS` has a password, `lake` and who shows our certificate may do everything."""
    authority = Authority.make(folder / "ours")
    plain, sasl, mutual, controller = free_ports(4)
    places = {"PLAINTEXT": plain, "SASL_SSL": sasl, "SSL": mutual, "CONTROLLER": controller}
    config = {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in places.items()),
        "advertised.listeners": ",".join(f"{n}://127.0.0.1:{p}" for n, p in places.items() if n != "CONTROLLER"),
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": authority.sign("broker"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": authority.certificate,
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:lake;User:CN=lake",
    }
    with KafkaBroker(folder / "broker", port=plain, config=config) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = [UserScramCredentialUpsertion(name, scram, secret.encode()) for name, secret in USERS.items()]
        for done in admin.alter_user_scram_credentials(wanted).values():
            done.result(30)
        yield Secured(broker, authority, f"127.0.0.1:{sasl}", f"127.0.0.1:{mutual}")
