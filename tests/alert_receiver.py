"""A real HTTP server on localhost that answers like Slack, PagerDuty and a webhook, and fails when told to.

Belongs here: the other side of the alert tests. Not here: tests.
"""

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What to answer; `hang` waits until the receiver ends; `first` is done before answering."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    first: Callable[[], None] | None = None


class Receiver:
    """`with Receiver() as receiver:`; scripted answers of a path are used up first, then it behaves."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.slack_messages: dict[str, list[dict[str, Any]]] = {}  # ts → versions
        self._script: dict[str, deque[Answer]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, again on the same port after `stop`."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._handle(self)

            def do_GET(self) -> None:
                receiver._handle(self)

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self._released.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Connections are refused from now on."""
        self._released.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def script(self, path: str, *answers: Answer) -> None:
        """The next answers of a path."""
        self._script[path].extend(answers)

    def at(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]

    def bodies(self, path: str) -> list[Any]:
        return [each.body for each in self.at(path)]

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        received = Received(request.command, request.path, dict(request.headers.items()), body)
        with self._lock:
            self.received.append(received)
            script = self._script[request.path]
            answer = script.popleft() if script else self._behave(received)
        if answer.first:
            answer.first()
        if answer.hang:
            self._released.wait(30)
        try:
            request.send_response(answer.status)
            for name, value in answer.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(answer.body.encode())))
            request.end_headers()
            request.wfile.write(answer.body.encode())
        except OSError:  # the sender has given up waiting
            pass

    def _behave(self, received: Received) -> Answer:
        if received.path.startswith("/slack/api/"):
            return Answer(body=json.dumps(self._slack(received)))
        if received.path == "/v2/enqueue":
            body = received.body
            if body.get("event_action") not in ("trigger", "resolve") or not body.get("routing_key"):
                return Answer(400, json.dumps({"status": "invalid event", "errors": ["bad event"]}))
            return Answer(202, json.dumps({"status": "success", "dedup_key": body["dedup_key"]}))
        return Answer()

    def _slack(self, received: Received) -> dict[str, Any]:
        if not received.headers.get("Authorization", "").startswith("Bearer xoxb-"):
            return {"ok": False, "error": "not_authed"}
        if received.path.endswith("/chat.postMessage"):
            stamp = f"1700000000.{len(self.received):06d}"
            if "thread_ts" not in received.body:
                self.slack_messages[stamp] = [received.body]
            return {"ok": True, "channel": "C0123456", "ts": stamp}
        if received.path.endswith("/chat.update"):
            if received.body.get("channel") != "C0123456":
                return {"ok": False, "error": "channel_not_found"}
            if received.body.get("ts") not in self.slack_messages:
                return {"ok": False, "error": "message_not_found"}
            self.slack_messages[received.body["ts"]].append(received.body)
            return {"ok": True, "channel": "C0123456", "ts": received.body["ts"]}
        return {"ok": False, "error": "unknown_method"}
