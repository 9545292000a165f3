"""Runs the definition of the results, definition/**/*.sql, in DuckDB, and compares all rows with the program's.

    python definition.py PROGRAM

A file makes the relation that it is named after, from those that its header names after `in:`. DuckDB runs the files
unchanged, with bound parameters; the functions that they call are given to it below. The records are read by the program.
Prints a line a comparison; leaves with 1 at the first that differs, after its first rows.
Needs: duckdb.
"""

import graphlib
import json
import re
import string
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import NoReturn

import duckdb

from hard_day import move_to_midnight, repeat_messages, write_few_scores

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
# With the column that is a time, if there is one.
SOURCES = {
    "follows": "timestamp",
    "replies": "timestamp",
    "mentions": "timestamp",
    "likes": "timestamp",
    "users": None,
    "messages": "created_at",
}
TABLES = ["closest_connections", "reputation_scores", "recommendations", "rec_reasons"]
VIEWS = ["weekly_messages", "quarantine"]
# As-of of generated days.
GENERATED = datetime(2019, 10, 1, tzinfo=timezone.utc)
# The file of rankings/ that makes scored_candidates.
RANKING = "seed"


# The functions for which SQL has no word.

MENTION, LINK = re.compile(r"@\w+"), re.compile(r"https?://[^\s]+")
DROPPED = re.compile(f"[{re.escape(string.punctuation)}]|[^\\x00-\\x7F]|[0-9]")


def clean_text(text: str) -> str:
    return DROPPED.sub("", LINK.sub("http", MENTION.sub("", text))).lower()


def check_clean_text() -> None:
    """That this Python's is the reference's."""
    for line in (GOLDEN / "clean_text.jsonl").read_text().splitlines():
        case = json.loads(line)
        if clean_text(case["in"]) != case["out"]:
            fail("clean_text: text, found, expected", (ascii(case["in"]), clean_text(case["in"]), case["out"]))


