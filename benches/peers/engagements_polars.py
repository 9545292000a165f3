"""The engagement half in Polars: as engagements_duckdb.py, lazily and by the streaming engine.

    python engagements_polars.py INPUT SCORES AS_OF OUT [THREADS]
"""

import os
import sys
from datetime import datetime, timedelta

folder, scores, as_of, out, *rest = sys.argv[1:]
# Read once, when Polars is loaded.
os.environ["POLARS_MAX_THREADS"] = rest[0] if rest else "2"
import polars as pl  # noqa: E402
from stopwatch import lap  # noqa: E402

LOOKBACK = 90 * 86400
moment = datetime.fromisoformat(as_of)
column = pl.col


def scan(name: str, columns: dict) -> pl.LazyFrame:
    schema = columns | {"ts": pl.String} if "ts" in columns else columns
    frame = pl.scan_csv(f"{folder}/{name}.csv", has_header=False, schema=schema, ignore_errors=True, truncate_ragged_lines=True)
    if "ts" not in columns:
        return frame
    return frame.with_columns(column("ts").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False))


wide = {"user_id": pl.Int32, "other": pl.Int32, "message_id": pl.Int64, "ts": pl.String, "rel": pl.String}
names = [f"c{i}" for i in range(13)]
suspended = (
    pl.scan_csv(f"{folder}/user.csv", has_header=False, schema={name: pl.String for name in names}, ignore_errors=True, truncate_ragged_lines=True)
    .filter(column("c11").is_in(["1", "true", "t"]))
    .select(column("c0").cast(pl.Int32).alias("user_id"))
    .unique()
    .collect(engine="streaming")
)
follows = (
    scan("follow", {"user_id": pl.Int32, "other": pl.Int32, "ts": pl.String})
    .filter(column("ts") <= moment)
    .collect(engine="streaming")
)
lap("suspended, follows")

kinds = [follows.lazy().select(pl.lit(0, pl.Int8).alias("kind"), "user_id", "other", pl.lit(0, pl.Int64).alias("message_id"), "ts")]
for kind, name in enumerate(("reply", "mention", "like"), 1):
    kinds.append(scan(name, wide).select(pl.lit(kind, pl.Int8).alias("kind"), "user_id", "other", "message_id", "ts"))
barred = suspended.lazy()
closest = (
    pl.concat(kinds)
    .filter((column("ts") <= moment) & (column("ts") > moment - timedelta(days=90)) & (column("user_id") != column("other")))
    .join(barred, on="user_id", how="anti")
    .join(barred, left_on="other", right_on="user_id", how="anti")
    .unique()
    .group_by("user_id", "other")
    .agg((LOOKBACK - (pl.lit(moment) - column("ts")).dt.total_seconds()).sum().alias("weight"))
    .sort("user_id", "weight", "other", descending=[False, True, False])
    .with_columns(pl.int_range(1, pl.len() + 1).over("user_id").alias("rank"))
    .filter(column("rank") <= 50)
    .collect(engine="streaming")
)
lap("closest connections")

allowed = (
    pl.scan_csv(scores, schema={"user_id": pl.Int32, "pred": pl.Float64})
    .filter(column("pred") >= 0.5)
    .select(column("user_id").alias("rec_id"), (column("pred") * 1000000).round().cast(pl.Int64).alias("pred"))
)
second = closest.lazy().select(column("user_id").alias("via"), column("other").alias("rec_id"), "weight")
recommendations = (
    closest.lazy()
    .select("user_id", column("other").alias("via"))
    .join(second.join(allowed, on="rec_id", how="semi"), on="via")
    .filter(column("user_id") != column("rec_id"))
    .group_by("user_id", "rec_id")
    .agg(column("weight").sum())
    .join(follows.lazy(), left_on=["user_id", "rec_id"], right_on=["user_id", "other"], how="anti")
    .join(allowed, on="rec_id")
    .select("user_id", "rec_id", (column("weight") * column("pred")).alias("score"))
    .sort("user_id", "score", "rec_id", descending=[False, True, False])
    .with_columns(pl.int_range(1, pl.len() + 1).over("user_id").alias("rank"))
    .filter(column("rank") <= 20)
    .collect(engine="streaming")
)
lap("recommendations")

reasons = (
    recommendations.lazy()
    .select("user_id", "rec_id")
    .join(closest.lazy().select("user_id", column("other").alias("reason_id")), on="user_id")
    .join(closest.lazy().select(column("user_id").alias("reason_id"), column("other").alias("rec_id"), "weight"), on=["reason_id", "rec_id"])
    .collect(engine="streaming")
)
lap("reasons")
closest.write_parquet(f"{out}/closest.parquet", compression="zstd")
recommendations.write_parquet(f"{out}/recommendations.parquet", compression="zstd")
reasons.write_parquet(f"{out}/reasons.parquet", compression="zstd")
lap("written")
