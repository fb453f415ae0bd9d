"""A server as a process of ours: started with its log in a file, waited for, killed, ended with us.

Belongs here: the process. Not here: which server, its settings (broker.py).
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class ServerProcess:
    """One run of a server. It ends with this Python, also when Python is killed -9."""

    def __init__(self, command: Sequence[str], log: Path, folder: Path | None = None) -> None:
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C ends us first, and we end the server in order
            )
        # The guard's stdin closes when this Python ends, by kill -9 too; it then kills the server.
        guard = ["sh", "-c", 'read _; kill -9 "$0"', str(self.popen.pid)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    @property
    def runs(self) -> bool:
        return self.popen.poll() is None

    def waited_for(self, answers: Callable[[], bool], timeout: float) -> bool:
        """Whether the server answers before it ends and in time."""
        deadline = time.monotonic() + timeout
        while self.runs and time.monotonic() < deadline:
            if answers():
                return True
            time.sleep(0.05)
        return False

    def send(self, number: int) -> None:
        if self.runs:
            os.kill(self.popen.pid, number)

    def end(self, number: int = signal.SIGTERM, timeout: float = 20) -> None:
        """Ends it by a signal; what does not end in time is killed."""
        try:
            self.send(number)
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        self._guard.kill()  # before its stdin closes: it must never signal a reused pid
        self._guard.communicate()
        self.popen.wait()


def last_line(text: str) -> str:
    """The last line that says something, without the stack that led there."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("\t", "Caused by"))]
    return lines[-1][:300] if lines else "it said nothing"
