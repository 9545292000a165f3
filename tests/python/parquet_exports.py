"""Writes exports with pyarrow, pandas, Polars and DuckDB, each in its ways, and reads them with graph-recs.

    python parquet_exports.py PROGRAM

Fails when a row is not read as it was written.
Needs: duckdb, pandas, polars, pyarrow.
"""

import csv
import datetime
import decimal
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

PROGRAM = sys.argv[1]
TIMES = [datetime.datetime(2019, 10, 1, 1, 2, 3), datetime.datetime(1600, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)]
EXPECTED = [[str(row + 1), "9", str(row + 7), time.isoformat()] for row, time in enumerate(TIMES)]


def ask(file: str, write, sql: str) -> list:
    """The rows that a statement gives of a folder with this file."""
    with tempfile.TemporaryDirectory() as folder:
        write(str(Path(folder) / file))
        command = [PROGRAM, "sql", "--log", "warn", "--input", folder, "--as-of", "2019-10-02", "--format", "csv", "-c", sql]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(csv.reader(io.StringIO(done.stdout)))[1:]


def likes(what: str, write, expected=EXPECTED) -> None:
    found = ask("like.parquet", write, "SELECT user_id, engaged_with_user_id, message_id, timestamp FROM raw.likes ORDER BY user_id")
    assert found == expected, f"{what}: {found}"
    print(f"{what}: {len(found)} likes")


def arrow(ids: pa.DataType, time: pa.DataType) -> pa.Table:
    number = (lambda n: decimal.Decimal(n)) if pa.types.is_decimal(ids) else (lambda n: n)
    column = lambda values: pa.array([number(n) for n in values]).cast(ids)
    return pa.table({
        "user_id": column([1, 2, 3]), "engaged_with_user_id": column([9, 9, 9]), "message_id": column([7, 8, 9]),
        "timestamp": pa.array(TIMES, pa.timestamp("us")).cast(time), "rel_type": ["like"] * 3,
    })


def main() -> None:
    for ids in [pa.int8(), pa.uint64(), pa.float64(), pa.decimal128(10, 0), pa.decimal128(38, 18), pa.string(), pa.large_string()]:
        for time in [pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Berlin")]:
            table = arrow(ids, time)
            likes(f"pyarrow, {ids}, {time}", lambda file: pq.write_table(table, file, version="1.0", data_page_version="2.0"))
    table = arrow(pa.int32(), pa.timestamp("us"))
    likes("pyarrow, INT96", lambda file: pq.write_table(table, file, use_deprecated_int96_timestamps=True))
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        likes(f"pyarrow, {codec}", lambda file: pq.write_table(table, file, compression=codec, row_group_size=2))
    frame = table.to_pandas()
    likes("pandas", lambda file: frame.to_parquet(file))
    # A column with a null is of floating-point numbers in pandas.
    frame.loc[1, "user_id"] = None
    sql = "SELECT user_id, reason, line, raw FROM raw.likes ORDER BY line NULLS FIRST"
    found = ask("like.parquet", lambda file: frame.to_parquet(file), sql)
    assert found == [["1", "", "", ""], ["3", "", "", ""], ["", "missing_field", "2", ",9,8,1600-01-01T00:00:00"]], found
    likes("Polars", lambda file: pl.from_arrow(table).write_parquet(file))
    duckdb.register("likes", table)
    likes("DuckDB", lambda file: duckdb.sql(f"COPY likes TO '{file}' (FORMAT parquet)"))
    infinite = "SELECT 1 AS user_id, 2 AS engaged_with_user_id, 3 AS message_id, 'infinity'::TIMESTAMP AS timestamp"
    found = ask("like.parquet", lambda file: duckdb.sql(f"COPY ({infinite}) TO '{file}' (FORMAT parquet)"), sql)
    assert found == [["", "no_such_date", "1", "1,2,3,9223372036854775807"]], found

    messages = """
        SELECT 1 AS id, 'Hi' AS body, TIMESTAMP '2019-09-10' AS created_at, {'id': 7, 'name': 'x'} AS user,
               [{'url': 'u', 'description': 'market report'}, {'url': 'v', 'description': 'no'}] AS links"""
    sql = "SELECT id, user_id, body, link_description FROM raw.messages"
    expected = [["1", "7", "Hi", "market report"]]
    writers = {
        "DuckDB": lambda file: duckdb.sql(f"COPY ({messages}) TO '{file}' (FORMAT parquet)"),
        "DuckDB, JSON": lambda file: duckdb.sql(f"COPY (SELECT * REPLACE (links::JSON AS links) FROM ({messages})) TO '{file}' (FORMAT parquet)"),
        "pyarrow": lambda file: pq.write_table(duckdb.sql(messages).to_arrow_table(), file, use_compliant_nested_type=False),
        "pandas": lambda file: duckdb.sql(messages).df().to_parquet(file),
        "Polars": lambda file: pl.from_arrow(duckdb.sql(messages).to_arrow_table()).write_parquet(file),
    }
    for what, write in writers.items():
        found = ask("st_messages.parquet", write, sql)
        assert found == expected, f"{what}: {found}"
        print(f"{what}: a message and its link")


if __name__ == "__main__":
    main()
