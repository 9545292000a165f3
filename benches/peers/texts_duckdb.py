"""The text half in DuckDB: NDJSON messages to weekly documents as Parquet.

    python texts_duckdb.py INPUT AS_OF OUT [THREADS] [--merged]

Five regexp_replace clean a text, one a rule. --merged does in three passes what five rules say: punctuation, what is not
ASCII, and digits are characters each removed on its own, so one class takes them all.

RE2's \\w and \\s are ASCII's, and \\s lacks U+000B; Python's are Unicode's. So the classes are spelt out: letters, numbers
and underscore; white space, separators, U+001C to U+001F and U+0085.
"""

import sys

import duckdb
from stopwatch import lap

merged = "--merged" in sys.argv
folder, as_of, out, *rest = [word for word in sys.argv[1:] if word != "--merged"]
threads = int(rest[0]) if rest else 2

db = duckdb.connect()
db.execute(f"SET threads = {threads}")
db.execute("SET preserve_insertion_order = false")

MENTION = r"@[\p{L}\p{N}_]+"
LINK = r"https?://[^\s\x0b\x1c-\x1f\x{85}\p{Z}]+"
PUNCTUATION = r"[!-/:-@\[-`{-~]"
NOT_ASCII = r"[^\x00-\x7f]"
DIGIT = "[0-9]"


def cleaned(text: str) -> str:
    rules = [(MENTION, ""), (LINK, "http"), (PUNCTUATION, ""), (NOT_ASCII, ""), (DIGIT, "")]
    if merged:
        rules[2:] = [(r"[!-/:-@\[-`{-~0-9]+|[^\x00-\x7f]+", "")]
    for pattern, replacement in rules:
        text = f"regexp_replace({text}, '{pattern}', '{replacement}', 'g')"
    return f"lower({text})"


columns = "{'id': 'BIGINT', 'body': 'VARCHAR', 'created_at': 'TIMESTAMP', 'user_id': 'INT', 'links': 'STRUCT(description VARCHAR)[]'}"
source = f"read_json('{folder}/st_messages.data', format = 'newline_delimited', columns = {columns}, ignore_errors = true)"
anchor = f"(DATE '{as_of[:10]}' - 189)"

db.execute(
    f"""
    CREATE TABLE messages AS
    SELECT id, user_id, created_at, body, links[1].description AS link_description,
           (datediff('day', {anchor}, created_at::DATE) + 6) // 7 AS week
    FROM {source}
    WHERE id IS NOT NULL AND body IS NOT NULL AND user_id > 0 AND created_at <= TIMESTAMP '{as_of}'
    """
)
lap("messages")
# Few ids are there more than once: only those are sorted.
db.execute(
    f"""
    CREATE TABLE documents AS
    WITH repeated AS (SELECT id FROM messages GROUP BY id HAVING count(*) > 1),
    kept AS (
        FROM messages ANTI JOIN repeated USING (id)
        UNION ALL
        FROM (FROM messages SEMI JOIN repeated USING (id)
              QUALIFY row_number() OVER (PARTITION BY id ORDER BY created_at, user_id, body) = 1)
    )
    SELECT user_id, week, string_agg(clean_body, ' ' ORDER BY created_at, id) AS clean_body,
           string_agg(clean_link_desc, ' ' ORDER BY created_at, id) AS clean_link_desc
    FROM (
        SELECT user_id, week, created_at, id, {cleaned("body")} AS clean_body,
               {cleaned("coalesce(link_description, '')")} AS clean_link_desc
        FROM kept WHERE week BETWEEN 1 AND 27
    )
    GROUP BY user_id, week
    """
)
lap("documents")
db.execute(f"COPY documents TO '{out}/documents.parquet' (COMPRESSION zstd)")
lap("written")
