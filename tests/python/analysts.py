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
    return rows


def with_sqlalchemy():
    engine = sa.create_engine(URL.replace("postgresql:", "postgresql+psycopg:"))
    inspector = sa.inspect(engine)
    tables = inspector.get_table_names(schema="graph_recs")
    assert sorted(tables) == ["closest_connections", "rec_reasons", "recommendations", "reputation_scores"], tables
    assert "drift" in inspector.get_view_names(schema="graph_recs")
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text(QUERY))]
        frame = pd.read_sql(sa.text("SELECT * FROM coverage"), connection)
    assert frame["users_with_recommendations"][0] == len({row[0] for row in rows}), frame
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
            assert table.schema.field("score").type == pa.decimal128(20, 8), table.schema
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
