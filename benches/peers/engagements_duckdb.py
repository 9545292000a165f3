"""The engagement half in DuckDB: CSV to closest connections, recommendations and reasons as Parquet.

    python engagements_duckdb.py INPUT SCORES AS_OF OUT [THREADS]

Plain SQL as one would write it, typed CSV scans, unreadable rows ignored. Needs: duckdb.
"""

import sys
import time

import duckdb

folder, scores, as_of, out = sys.argv[1:5]
threads = int(sys.argv[5]) if len(sys.argv) > 5 else 2
LOOKBACK = 90 * 86400

db = duckdb.connect()
db.execute(f"SET threads = {threads}")
db.execute("SET preserve_insertion_order = false")


def scan(name: str, columns: str) -> str:
    return f"read_csv('{folder}/{name}.csv', header = false, auto_detect = false, delim = ',', quote = '\"', columns = {columns}, ignore_errors = true)"


wide = "{'user_id': 'INT', 'other': 'INT', 'message_id': 'BIGINT', 'ts': 'TIMESTAMP', 'rel': 'VARCHAR'}"
follow = scan("follow", "{'user_id': 'INT', 'other': 'INT', 'ts': 'TIMESTAMP'}")
users = scan("user", "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(13)) + "}")
started = time.time()


def step(name: str, sql: str) -> None:
    db.execute(sql)
    print(f"{name:<24}{time.time() - started:8.2f} s", flush=True)


step("suspended", f"CREATE TABLE suspended AS SELECT DISTINCT c0::INT AS user_id FROM {users} WHERE c11 IN ('1', 'true', 't')")
step("follows", f"CREATE TABLE follows AS SELECT user_id, other, ts FROM {follow} WHERE ts <= TIMESTAMP '{as_of}'")
step(
    "closest connections",
    f"""
    CREATE TABLE closest AS
    WITH engagements AS (
        SELECT DISTINCT * FROM (
            SELECT 0 AS kind, user_id, other, 0::BIGINT AS message_id, ts FROM follows
            UNION ALL SELECT 1, user_id, other, message_id, ts FROM {scan("reply", wide)}
            UNION ALL SELECT 2, user_id, other, message_id, ts FROM {scan("mention", wide)}
            UNION ALL SELECT 3, user_id, other, message_id, ts FROM {scan("like", wide)}
        )
        WHERE ts <= TIMESTAMP '{as_of}' AND ts > TIMESTAMP '{as_of}' - INTERVAL 90 DAY AND user_id <> other
    ),
    weights AS (
        SELECT user_id, other, sum({LOOKBACK} - (epoch(TIMESTAMP '{as_of}')::BIGINT - epoch(ts)::BIGINT)) AS weight
        FROM engagements
        ANTI JOIN suspended USING (user_id)
        WHERE other NOT IN (SELECT user_id FROM suspended)
        GROUP BY user_id, other
    )
    SELECT user_id, other, weight::BIGINT AS weight, rank FROM (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, other) AS rank FROM weights
    ) WHERE rank <= 50
    """,
)
step(
    "recommendations",
    f"""
    CREATE TABLE recommendations AS
    SELECT user_id, rec_id, rank, score FROM (
        SELECT user_id, rec_id, score, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, rec_id) AS rank
        FROM (
            SELECT user_id, rec_id, weight * round(pred * 1000000)::BIGINT AS score
            FROM (
                SELECT first.user_id, second.other AS rec_id, sum(second.weight)::BIGINT AS weight
                FROM closest AS first JOIN closest AS second ON first.other = second.user_id
                WHERE second.other <> first.user_id
                GROUP BY first.user_id, second.other
            ) AS candidates
            JOIN (SELECT user_id AS rec_id, pred FROM read_csv('{scores}') WHERE pred >= 0.5) USING (rec_id)
            ANTI JOIN (SELECT DISTINCT user_id, other AS rec_id FROM follows) USING (user_id, rec_id)
        )
    ) WHERE rank <= 20
    """,
)
step(
    "reasons",
    """
    CREATE TABLE reasons AS
    SELECT recommendations.user_id, rec_id, first.other AS reason_id, second.weight
    FROM recommendations
    JOIN closest AS first ON first.user_id = recommendations.user_id
    JOIN closest AS second ON second.user_id = first.other AND second.other = rec_id
    """,
)
for table in ("closest", "recommendations", "reasons"):
    step(f"written: {table}", f"COPY {table} TO '{out}/{table}.parquet' (COMPRESSION zstd)")
