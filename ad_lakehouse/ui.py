"""Dagster's UI, daemon and code location as one command, for one machine.

Belongs here: starting `dagster dev` and what it needs. Not here: the instance's settings (defs/instance.py), the
definitions (defs/), a production set-up.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import PREFIX, load_settings

SENSOR_SECONDS = "180"  # an alerts tick may wait for slow channels; Dagster gives a sensor 60 s


@contextmanager
def demo_environment(home: Path, console: Console) -> Iterator[Path]:
    """Leads this process to the demo's lake and starts its broker, unless the environment names a lake of its own.

    Yields the folder for Dagster's own storage.
    """
    from ad_lakehouse.demo.artefacts import KafkaUnavailable
    from ad_lakehouse.demo.home import DemoHome
    from ad_lakehouse.demo.run import broker_of

    if os.environ.get(f"{PREFIX}LAKE"):
        yield Path(os.environ.get("DAGSTER_HOME") or home / "dagster")
        return
    demo = DemoHome(home)
    try:
        with broker_of(demo, console) as bootstrap:
            demo.use(bootstrap)
            yield demo.dagster
    except KafkaUnavailable as error:
        console.print(f"{error.message} Going on with files only.", markup=False)
        demo.use(None)
        yield demo.dagster


def run_ui(home: Path, *, port: int, console: Console) -> None:
    """Starts webserver and daemon and waits until Ctrl-C or SIGTERM. Raises `ConfigurationError` for a taken port."""
    from ad_lakehouse.defs.instance import prepare_home
    from ad_lakehouse.defs.prepare import prepare

    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} of this machine cannot be used: {error.strerror}.", remedy="Name another by --port."
        ) from None
    with demo_environment(home, console) as storage:
        folder = prepare_home(storage)
        load_settings()  # a wrong setting is told here, not in a code server's traceback
        console.print("Reading the dbt project …")
        prepare()
        console.print(f"Dagster: http://127.0.0.1:{port}  (lake {os.environ[PREFIX + 'LAKE']}). Ctrl-C ends it.")
        where = ["-m", "ad_lakehouse.definitions", "-h", "127.0.0.1", "-p", str(port)]
        quiet = ["-W", "ignore::UserWarning", "-W", "ignore::FutureWarning"]
        command = [sys.executable, *quiet, "-m", "dagster", "dev", "--log-level", "warning", *where]
        server = subprocess.Popen(
            command,
            env={"DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": SENSOR_SECONDS, **os.environ, "DAGSTER_HOME": str(folder)},
            start_new_session=True,  # a group of its own, which ends as a whole
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.wait()
        except KeyboardInterrupt:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
