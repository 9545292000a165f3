"""Compares a peer's results with ours, row by row, and fails when a row differs.

    python compare.py engagements|texts OURS PEER

OURS holds our tables as Parquet, PEER what a peer wrote. Our weights and scores are decimals with eight places, rounded
half up; a peer's are integers, divided here in the same way.
"""

import sys

import duckdb

kind, ours, peer = sys.argv[1:]
LOOKBACK = 90 * 86400


def ratio(number: str, divisor: int) -> str:
    return f"((2 * {number}::HUGEINT * 100000000 + {divisor}) // {2 * divisor})::HUGEINT"


def places(decimal: str) -> str:
    return f"({decimal}::DECIMAL(28, 8) * 100000000::DECIMAL(9, 0))::HUGEINT"


tables = {
    "engagements": {
        "closest": (
            f"user_id, closest_connection, rank::INT, {places('weight')}",
            f"user_id, other, rank::INT, {ratio('weight', LOOKBACK)}",
        ),
        "recommendations": (
            f"user_id, rec_id, rank::INT, {places('score')}",
            f"user_id, rec_id, rank::INT, {ratio('score', LOOKBACK * 1000000)}",
        ),
        "reasons": (
            f"user_id, rec_id, reason_id, {places('weight')}",
            f"user_id, rec_id, reason_id, {ratio('weight', LOOKBACK)}",
        ),
    },
    "texts": {
        "documents": (
            "user_id, week::INT, clean_body, clean_link_desc",
            "user_id, week::INT, clean_body, clean_link_desc",
        )
    },
}[kind]
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET memory_limit = '6GB'")
differing = 0
for table, (left, right) in tables.items():
    left = f"SELECT {left} FROM '{ours}/{table}.parquet'"
    # Spark's is a folder.
    suffix = "/*.parquet" if not db.execute("SELECT count(*) FROM glob(?)", [f"{peer}/{table}.parquet/*.parquet"]).fetchone() == (0,) else ""
    right = f"SELECT {right} FROM '{peer}/{table}.parquet{suffix}'"
    rows = [db.execute(f"SELECT count(*) FROM ({side})").fetchone()[0] for side in (left, right)]
    only = [db.execute(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})").fetchone()[0] for a, b in ((left, right), (right, left))]
    print(f"{table:<20}{rows[0]:>12} rows of ours, {only[0]} of them not the peer's; {rows[1]} of the peer's, {only[1]} of them not ours", flush=True)
    for side, a, b in (("ours", left, right), ("peer", right, left)):
        for row in db.execute(f"{a} EXCEPT ALL {b} LIMIT 3").fetchall() if sum(only) else []:
            print(f"    {side}: {row}")
    # Nothing equals nothing: that would show nothing.
    differing += sum(only) + (rows[0] == 0)
sys.exit(differing > 0)
