"""The text half in Polars: as texts_duckdb.py, lazily and by the streaming engine.

    python texts_polars.py INPUT AS_OF OUT [THREADS]
"""

import os
import sys
from datetime import datetime, timedelta

folder, as_of, out, *rest = sys.argv[1:]
# Read once, when Polars is loaded.
os.environ["POLARS_MAX_THREADS"] = rest[0] if rest else "2"
import polars as pl  # noqa: E402
from stopwatch import lap  # noqa: E402

moment = datetime.fromisoformat(as_of)
anchor = moment.date() - timedelta(days=189)
column = pl.col
RULES = [
    (r"@[\p{L}\p{N}_]+", ""),
    (r"https?://[^\t-\r\x1c-\x1f\x{85}\p{Z}]+", "http"),
    (r"[!-/:-@\[-`{-~]", ""),
    (r"[^\x00-\x7f]", ""),
    (r"[0-9]", ""),
]


def cleaned(text: pl.Expr) -> pl.Expr:
    for pattern, replacement in RULES:
        text = text.str.replace_all(pattern, replacement)
    return text.str.to_lowercase()


schema = {
    "id": pl.Int64,
    "body": pl.String,
    "created_at": pl.String,
    "user_id": pl.Int32,
    "links": pl.List(pl.Struct({"description": pl.String})),
}
messages = (
    pl.scan_ndjson(f"{folder}/st_messages.data", schema=schema, ignore_errors=True)
    .with_columns(column("created_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False))
    .filter(column("id").is_not_null() & column("body").is_not_null() & (column("user_id") > 0) & (column("created_at") <= moment))
    .select(
        "id",
        "user_id",
        "created_at",
        "body",
        column("links").list.first().struct.field("description").fill_null("").alias("link_description"),
        ((column("created_at").dt.date() - pl.lit(anchor)).dt.total_days() + 6).floordiv(7).alias("week"),
    )
    .collect(engine="streaming")
)
lap("messages")
repeated = messages.lazy().group_by("id").len().filter(column("len") > 1).select("id")
kept = pl.concat(
    [
        messages.lazy().join(repeated, on="id", how="anti"),
        messages.lazy().join(repeated, on="id", how="semi").sort("id", "created_at", "user_id", "body").unique("id", keep="first", maintain_order=True),
    ]
)
(
    kept.filter(column("week").is_between(1, 27))
    .select("user_id", "week", "created_at", "id", cleaned(column("body")).alias("clean_body"), cleaned(column("link_description")).alias("clean_link_desc"))
    .group_by("user_id", "week")
    .agg(column("clean_body", "clean_link_desc").sort_by("created_at", "id").str.join(" "))
    .collect(engine="streaming")
    .write_parquet(f"{out}/documents.parquet", compression="zstd")
)
lap("documents, written")
