"""Asks the service for analysts from the tools that they have: psycopg, SQLAlchemy, pandas, ADBC for PostgreSQL and for
Arrow Flight SQL.

    python analysts.py HOST PORT FLIGHT_PORT USER PASSWORD

Fails when they disagree with each other, or a type is another than PostgreSQL's or Arrow's.
"""

import datetime
import decimal
import sys
from urllib.parse import quote

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pandas as pd
import psycopg
import pyarrow as pa
import sqlalchemy as sa

host, port, flight_port, user, password = sys.argv[1:]
QUERY = "SELECT user_id, rec_id, rank, score FROM recommendations ORDER BY user_id, rank"
URL = f"postgresql://{user}:{quote(password)}@{host}:{port}/graph_recs"


def with_psycopg():
    with psycopg.connect(URL, autocommit=True) as connection:
        rows = connection.execute(QUERY).fetchall()
        assert isinstance(rows[0][3], decimal.Decimal), rows[0]
        first = rows[0][0]
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            own = cursor.execute("SELECT * FROM recommendations WHERE user_id = %s ORDER BY rank", (first,)).fetchall()
            assert own == [row for row in rows if row[0] == first], (binary, own)
            values = cursor.execute(
                "SELECT 1::smallint, 2::bigint, 0.5::double precision, 1.25::decimal(10, 2), true, 'ä', NULL::int, "
                "timestamptz '2019-10-01 12:00:00Z', date '2019-10-01', ARRAY[1, 2]"
            ).fetchone()
            at = datetime.datetime(2019, 10, 1, 12, tzinfo=datetime.timezone.utc)
            wanted = (1, 2, 0.5, decimal.Decimal("1.25"), True, "ä", None, at, datetime.date(2019, 10, 1), [1, 2])
            assert values == wanted, (binary, values)
            many = cursor.execute("SELECT count(*) FROM recommendations WHERE score > %s", (decimal.Decimal("0.5"),))
            assert many.fetchone()[0] == sum(row[3] > decimal.Decimal("0.5") for row in rows), binary
        copied = b""
        with connection.cursor().copy(f"COPY ({QUERY}) TO STDOUT") as copy:
            for part in copy:
                copied += bytes(part)
        assert copied.decode().splitlines() == ["\t".join(map(str, row)) for row in rows]
        try:
            connection.execute("DELETE FROM recommendations")
        except psycopg.errors.ReadOnlySqlTransaction:
            pass
        except psycopg.errors.FeatureNotSupported:
            pass
        else:
            raise AssertionError("DELETE was let through")
        # Many rows in batches, as a cursor of the client.
        assert len(connection.execute("SELECT value FROM generate_series(1, 100000)").fetchall()) == 100000
    with psycopg.connect(URL) as connection, connection.transaction():
        assert connection.execute("SELECT count(*) FROM recommendations").fetchone()[0] == len(rows)
        # Cursors of the server: two at a time, in portions, with parameters, and one given up half-way.
        with connection.cursor(name="all") as every, connection.cursor(name="first") as first_rank:
            every.itersize = 1000
            every.execute(QUERY)
            first_rank.execute("SELECT user_id FROM recommendations WHERE rank = %s ORDER BY user_id", (1,))
            assert first_rank.fetchone()[0] == first
            assert every.description[3].name == "score", every.description
            assert [row for row in every] == rows
        with connection.cursor(name="again") as again:
            again.execute(QUERY)
            assert again.fetchmany(3) == rows[:3] and again.fetchmany(2) == rows[3:5]
    with psycopg.connect(URL, autocommit=True) as connection:
        try:
            connection.execute("DECLARE lonely CURSOR FOR SELECT 1")
        except psycopg.errors.NoActiveSqlTransaction:
            pass
        else:
            raise AssertionError("a cursor without a transaction")
        connection.execute("DECLARE kept CURSOR WITH HOLD FOR SELECT value FROM generate_series(1, 5) ORDER BY 1")
        assert connection.execute("FETCH 2 FROM kept").fetchall() == [(1,), (2,)]
        assert connection.execute("FETCH ALL FROM kept").fetchall() == [(3,), (4,), (5,)]
        assert connection.execute("FETCH NEXT FROM kept").fetchall() == []
        connection.execute("CLOSE kept")
        try:
            connection.execute("FETCH 1 FROM kept")
        except psycopg.errors.InvalidCursorName:
            pass
        else:
            raise AssertionError("a closed cursor gives rows")
    return rows


