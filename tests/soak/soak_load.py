"""What the soak publishes: records of all kinds without a pause, and transactions of which some are aborted.

Belongs here: two producers, what was acknowledged to them. Not here: files (soak_files.py), what becomes of them.
"""

import random
import threading
import time
from itertools import count
from typing import Any, Self

from confluent_kafka import KafkaException, Producer
from landing_topics import impression

STEP = 0.1  # seconds
STEADY, BURST, BURST_EVERY = 20, 1_500, 100  # records a step, and at once in every so many steps
IN_A_TRANSACTION = 20
BAD = (b"{bad", None, b"", b'{"event_ts": "never"}', b"\xff\xfe", b"[1, 2]")


class TopicLoad:
    """A context manager that publishes between enter and exit, and waits for what is under way.

    `acknowledged`: records that the broker took, those of aborted transactions not counted. `aborted`, `transactions`
    and `broken`: transactions aborted on purpose, committed, and lost with their broker. `errors` should stay empty.
    """

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        self._servers, self._topic, self._seed = {"bootstrap.servers": bootstrap, "log_level": 0}, topic, seed
        self._stop, self._wanted, self._numbers = threading.Event(), threading.Event(), count()
        self._threads = [threading.Thread(target=self._kept, args=(each,)) for each in (self._steady, self._transact)]
        self._sent = self.transactions = self.aborted = self.broken = 0
        self.errors: list[BaseException] = []

    @property
    def acknowledged(self) -> int:
        return self._sent + self.transactions * IN_A_TRANSACTION

    def burst(self) -> None:
        """Many records at once, soon: workers have batches on their way then."""
        self._wanted.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(180)

    def _kept(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the soak looks at them
            self.errors.append(error)

    def _record(self, chance: random.Random) -> dict[str, Any]:
        """One in ten is bad, one in seven has no key."""
        number = next(self._numbers)
        payload = impression(number) if number % 10 else chance.choice(BAD)
        return {"value": payload, "key": str(number).encode() if number % 7 else None}

    def _steady(self) -> None:
        producer = Producer(self._servers | {"topic.metadata.refresh.interval.ms": 500})
        chance = random.Random(self._seed)

        def told(error: object, _: object) -> None:
            self._sent += error is None

        for step in count(1):
            if self._stop.wait(STEP):
                break
            many = self._wanted.is_set() or step % BURST_EVERY == 0
            self._wanted.clear()
            for _ in range(BURST if many else STEADY):
                producer.produce(self._topic, **self._record(chance), on_delivery=told)
            producer.poll(0)
        assert producer.flush(120) == 0

    def _transact(self) -> None:
        chance = random.Random(self._seed + 1)
        while not self._stop.is_set():
            try:
                self._transact_until_it_breaks(chance)
            except KafkaException:  # its broker was killed or frozen; what became of the last one the broker decides
                self.broken += 1
                time.sleep(STEP)

    def _transact_until_it_breaks(self, chance: random.Random) -> None:
        names = {"transactional.id": f"{self._topic}-soak", "transaction.timeout.ms": 15_000}
        producer = Producer(self._servers | names)
        producer.init_transactions(30)
        while not self._stop.wait(5 * STEP):
            producer.begin_transaction()
            for _ in range(IN_A_TRANSACTION):
                producer.produce(self._topic, **self._record(chance))
            if chance.random() < 1 / 3:
                producer.flush(10)  # so that there is something to abort
                producer.abort_transaction(20)
                self.aborted += 1
            else:
                producer.commit_transaction(20)
                self.transactions += 1
