"""A server of the tests as a process: started and waited for, killed, gone with its folder.

Belongs here: what does not depend on which server it is. Not here: each one's command and settings.
"""

import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from ad_lakehouse.demo.server_process import ServerProcess, last_line


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Server:
    """Its class sets `command`, and `cwd` if it matters. `folder` is its own, `log` what it prints.

    `kill()` is kill -9; `start()` goes on with the same folder. It ends with this Python.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"ad-lakehouse-{self.name.replace(' ', '-').lower()}-"))
        self.log = self.folder / "log"
        self.command: Sequence[str] = ()
        self.cwd: Path | None = None
        self._running: ServerProcess | None = None

    def start(self, timeout: float = 90) -> Self:
        """Starts and waits until it answers."""
        self._running = ServerProcess(self.command, self.log, self.cwd)
        if not self._running.waited_for(self.answers, timeout):
            self.kill()
            raise RuntimeError(f"{self.name} did not start: {last_line(self.log.read_text(errors='replace'))}")
        return self

    def answers(self) -> bool:
        """Whether it does what it is for."""
        return True

    def kill(self) -> None:
        """kill -9, like a crash."""
        if self._running is not None:
            self._running.end(signal.SIGKILL)
        self._running = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
