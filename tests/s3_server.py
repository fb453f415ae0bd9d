"""A real S3-compatible store for the tests: versitygw, which keeps objects as files of a folder, without Docker.

Belongs here: building, starting, ending it, how it is reached. Not here: what a lake on it must do
(engines/test_object_store.py). `python tests/s3_server.py` builds it and says what is missing.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from server import Server, listens

from ad_lakehouse.artefacts import aside, cache_folder, locked
from ad_lakehouse.demo.broker import free_ports
from ad_lakehouse.demo.server_process import last_line

VERSION = "1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
PROGRAM = "versitygw"
OLDEST_GO = (1, 21)  # from then on Go fetches the newer one that a module asks for
BUILD_SECONDS = 900
ACCESS_KEY, SECRET = "lake", "s3cret+of/the=lake"  # with what an address would have to escape
REGION = "eu-central-1"


class StoreMissing(Exception):
    """The store can't be had on this machine."""


def program() -> Path:
    """The server's program, built by Go on first use into the user's cache. Raises `StoreMissing`."""
    folder = cache_folder() / f"{PROGRAM}-{VERSION}"
    with locked(folder):
        if (folder / PROGRAM).is_file():
            return folder / PROGRAM
        go = require_go()
        with aside(folder) as work:
            # One file without C, so that no C compiler is needed
            told = {"GOBIN": str(work / "bin"), "CGO_ENABLED": "0"}
            try:
                done = subprocess.run(
                    [go, "install", MODULE], env=os.environ | told, capture_output=True, text=True,
                    timeout=BUILD_SECONDS, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise StoreMissing(f"Building {PROGRAM} took longer than {BUILD_SECONDS} s.") from None
            if done.returncode:
                raise StoreMissing(
                    f"Building {PROGRAM} failed: {last_line(done.stderr)}. Go's module proxy must be reachable."
                )
            if folder.exists():
                folder.rename(work / "damaged")
            (work / "bin").rename(folder)
    return folder / PROGRAM


def require_go() -> str:
    """Raises `StoreMissing`."""
    wanted = f"{PROGRAM} is built by Go {'.'.join(map(str, OLDEST_GO))} or newer"
    go = shutil.which("go")
    if go is None:
        raise StoreMissing(f"{wanted}, and none is on the PATH.")
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_GO:
        raise StoreMissing(f"{wanted}; {go} is {said.strip() or 'none'}.")
    return go


class S3Server(Server):
    """A store that asks for a key and a secret. A bucket is a folder of `buckets`."""

    name = "Store"

    def __init__(self) -> None:
        gateway = program()
        super().__init__()
        self.buckets, self._requests = self.folder / "buckets", self.folder / "requests.log"
        (self.buckets / "lake").mkdir(parents=True)
        (self.folder / "sidecar").mkdir()
        (self.port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # What it knows of an object stands in files beside it: not every file system keeps attributes
        kept = ["--sidecar", str(self.folder / "sidecar"), str(self.buckets)]
        named = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET}
        command = ["env", *(f"{name}={value}" for name, value in named.items()), str(gateway)]
        command += ["--port", f"127.0.0.1:{self.port}", "--region", REGION, "--access-log", str(self._requests)]
        self.command = [*command, "posix", *kept]

    def options(self, secret: str = SECRET) -> dict[str, str]:
        """`storage_options` of a lake on it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
        }

    def answers(self) -> bool:
        return listens(self.port)

    def requests(self, below: str) -> int:
        """How many requests it has had for objects whose key begins so, and for lists."""
        lines = self._requests.read_text().splitlines()
        return sum(f" {below}" in line or "s3_ListObjects" in line for line in lines)


def main() -> int:
    """Builds the program if need be; says what can't be had, with exit code 1."""
    try:
        print(f"The S3-compatible store is ready: {program()}.")  # noqa: T201 a command of make
    except StoreMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
