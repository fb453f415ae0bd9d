"""The limit that landing is measured against: consume a topic and throw it away. `raw_consume BOOTSTRAP TOPIC`."""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.measure import report


def consume(bootstrap: str, topic: str) -> int:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "raw",
            "enable.auto.commit": False,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.queue.backoff.ms": 10,
        }
    )
    partitions = list(consumer.list_topics(topic).topics[topic].partitions)
    ends = {each: consumer.get_watermark_offsets(TopicPartition(topic, each))[1] for each in partitions}
    consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
    count, total = 0, sum(ends.values())
    while count < total:
        count += len(consumer.consume(10_000, timeout=5))
    consumer.close()
    return count


if __name__ == "__main__":
    report(lambda: consume(sys.argv[1], sys.argv[2]))