def week_of(seconds: int, anchor_day: int) -> int:
    return (seconds // 86_400 - anchor_day + 6) // 7


# In units of the last place, so that nothing but whole numbers is divided.
RATIO = """
CREATE MACRO ratio(numerator, denominator) AS CAST(
    CAST(sign(numerator) * ((2 * abs(CAST(numerator AS HUGEINT)) * 100000000 + denominator) // (2 * denominator))
         AS DECIMAL(18, 0)) * CAST(0.00000001 AS DECIMAL(8, 8)) AS DECIMAL(18, 8))"""
# The model's probabilities of documents, as the program gives them.
REPUTATION = """
CREATE MACRO reputation(body, link_desc) AS (
    SELECT pred FROM document_scores WHERE clean_body = body AND clean_link_desc = link_desc)"""


# The definition.


@dataclass
class Statement:
    """A file of the definition."""

    path: Path
    sql: str
    inputs: list[str]
    key: str | None

    def parameters(self, values: dict) -> dict:
        """Those of the values that it uses."""
        return {name: values[name] for name in set(re.findall(r"\$(\w+)", without_comments(self.sql)))}


def without_comments(sql: str) -> str:
    return re.sub(r"--.*", "", sql)


def read_definition(given_scores: bool) -> dict[str, Statement]:
    """The files by the relation that they make, each after those that it reads."""
    statements = {}
    for path in sorted((HERE / "definition").glob("**/*.sql")):
        sql = path.read_text()
        inputs = re.search(r"^-- in: (.*?)    grain: ", sql, re.MULTILINE)
        assert inputs, f"{path}: the header names no inputs and no grain"
        relations = re.findall(r"[\w.]+", re.sub(r", made by.*", "", inputs[1]))
        name = path.stem
        if path.parent.name == "rankings":
            if name != RANKING:
                continue
            name = "scored_candidates"
        key = re.search(r"^-- .*    key: ([\w, ]+?)(?:    |$)", sql, re.MULTILINE)
        statements[name] = Statement(path, sql, relations, key and key[1])
    # One of two files makes the reputations.
    given = statements.pop("given_reputations")
    if given_scores:
        statements["user_reputations"] = given
    order = graphlib.TopologicalSorter({name: statement.inputs for name, statement in statements.items()})
    return {name: statements[name] for name in order.static_order() if name in statements}


# A day, as both see it.


@dataclass
class Day:
    """A day's exports, and the options of a run of it."""

    name: str
    folder: Path
    as_of: datetime
    scores: Path | None = None
    options: dict[str, str] = field(default_factory=dict)

    def moment(self) -> str:
        return self.as_of.strftime("%Y-%m-%dT%H:%M:%SZ")

    def parameters(self) -> dict[str, int]:
        """The values by the names under which the definition uses them."""
        as_of = int(self.as_of.timestamp())
        option = self.options.get
        return {
            "as_of": as_of,
            "lookback_seconds": int(option("--lookback-days", "90")) * 86_400,
            "closest": int(option("--closest", "50")),
            "recommendations": int(option("--recommendations", "20")),
            "min_pred": round(float(option("--min-reputation", "0.5")) * 1_000_000),
            "anchor_day": as_of // 86_400 - 189,
        }

    def run_options(self) -> list[str]:
        scores = ["--reputation-scores", str(self.scores)] if self.scores else []
        return scores + [part for option in self.options.items() for part in option]


class Program:
    """The program, and what it makes of a day."""

    def __init__(self, path: str):
        self.path = path

    def call(self, *arguments) -> str:
        done = subprocess.run([self.path, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{self.path} {' '.join(map(str, arguments))}: exit code {done.returncode}")
        return done.stdout

    def run(self, day: Day, warehouse: Path) -> dict:
        """Publishes the day's results and gives the report."""
        answer = self.call("run", "--log", "warn", "--json", "--input", day.folder, "--warehouse", warehouse,
                           "--as-of", day.moment(), *day.run_options())
        return json.loads(answer.splitlines()[-1])["report"]

    def export(self, day: Day, statements: dict[str, str], folder: Path, *options, before: str = "") -> None:
        """Writes results of SQL over the day as Parquet files."""
        copies = [f"COPY ({sql}) TO '{folder / name}.parquet' STORED AS PARQUET;" for name, sql in statements.items()]
        script = folder / "export.sql"
        script.write_text(before + "\n".join(copies))
        self.call("sql", "--log", "warn", "--input", day.folder, "--as-of", day.moment(), *options,
                  "--file", script)


def program_results(program: Program, day: Day, folder: Path) -> dict:
    """The day's raw relations and the program's results as Parquet files in the folder; the report."""
    warehouse = folder / "warehouse"
    report = program.run(day, warehouse)
    wanted = {f"raw.{source}": f"SELECT * FROM raw.{source}" for source in SOURCES}
    wanted |= {table: f"SELECT * FROM {table}" for table in TABLES}
    wanted |= {view: f"SELECT * FROM {view}" for view in VIEWS}
    if not day.scores:
        wanted["document_scores"] = (
            "SELECT DISTINCT clean_body, clean_link_desc, reputation(clean_body, clean_link_desc) AS pred "
            "FROM weekly_messages"
        )
    program.export(day, wanted, folder, "--warehouse", warehouse)
    return report


def defined(day: Day, folder: Path) -> duckdb.DuckDBPyConnection:
    """A database with the day's raw relations and all that the definition makes of them."""
    connection = duckdb.connect()
    connection.create_function("clean_text", clean_text, ["VARCHAR"], "VARCHAR")
    connection.create_function("week_of", week_of, ["BIGINT", "BIGINT"], "BIGINT")
    connection.execute(RATIO)
    connection.execute("CREATE SCHEMA raw")
    for source, time in SOURCES.items():
        # Parquet has no timestamps in seconds: they are written as whole numbers.
        columns = f"* REPLACE (make_timestamp({time} * 1000000) AS {time})" if time else "*"
        connection.execute(f"CREATE VIEW raw.{source} AS SELECT {columns} FROM '{folder}/raw.{source}.parquet'")
    if day.scores:
        connection.execute(f"CREATE VIEW given_scores AS FROM read_csv('{day.scores}')")
    else:
        connection.execute(f"CREATE TABLE document_scores AS FROM '{folder}/document_scores.parquet'")
        connection.execute(REPUTATION)
    for name, statement in read_definition(day.scores is not None).items():
        try:
            sql = f"CREATE TABLE {name} AS {statement.sql}"
            connection.execute(sql, whole_numbers(statement.parameters(day.parameters())))
        except duckdb.Error as error:
            sys.exit(f"{statement.path}: {error}")
        if statement.key:
            twice = f"SELECT {statement.key} FROM {name} GROUP BY ALL HAVING count(*) > 1"
            if row := connection.execute(twice).fetchone():
                sys.exit(f"{statement.path}: the key {statement.key} is not unique: {row}")
    return connection


def whole_numbers(values: dict[str, int]) -> dict[str, duckdb.Value]:
    """As the program binds them: of 64 bits, whatever they are."""
    return {name: duckdb.Value(value, "BIGINT") for name, value in values.items()}


def defined_in_program(program: Program, day: Day, folder: Path, names: list[str]) -> None:
    """What the definition makes of the day in the program's engine, as Parquet files `engine.<relation>`."""
    statements = [
        "CREATE EXTERNAL TABLE given_scores (user_id BIGINT, pred DOUBLE) STORED AS CSV "
        f"LOCATION '{day.scores}' OPTIONS ('format.has_header' 'true');"
    ]
    for name, statement in read_definition(True).items():
        sql = without_comments(statement.sql)
        for parameter, value in statement.parameters(day.parameters()).items():
            sql = re.sub(rf"\${parameter}\b", str(value), sql)
        statements.append(f"CREATE OR REPLACE TABLE {name} AS {sql};\n")
    program.export(day, {f"engine.{name}": f"SELECT * FROM {name}" for name in names}, folder,
                   before="\n".join(statements))


# Comparing.


def fail(what: str, *rows: tuple) -> NoReturn:
    print(f"DIFFERS {what}")
    for row in rows:
        print(" ", *row)
    sys.exit(1)


def compare(connection: duckdb.DuckDBPyConnection, what: str, relation: str, expected: str) -> None:
    """Compares all rows of a relation with those expected, and its columns' names and types."""
    columns, wanted = (
        [column[:2] for column in connection.execute(f"DESCRIBE FROM {name}").fetchall()]
        for name in (relation, expected)
    )
    if columns != wanted:
        fail(f"{what}: its columns, then the expected ones", columns, wanted)
    rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()[0]
    if rows == 0:
        fail(f"{what}: there are no rows to compare")
    different = connection.execute(f"""
        SELECT 'found:' AS side, * FROM (FROM {relation} EXCEPT ALL FROM {expected})
        UNION ALL
        SELECT 'expected:', * FROM (FROM {expected} EXCEPT ALL FROM {relation})
        ORDER BY ALL DESC""").fetchmany(10)
    if different:
        fail(what, *different)
    print(f"same    {what}: {rows} rows")


def compare_counts(what: str, found: dict, expected: dict) -> None:
    """Compares counts by name, where one that is missing is 0."""
    names = sorted(found | expected)
    different = [name for name in names if found.get(name, 0) != expected.get(name, 0)]
    if different or not found:
        rows = [(name, found.get(name, 0), expected.get(name, 0)) for name in different]
        fail(f"{what}: name, found, expected", *rows)
    print(f"same    {what}: {len(found)} counts")


def compare_report(connection: duckdb.DuckDBPyConnection, day: Day, report: dict) -> None:
    """Compares the accounts of the sources and what became of the candidates."""
    expected = {}
    for account in report["sources"]:
        fates = {"used": account["used"], **account["left_out"]}
        assert account["read"] == sum(fates.values()), account
        expected |= {(account["source"], fate): records for fate, records in fates.items()}
    found = {}
    for source in ["engagement", "user"] + ([] if day.scores else ["message"]):
        rows = connection.execute(f"SELECT source, coalesce(left_out, 'used'), records FROM {source}_accounts")
        found |= {(source, fate): records for source, fate, records in rows.fetchall()}
    compare_counts(f"{day.name}: accounts", found, expected)

    found = dict(connection.execute("SELECT name, number FROM tallies").fetchall())
    count = "SELECT count(DISTINCT user_id) FROM top_connections"
    found["users_with_connections"] = connection.execute(count).fetchone()[0]
    if not day.scores:
        found["weekly_documents"] = connection.execute("SELECT count(*) FROM weekly_messages").fetchone()[0]
    quarantined = "SELECT count(*) FROM quarantine" + (" WHERE source <> 'message'" if day.scores else "")
    found["quarantined"] = connection.execute(quarantined).fetchone()[0]
    found["suspended_users"] = connection.execute("SELECT count(*) FROM suspended_users").fetchone()[0]
    # How many columns the files have is no matter of records.
    counts = {name: count for name, count in report["counts"].items() if not name.startswith("columns_")}
    compare_counts(f"{day.name}: counts of the report", found, counts)


def compare_day(program: Program, day: Day, folder: Path) -> duckdb.DuckDBPyConnection:
    """Compares what the definition makes of the day with what the program makes of it."""
    folder.mkdir()
    started = monotonic()
    report = program_results(program, day, folder)
    read = monotonic()
    connection = defined(day, folder)
    print(f"{day.name}: program {read - started:.1f} s, definition {monotonic() - read:.1f} s")
    for name in TABLES + VIEWS:
        compare(connection, f"{day.name}: {name}", name, f"'{folder}/{name}.parquet'")
    compare_report(connection, day, report)
    return connection


def compare_golden_documents(connection: duckdb.DuckDBPyConnection) -> None:
    """Compares with documents that share nothing with the program."""
    file = GOLDEN / "expected" / "weekly_messages.csv"
    connection.execute(f"""
        CREATE VIEW expected AS SELECT coalesce(COLUMNS(*), '') FROM read_csv('{file}', all_varchar = true)""")
    connection.execute("CREATE VIEW documents AS SELECT COLUMNS(* EXCLUDE messages)::VARCHAR FROM weekly_messages")
    compare(connection, "golden: weekly_messages as expected", "documents", "expected")


def compare_golden(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Compares with results that share nothing with the program; their last column, a number, holds to a millionth."""
    connection.execute(f"CREATE TABLE golden_{name} AS FROM read_csv('{GOLDEN}/expected/{name}.csv')")
    *keys, number = [column[0] for column in connection.execute(f"DESCRIBE golden_{name}").fetchall()]
    different = connection.execute(f"""
        SELECT {", ".join(keys)}, found.{number}, golden.{number}
        FROM {name} AS found FULL JOIN golden_{name} AS golden USING ({", ".join(keys)})
        WHERE NOT coalesce(abs(found.{number} - golden.{number}) <= 0.000001, false)
        ORDER BY ALL""").fetchmany(10)
    if different:
        fail(f"golden: {name}: ids, then the number and the expected one", *different)
    print(f"same    golden: {name}: as expected")


def count_ties(connection: duckdb.DuckDBPyConnection, relation: str, by: str) -> int:
    """How many rows of the relation the id alone ranks."""
    ties = f"SELECT coalesce(sum(rows - 1), 0) FROM (SELECT count(*) AS rows FROM {relation} GROUP BY user_id, {by})"
    return int(connection.execute(ties).fetchone()[0])


def main() -> None:
    program = Program(sys.argv[1])
    check_clean_text()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        golden(program, place)
        generated(program, place)
        hard(program, place)


def golden(program: Program, place: Path) -> None:
    """The golden day, and that its definition gives the same rows in the program's engine."""
    as_of = datetime(2019, 10, 2, tzinfo=timezone.utc)
    connection = compare_day(program, Day("golden", GOLDEN / "input", as_of), place / "golden")
    compare_golden_documents(connection)

    day = Day("golden with given scores", GOLDEN / "input", as_of, GOLDEN / "pred.csv")
    folder = place / "given"
    connection = compare_day(program, day, folder)
    for name in ["closest_connections", "recommendations", "rec_reasons"]:
        compare_golden(connection, name)
    names = list(read_definition(given_scores=True))
    defined_in_program(program, day, folder, names)
    for name in names:
        compare(connection, f"golden in the program's engine: {name}", name, f"'{folder}/engine.{name}.parquet'")


def generated(program: Program, place: Path) -> None:
    """A day of a million engagements."""
    exports = place / "generated"
    program.call("generate", "--out", exports, "--users", 30_000, "--engagements", 1_000_000, "--messages", 50_000,
                 "--dirty")
    compare_day(program, Day("generated", exports, GENERATED), place / "of generated")


def hard(program: Program, place: Path) -> None:
    """A day with many ties, and other parameters."""
    exports, scores = place / "hard", place / "few.csv"
    program.call("generate", "--out", exports, "--users", 10_000, "--engagements", 300_000, "--messages", 5_000,
                 "--ties", "loose", "--seed", 2, "--dirty")
    move_to_midnight(exports)
    repeat_messages(exports / "st_messages.data")
    write_few_scores(exports, scores)
    options = {"--closest": "20", "--recommendations": "7", "--min-reputation": "0.3", "--lookback-days": "60"}
    connection = compare_day(program, Day("hard", exports, GENERATED, scores, options), place / "of hard")
    for relation, by in [("connections", "weight"), ("scored_candidates", "score")]:
        ties = count_ties(connection, relation, by)
        if ties < 1_000:
            fail(f"hard: {relation}: only {ties} rows have the {by} of another of the user")
        print(f"hard: {relation}: {ties} rows have the {by} of another of the user")


if __name__ == "__main__":
    main()
