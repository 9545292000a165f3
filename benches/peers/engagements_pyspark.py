"""The engagement half in Spark: the SQL of engagements_duckdb.py, in one process with as many cores as threads.

    python engagements_pyspark.py INPUT SCORES AS_OF OUT [THREADS] [HEAP]
"""

import sys

from pyspark.sql import SparkSession
from stopwatch import lap

folder, scores, as_of, out, *rest = sys.argv[1:]
threads = rest[0] if rest else "2"
heap = rest[1] if len(rest) > 1 else "12g"
LOOKBACK = 90 * 86400

spark = (
    SparkSession.builder.master(f"local[{threads}]")
    .config("spark.driver.memory", heap)
    .config("spark.sql.shuffle.partitions", "16")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.parquet.compression.codec", "zstd")
    .config("spark.ui.enabled", "false")
    .config("spark.log.level", "ERROR")
    .getOrCreate()
)
lap("started")


def scan(name: str, schema: str, **options: object) -> None:
    read = spark.read.schema(schema).options(mode="DROPMALFORMED", timestampFormat="yyyy-MM-dd HH:mm:ss", **options)
    read.csv(f"{folder}/{name}.csv").createOrReplaceTempView(name)


def keep(name: str, sql: str) -> None:
    """Computed once, held in memory or on disk, as a table that others read."""
    frame = spark.sql(sql).persist()
    frame.createOrReplaceTempView(name)
    frame.count()
    lap(name)


wide = "user_id INT, other INT, message_id BIGINT, ts TIMESTAMP, rel STRING"
scan("follow", "user_id INT, other INT, ts TIMESTAMP")
for name in ("reply", "mention", "like"):
    scan(name, wide)
scan("user", ", ".join(f"c{i} STRING" for i in range(13)), multiLine=True, escape='"')
spark.read.schema("user_id INT, pred DOUBLE").csv(scores, header=True).createOrReplaceTempView("scores")

keep("suspended", "SELECT DISTINCT CAST(c0 AS INT) AS user_id FROM user WHERE c11 IN ('1', 'true', 't')")
keep("follows", f"SELECT user_id, other, ts FROM follow WHERE ts <= TIMESTAMP '{as_of}'")
keep(
    "closest",
    f"""
    WITH engagements AS (
        SELECT DISTINCT * FROM (
            SELECT 0 AS kind, user_id, other, CAST(0 AS BIGINT) AS message_id, ts FROM follows
            UNION ALL SELECT 1, user_id, other, message_id, ts FROM reply
            UNION ALL SELECT 2, user_id, other, message_id, ts FROM mention
            UNION ALL SELECT 3, user_id, other, message_id, ts FROM `like`
        )
        WHERE ts <= TIMESTAMP '{as_of}' AND ts > TIMESTAMP '{as_of}' - INTERVAL 90 DAY AND user_id <> other
    ),
    weights AS (
        SELECT user_id, other, sum({LOOKBACK} - (unix_timestamp(TIMESTAMP '{as_of}') - unix_timestamp(ts))) AS weight
        FROM engagements
        LEFT ANTI JOIN suspended AS one USING (user_id)
        LEFT ANTI JOIN suspended AS two ON other = two.user_id
        GROUP BY user_id, other
    )
    SELECT user_id, other, weight, rank FROM (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, other) AS rank FROM weights
    ) WHERE rank <= 50
    """,
)
keep(
    "recommendations",
    """
    WITH allowed AS (SELECT user_id AS rec_id, CAST(round(pred * 1000000) AS BIGINT) AS pred FROM scores WHERE pred >= 0.5),
    second AS (SELECT closest.* FROM closest LEFT SEMI JOIN allowed ON other = rec_id),
    candidates AS (
        SELECT first.user_id, second.other AS rec_id, sum(second.weight) AS weight
        FROM closest AS first JOIN second ON first.other = second.user_id
        WHERE second.other <> first.user_id
        GROUP BY first.user_id, second.other
    ),
    scored AS (
        SELECT user_id, rec_id, weight * pred AS score
        FROM candidates JOIN allowed USING (rec_id)
        LEFT ANTI JOIN (SELECT user_id, other AS rec_id FROM follows) AS followed USING (user_id, rec_id)
    )
    SELECT user_id, rec_id, rank, score FROM (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, rec_id) AS rank FROM scored
    ) WHERE rank <= 20
    """,
)
spark.table("closest").write.mode("overwrite").parquet(f"{out}/closest.parquet")
spark.table("recommendations").write.mode("overwrite").parquet(f"{out}/recommendations.parquet")
spark.sql(
    """
    SELECT recommendations.user_id, rec_id, first.other AS reason_id, second.weight
    FROM recommendations
    JOIN closest AS first ON first.user_id = recommendations.user_id
    JOIN closest AS second ON second.user_id = first.other AND second.other = rec_id
    """
).write.mode("overwrite").parquet(f"{out}/reasons.parquet")
lap("reasons, written")
spark.stop()
