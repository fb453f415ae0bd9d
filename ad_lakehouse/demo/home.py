"""The folder of a demo: where its lake, files, broker and Dagster keep their things.

Belongs here: paths, and the settings that lead every part of the product there. Not here: running anything.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ad_lakehouse.settings import PREFIX

PORT = 19_092  # where the demo's broker listens when the port is free


@dataclass(frozen=True)
class DemoHome:
    """Folders below one home; they survive between two runs of the demo."""

    folder: Path

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def drop(self) -> Path:
        """Where files arrive."""
        return self.folder / "drop"

    @property
    def registry(self) -> Path:
        """Avro schemas by id, standing in for a schema registry."""
        return self.folder / "registry"

    @property
    def broker(self) -> Path:
        return self.folder / "kafka"

    @property
    def dagster(self) -> Path:
        return self.folder / "dagster"

    @property
    def state(self) -> Path:
        """What the demo has published already, and the truth about it."""
        return self.folder / "state"

    def remember_broker(self, bootstrap: str) -> None:
        """Notes where the broker listens, for `live` and `ui` in other terminals."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "broker.json").write_text(json.dumps({"bootstrap": bootstrap}))

    def running_broker(self) -> str | None:
        """Address of a broker that another process of this demo runs now."""
        try:
            bootstrap = str(json.loads((self.folder / "broker.json").read_text())["bootstrap"])
            host, port = bootstrap.rsplit(":", 1)
            socket.create_connection((host, int(port)), 1).close()
        except (OSError, ValueError, KeyError):
            return None
        return bootstrap

    def environment(self, bootstrap: str | None) -> dict[str, str]:
        """Environment variables that lead the product to this demo."""
        folder = self.folder.resolve()
        return {
            f"{PREFIX}LAKE": str(folder / "lake"),
            f"{PREFIX}DROP_FOLDER": str(folder / "drop"),
            f"{PREFIX}KAFKA__SCHEMA_REGISTRY": str(folder / "registry"),
            **({f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": bootstrap} if bootstrap else {}),
        }

    def use(self, bootstrap: str | None) -> None:
        """Makes this process and its children work on the demo."""
        os.environ.update(self.environment(bootstrap))
