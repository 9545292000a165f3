"""Reads the current run of a warehouse as outsiders do: deltalake, Polars, pandas and DuckDB.

    python read_warehouse.py WAREHOUSE

Prints the rows of each table and fails when the readers disagree with each other, with the row
counts in `runs`, or with the column types of the contract.
Needs: deltalake, polars, pyarrow, pandas, duckdb.
"""

import datetime
import decimal
import json
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

INT = pa.int32()
DECIMAL = pa.decimal128(18, 8)
TABLES = {
    "closest_connections": [("user_id", INT), ("closest_connection", INT), ("weight", DECIMAL), ("rank", INT)],
    "reputation_scores": [("user_id", INT), ("pred", pa.float64()), ("weeks", INT)],
    "recommendations": [("user_id", INT), ("rec_id", INT), ("rank", INT), ("score", DECIMAL)],
    "rec_reasons": [("user_id", INT), ("rec_id", INT), ("reason_id", INT), ("weight", DECIMAL)],
}
POLARS = {INT: pl.Int32(), pa.float64(): pl.Float64(), DECIMAL: pl.Decimal(18, 8)}


def current_run(warehouse: Path) -> dict:
    """The last row of `runs`: the current run and the versions of its tables."""
    runs = pl.read_delta(str(warehouse / "runs")).sort("publication")
    utc_micros = pl.Datetime("us", "UTC")
    assert runs.schema["as_of"] == utc_micros, runs.schema
    assert runs.schema["published_at"] == utc_micros, runs.schema
    assert runs["publication"].to_list() == list(range(1, runs.height + 1))
    run = runs.row(-1, named=True)
    assert run["published_at"].utcoffset() == datetime.timedelta(0)
    json.loads(run["report"])
    return run


def check_table(path: Path, columns: list, version: int) -> int:
    """Reads a table at a version with each reader; returns its rows."""
    table = DeltaTable(str(path), version=version)
    declared = table.schema()
    assert [f.name for f in declared.fields] == [name for name, _ in columns]
    assert not any(f.nullable for f in declared.fields), declared
    assert all(f.metadata.get("comment") for f in declared.fields), declared

    # The files behind the version: none, when the run had no rows.
    files = table.file_uris()
    for file in files:
        assert pq.read_schema(file) == pa.schema([pa.field(name, type, False) for name, type in columns])

    frame = pl.read_delta(str(path), version=version)
    assert frame.schema == pl.Schema([(name, POLARS[type]) for name, type in columns]), frame.schema
    lazy = pl.scan_delta(str(path), version=version).select(pl.len()).collect().item()
    pandas = table.to_pandas()
    by_duckdb = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()[0] if files else 0
    assert frame.height == lazy == len(pandas) == by_duckdb

    if frame.height:
        amounts = [name for name, type in columns if pa.types.is_decimal(type)]
        for name in amounts:
            assert isinstance(pandas[name].iloc[0], decimal.Decimal)
            exact = duckdb.execute(f"SELECT sum({name}) FROM read_parquet(?)", [files]).fetchone()[0]
            assert exact == sum(frame[name].to_list()) == sum(pandas[name]), name
    return frame.height


def main() -> None:
    warehouse = Path(sys.argv[1]).resolve()
    run = current_run(warehouse)
    print(f"publication {run['publication']} ({run['kind']}): run {run['run_id']}, as of {run['as_of']}, published at {run['published_at']}")
    for name, columns in TABLES.items():
        version = run[f"{name}_version"]
        rows = check_table(warehouse / name, columns, version)
        assert rows == run[f"{name}_rows"], name
        print(f"{name} at version {version}: {rows} rows")


if __name__ == "__main__":
    main()
