"""A real NiFi Stateless for the tests, put together from its parts on Maven Central, running the flow of docker/nifi.

Belongs here: fetching, starting, killing it. Not here: what the flow must do (engines/test_nifi.py).
`python tests/nifi_stateless.py` fetches it and says what is missing.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from server import Server

from ad_lakehouse.artefacts import Artefacts, FetchFailed, Say, fetched
from ad_lakehouse.demo.artefacts import KafkaUnavailable, find_java

VERSION = "1.18.0"
NIFI = Artefacts(
    "nifi-stateless",
    "NiFi Stateless",
    VERSION,
    (
        *(
            f"org.apache.nifi:{part}:{VERSION}"
            for part in (
                "nifi-api", "nifi-framework-api", "nifi-nar-utils", "nifi-properties", "nifi-property-utils",
                "nifi-runtime", "nifi-server-api", "nifi-stateless-api", "nifi-stateless-bootstrap",
            )
        ),
        *(
            f"org.apache.nifi:{part}:{VERSION}:nar"
            for part in (
                "nifi-jetty-bundle", "nifi-stateless-nar", "nifi-standard-nar", "nifi-standard-services-api-nar",
            )
        ),
        "org.slf4j:slf4j-api:1.7.36",
        "org.slf4j:jcl-over-slf4j:1.7.36",
        "org.slf4j:jul-to-slf4j:1.7.36",
        "ch.qos.logback:logback-classic:1.2.11",
        "ch.qos.logback:logback-core:1.2.11",
        "javax.servlet:javax.servlet-api:3.1.0",
    ),
    jars=15,
    size="115 MB",
    alone=True,
)  # fmt: skip
# What Java has left out since version 11; NiFi wants it in a folder of that name
SINCE_11 = Artefacts(
    "nifi-java11",
    "Java's former XML binding",
    "2.3.5",
    (
        "jakarta.xml.bind:jakarta.xml.bind-api:2.3.3",
        "org.glassfish.jaxb:jaxb-runtime:2.3.5",
        "org.glassfish.jaxb:txw2:2.3.5",
        "com.sun.istack:istack-commons-runtime:3.0.12",
        "com.sun.activation:jakarta.activation:1.2.2",
        "javax.annotation:javax.annotation-api:1.3.2",
    ),
    jars=6,
    size="2 MB",
    alone=True,
)
FLOW = Path(__file__).parents[1] / "docker" / "nifi" / "files_to_outbox.properties"
LOGGING = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


class NifiMissing(Exception):
    """NiFi can't be had on this machine."""


def require(say: Say = lambda _: None) -> tuple[Path, Path, str]:
    """The folders of its parts, fetched on first use, and a Java. Raises `NifiMissing`."""
    try:
        return fetched(NIFI, say), fetched(SINCE_11, say), find_java()
    except (FetchFailed, KafkaUnavailable) as error:
        raise NifiMissing(str(error)) from None


class NifiStateless(Server):
    """The flow on three folders of `folder`: from, archive, outbox. It goes on until it is killed."""

    name = "NiFi"

    def __init__(self, folder: Path) -> None:
        parts, since_11, java = require()
        super().__init__()
        library = self.folder / "lib"
        shutil.copytree(parts, library, copy_function=lambda source, target: Path(target).symlink_to(source))
        (library / "java11").symlink_to(since_11)
        engine, logging = self.folder / "engine.properties", self.folder / "logback.xml"
        logging.write_text(LOGGING)
        told = {
            "nar.directory": library,
            "working.directory": self.folder / "work",
            "extensions.directory": self.folder / "extensions",
            "content.repository.directory": self.folder / "content",
            "status.task.interval": "",
            "sensitive.props.key": "nothing is sensitive",
        }
        engine.write_text("".join(f"nifi.stateless.{name}={value}\n" for name, value in told.items()))
        self.folders: Mapping[str, Path] = {name: folder / name for name in ("from", "archive", "outbox")}
        for each in self.folders.values():
            each.mkdir(exist_ok=True)
        self._tell({name: str(path) for name, path in self.folders.items()} | {"settle": "0 sec"})
        self.command = [
            java, "-Xmx256m", f"-Dlogback.configurationFile={logging}", "-cp", f"{library}/*",
            "org.apache.nifi.stateless.bootstrap.RunStatelessFlow", "-c", "-e", str(engine), "-f", FLOW.name,
        ]  # fmt: skip
        self.cwd = self.folder

    def _tell(self, parameters: Mapping[str, str]) -> None:
        """A copy of the flow with these parameters; given by `-p` they can lock NiFi up at its start."""
        shutil.copytree(FLOW.parent, self.folder, dirs_exist_ok=True)
        (definition,) = self.folder.glob("*.json")
        flow = json.loads(definition.read_text())
        known = {each["name"]: each for each in flow["parameterContexts"]["ad-lakehouse"]["parameters"]}
        for name, value in parameters.items():
            known[name]["value"] = value
        definition.write_text(json.dumps(flow))


def main() -> int:
    """Fetches it if need be; says what can't be had, with exit code 1."""
    try:
        require(lambda line: print(line, flush=True))  # noqa: T201 a command of make
    except NifiMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"NiFi Stateless {VERSION} is ready.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