def with_sqlalchemy():
    engine = sa.create_engine(URL.replace("postgresql:", "postgresql+psycopg:"))
    inspector = sa.inspect(engine)
    tables = inspector.get_table_names(schema="graph_recs")
    assert sorted(tables) == ["closest_connections", "rec_reasons", "recommendations", "reputation_scores"], tables
    assert "drift" in inspector.get_view_names(schema="graph_recs")
    assert inspector.get_schema_names() == ["graph_recs", "graph_recs_history", "information_schema", "ops"]
    assert inspector.get_table_comment("recommendations", schema="graph_recs")["text"]
    everything = sa.MetaData()
    everything.reflect(engine, schema="graph_recs", views=True)
    table = everything.tables["graph_recs.recommendations"]
    columns = {column.name: (str(column.type), column.nullable) for column in table.columns}
    integer = ("INTEGER", False)
    wanted = {"user_id": integer, "rec_id": integer, "rank": integer, "score": ("NUMERIC(18, 8)", False)}
    assert columns == wanted and all(column.comment for column in table.columns), columns
    with engine.connect() as connection:
        best = sa.select(table.c.user_id, sa.func.max(table.c.score)).where(table.c.rank <= 3).group_by(table.c.user_id)
        assert len(connection.execute(best).all()) == connection.execute(
            sa.select(sa.func.count(sa.distinct(table.c.user_id)))
        ).scalar()
        streamed = connection.execution_options(stream_results=True, yield_per=500).execute(sa.text(QUERY))
        portions = [len(portion) for portion in streamed.partitions(500)]
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text(QUERY))]
        frame = pd.read_sql(sa.text("SELECT * FROM coverage"), connection)
    assert frame["users_with_recommendations"][0] == len({row[0] for row in rows}), frame
    assert sum(portions) == len(rows) and max(portions) == min(500, len(rows)), portions
    return rows


def with_adbc_postgresql():
    with adbc_driver_postgresql.dbapi.connect(URL) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT user_id, rec_id, rank, CAST(score AS TEXT) AS score FROM recommendations ORDER BY user_id, rank")
        table = cursor.fetch_arrow_table()
    assert table.schema.field("user_id").type == pa.int32(), table.schema
    return [(r["user_id"], r["rec_id"], r["rank"], decimal.Decimal(r["score"])) for r in table.to_pylist()]


def with_adbc_flight():
    options = {"username": user, "password": password}
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{host}:{flight_port}", db_kwargs=options) as connection:
        with connection.cursor() as cursor:
            cursor.execute(QUERY)
            table = cursor.fetch_arrow_table()
            assert table.schema.field("score").type == pa.decimal128(18, 8), table.schema
            cursor.execute("SELECT count(*) AS n FROM recommendations WHERE user_id = $1", (table["user_id"][0].as_py(),))
            assert cursor.fetchone()[0] >= 1
            for refused in ("DROP TABLE recommendations", "SELECT * FROM raw.messages", "SELECT nothing"):
                try:
                    cursor.execute(refused)
                    cursor.fetchall()
                except adbc_driver_manager.Error:
                    pass
                else:
                    raise AssertionError(refused)
        names = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        schemas = {schema["db_schema_name"] for schema in names[0]["catalog_db_schemas"]}
        assert schemas == {"graph_recs", "graph_recs_history", "ops"}, schemas
    try:
        with adbc_driver_flightsql.dbapi.connect(
            f"grpc://{host}:{flight_port}", db_kwargs={"username": user, "password": "wrong"}
        ) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except adbc_driver_manager.Error as error:
        assert "authentication" in str(error).lower(), error
    else:
        raise AssertionError("a wrong password was let through")
    return [tuple(row.values()) for row in table.to_pylist()]


answers = {}
for ask in (with_psycopg, with_sqlalchemy, with_adbc_postgresql, with_adbc_flight):
    answers[ask.__name__] = ask()
    print(f"{ask.__name__}: {len(answers[ask.__name__])} recommendations")
assert len(answers["with_psycopg"]) > 0
for name, rows in answers.items():
    assert rows == answers["with_psycopg"], (name, rows[:2], answers["with_psycopg"][:2])
