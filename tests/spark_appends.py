"""`python tests/spark_appends.py TABLE WRITER COUNT`: a Spark of its own appends one row a commit to a Delta table.

Says `begun` when Spark is there, and each number that has been acknowledged. Settings come from the environment.
"""

import sys

from ad_lakehouse.dbt_spark.session import session


def main() -> None:
    table, writer, count = sys.argv[1:]
    session().sql(f"select * from delta.`{table}`").collect()
    print("begun", flush=True)  # noqa: T201 the test reads it
    sys.stdin.readline()
    for number in range(int(count)):
        session().sql(f"insert into delta.`{table}` values ('{writer}', {number})")
        print(number, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
