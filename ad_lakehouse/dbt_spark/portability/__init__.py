"""Whether the project's SQL means the same on DuckDB and on Spark. Run by `make lint`, needs no Spark.

Belongs here: what is not portable, why, and what to write instead. Not here: the SQL in which the engines differ
(dbt_project/macros/engine.sql).

A model is compiled for both engines. What both texts hold, a model or a macro wrote for both; what only one of them
holds, a dispatched macro wrote for that engine. A text says nothing of rows: that both engines also give the same
ones is what the tests of a built lake find out.
"""
