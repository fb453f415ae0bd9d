"""The file router: dropped CSV, JSON Lines and Avro files to the Kafka topics of their sources, each row exactly once.

Belongs here: all of it. Not here: which files there are (files/drop.py), where records end (files/records.py,
kafka_sinks/decode), landing topics (kafka_sinks).

How a row is sent once, whatever happens to the process, the broker or the network:

* Rows go out in transactions of a bounded number of rows. Each transaction also holds a record of the progress topic,
  `content:<SHA-256 of the file's bytes>:<source>` → how many of its rows are sent, and whether that is all. So no
  moment exists in which rows are committed and the progress is not, or the other way round; a file that was cut off
  goes on at the row behind the last committed one.
* The transactional id is the progress topic's name. A router that starts fences all others with the same progress
  topic (`init_transactions`): what they had under way is aborted, or, when its commit was decided, finished. Only then
  is the progress read, up to the end of the topic. After that nobody else can commit, so what was read stays true
  until this router commits itself or is fenced.
* A commit whose answer was lost is asked for again. When it stays unknown the router ends: the next one reads what
  became of it.
* The progress topic is compacted, so that a content is known for good.

Every reader of the topics must read committed records only (`isolation.level=read_committed`), as landing does.
"""
