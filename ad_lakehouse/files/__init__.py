"""Files into bronze tables, and the rows that were rejected out of them again.

Belongs here: which files of a folder are landed, where their records begin and end, quarantine.
Not here: what a record means and how a batch is committed (kafka_sinks), when to look (defs/).
"""
