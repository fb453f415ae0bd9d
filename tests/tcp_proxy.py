"""A TCP proxy that treats its connections badly, and counts what it did.

Belongs here: cutting, resetting, slowing down and swallowing bytes between a client and a server. Not here: Kafka.
"""

import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Self

CHUNK = 1 << 16
LARGE = 8_000  # bytes at once: of Kafka's answers only one to a fetch is so large
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close sends RST, not FIN


class TcpProxy:
    """Listens on `port` of 127.0.0.1 and hands on to the port `target`, which may be set later.

    `did` counts: connections, bytes from the server, cuts, resets, held (bytes kept back while it was a black hole),
    throttled (chunks that waited).
    """

    def __init__(self) -> None:
        self.target = 0
        self.did: Counter[str] = Counter()
        self.cuts = 0  # so many large answers are cut in the middle
        self.rate = 0.0  # bytes a second of each connection from the server; 0: as fast as it goes
        self._open = threading.Event()  # unset: a black hole
        self._open.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._open.set()
        self._drop(reset=False)

    def reset(self) -> None:
        """Ends each connection with RST."""
        self.did["resets"] += self._drop(reset=True)

    def swallow(self) -> None:
        """Nothing passes any more in either direction, and no connection ends, until `heal`."""
        self._open.clear()

    def heal(self) -> None:
        """What was kept back passes late, as TCP would send it again."""
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.add((client, server))
            self.did["connections"] += 1
            for answers in (False, True):
                threading.Thread(target=self._pump, args=((client, server), answers), daemon=True).start()

    def _pump(self, pair: tuple[socket.socket, socket.socket], answers: bool) -> None:
        source, sink = reversed(pair) if answers else pair
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._open.is_set():
                    self.did["held"] += len(data)
                    self._open.wait()
                if answers and self._takes_a_cut(data):
                    sink.sendall(data[: len(data) // 2])
                    break
                if answers and self.rate:
                    self.did["throttled"] += 1
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
                self.did["bytes"] += len(data) if answers else 0
        self._end(pair)

    def _takes_a_cut(self, data: bytes) -> bool:
        with self._lock:
            if not self.cuts or len(data) < LARGE:
                return False
            self.cuts -= 1
            self.did["cuts"] += 1
            return True

    def _drop(self, *, reset: bool) -> int:
        with self._lock:
            pairs = list(self._pairs)
        return sum(self._end(pair, reset=reset) for pair in pairs)

    def _end(self, pair: tuple[socket.socket, socket.socket], *, reset: bool = False) -> bool:
        with self._lock:
            if pair not in self._pairs:
                return False
            self._pairs.remove(pair)
        for each in pair:
            with suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                each.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the pumps; the other one sends FIN
            each.close()
        return True
