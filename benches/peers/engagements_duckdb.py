"""The engagement half in DuckDB: CSV to closest connections, recommendations and reasons as Parquet.

    python engagements_duckdb.py INPUT SCORES AS_OF OUT [THREADS] [--plain] [--memory-limit SIZE]

Typed CSV scans, unreadable rows ignored. Weights are left in seconds, scores in seconds times millionths. Only those
whom the scores allow to be recommended go into the second degree, so nothing is known of the others: graph-recs tells
how many candidates are left out, and why. With --plain the candidates are added up first and judged after it.
Without --memory-limit DuckDB takes what it likes, up to four fifths of the machine's.
"""

import argparse
import tempfile

import duckdb
from stopwatch import lap

parser = argparse.ArgumentParser()
for name in ("folder", "scores", "as_of", "out"):
    parser.add_argument(name)
parser.add_argument("threads", type=int, nargs="?", default=2)
parser.add_argument("--plain", action="store_true")
parser.add_argument("--memory-limit")
options = parser.parse_args()
folder, scores, as_of, out = options.folder, options.scores, options.as_of, options.out
LOOKBACK = 90 * 86400

db = duckdb.connect()
db.execute(f"SET threads = {options.threads}")
db.execute("SET preserve_insertion_order = false")
spill = tempfile.TemporaryDirectory()
db.execute(f"SET temp_directory = '{spill.name}'")
if options.memory_limit:
    db.execute(f"SET memory_limit = '{options.memory_limit}'")


def scan(name: str, columns: str) -> str:
    return f"read_csv('{folder}/{name}.csv', header = false, auto_detect = false, delim = ',', quote = '\"', columns = {columns}, ignore_errors = true)"


def step(name: str, sql: str) -> None:
    db.execute(sql)
    lap(name)


wide = "{'user_id': 'INT', 'other': 'INT', 'message_id': 'BIGINT', 'ts': 'TIMESTAMP', 'rel': 'VARCHAR'}"
follow = scan("follow", "{'user_id': 'INT', 'other': 'INT', 'ts': 'TIMESTAMP'}")
users = scan("user", "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(13)) + "}")

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
        SELECT user_id, other, sum({LOOKBACK} - (epoch_us(TIMESTAMP '{as_of}') - epoch_us(ts)) // 1000000)::BIGINT AS weight
        FROM engagements
        ANTI JOIN suspended USING (user_id)
        WHERE other NOT IN (SELECT user_id FROM suspended)
        GROUP BY user_id, other
    )
    SELECT user_id, other, weight, rank FROM (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, other) AS rank FROM weights
    ) WHERE rank <= 50
    """,
)
allowed = f"(SELECT user_id AS rec_id, round(pred * 1000000)::BIGINT AS pred FROM read_csv('{scores}') WHERE pred >= 0.5)"
step("allowed", f"CREATE TABLE allowed AS FROM {allowed}")
second = "closest" if options.plain else "(FROM closest SEMI JOIN allowed ON other = rec_id)"
step(
    "recommendations",
    f"""
    CREATE TABLE recommendations AS
    SELECT user_id, rec_id, rank, score FROM (
        SELECT user_id, rec_id, score, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, rec_id) AS rank
        FROM (
            SELECT user_id, rec_id, weight * pred AS score
            FROM (
                SELECT first.user_id, second.other AS rec_id, sum(second.weight)::BIGINT AS weight
                FROM closest AS first JOIN {second} AS second ON first.other = second.user_id
                WHERE second.other <> first.user_id
                GROUP BY first.user_id, second.other
            ) AS candidates
            JOIN allowed USING (rec_id)
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
