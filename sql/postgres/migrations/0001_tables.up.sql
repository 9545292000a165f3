-- What readers see is the schema graph_recs: views of the current run, of each run that is still there, and the runs.
-- The rows lie in graph_recs_store, in two slots of three tables. A run is loaded into the slot that is not current,
-- and becomes current by its row in graph_recs.runs: no reader ever waits for that.
CREATE SCHEMA graph_recs;
COMMENT ON SCHEMA graph_recs IS 'Whom each user should follow, and why';
COMMENT ON SCHEMA graph_recs_store IS 'Where the rows of graph_recs lie; read them through the views in graph_recs';

CREATE TABLE graph_recs.runs (
    publication  bigint      PRIMARY KEY,
    run_id       text        NOT NULL,
    as_of        timestamptz NOT NULL,
    published_at timestamptz NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('publish', 'rollback')),
    slot         smallint    UNIQUE CHECK (slot IN (0, 1)),
    totals       jsonb       NOT NULL
);
COMMENT ON TABLE graph_recs.runs IS 'The publications, one row each; the last one is the current run';
COMMENT ON COLUMN graph_recs.runs.publication IS 'Counts from 1';
COMMENT ON COLUMN graph_recs.runs.run_id IS 'The run that became current';
COMMENT ON COLUMN graph_recs.runs.as_of IS 'The run''s as-of, which is updated_at of its rows';
COMMENT ON COLUMN graph_recs.runs.published_at IS 'When it was published here';
COMMENT ON COLUMN graph_recs.runs.kind IS 'publish or rollback';
COMMENT ON COLUMN graph_recs.runs.slot IS 'Which slot holds the rows; null once another run took their place';
COMMENT ON COLUMN graph_recs.runs.totals IS 'Rows of each table and the sum of each of its columns, as the warehouse has them';

CREATE TABLE graph_recs.quality_results (
    run_id     text        NOT NULL,
    checked_at timestamptz NOT NULL,
    checked    text        NOT NULL CHECK (checked IN ('warehouse', 'database')),
    name       text        NOT NULL,
    severity   text        NOT NULL CHECK (severity IN ('error', 'warn')),
    says       text        NOT NULL,
    count      bigint      NOT NULL,
    PRIMARY KEY (run_id, checked_at, checked, name)
);
COMMENT ON TABLE graph_recs.quality_results IS 'What the quality checks found, one row a check and time';
COMMENT ON COLUMN graph_recs.quality_results.run_id IS 'The run that was checked';
COMMENT ON COLUMN graph_recs.quality_results.checked_at IS 'When';
COMMENT ON COLUMN graph_recs.quality_results.checked IS 'warehouse: the run''s files before it was published; database: what was loaded here';
COMMENT ON COLUMN graph_recs.quality_results.name IS 'The check: its file in sql/checks or sql/postgres/checks';
COMMENT ON COLUMN graph_recs.quality_results.severity IS 'error: a count above 0 keeps the run from being published';
COMMENT ON COLUMN graph_recs.quality_results.says IS 'What must hold';
COMMENT ON COLUMN graph_recs.quality_results.count IS 'How often it does not';

CREATE VIEW graph_recs.current_run AS
SELECT publication, run_id, as_of, published_at, kind
FROM graph_recs.runs
ORDER BY publication DESC
LIMIT 1;
COMMENT ON VIEW graph_recs.current_run IS 'The run that closest_connections, recommendations and rec_reasons show; one row, or none at first';

-- Who loads a slot writes its mark there; loads that were given up find another mark and end.
CREATE TABLE graph_recs_store.slots (
    slot  smallint PRIMARY KEY CHECK (slot IN (0, 1)),
    claim text
);
INSERT INTO graph_recs_store.slots (slot) VALUES (0), (1);

-- The two slots of a table are its partitions, attached while they hold a run: what is being loaded is no part of any
-- reader's plan. Rows are written once and leave by TRUNCATE, so there is nothing to vacuum; the load makes the
-- index of the key and analyses.
CREATE TABLE graph_recs_store.closest_connections (
    user_id            integer        NOT NULL,
    closest_connection integer        NOT NULL,
    rank               integer        NOT NULL,
    slot               smallint       NOT NULL,
    weight             numeric(18, 8) NOT NULL,
    created_at         timestamptz    NOT NULL,
    updated_at         timestamptz    NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE graph_recs_store.closest_connections_0
    (LIKE graph_recs_store.closest_connections, CHECK (slot = 0)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.closest_connections_0 ALTER slot SET DEFAULT 0;
CREATE TABLE graph_recs_store.closest_connections_1
    (LIKE graph_recs_store.closest_connections, CHECK (slot = 1)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.closest_connections_1 ALTER slot SET DEFAULT 1;

CREATE TABLE graph_recs_store.recommendations (
    user_id    integer        NOT NULL,
    rec_id     integer        NOT NULL,
    rank       integer        NOT NULL,
    slot       smallint       NOT NULL,
    score      numeric(20, 8) NOT NULL,
    created_at timestamptz    NOT NULL,
    updated_at timestamptz    NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE graph_recs_store.recommendations_0
    (LIKE graph_recs_store.recommendations, CHECK (slot = 0)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.recommendations_0 ALTER slot SET DEFAULT 0;
CREATE TABLE graph_recs_store.recommendations_1
    (LIKE graph_recs_store.recommendations, CHECK (slot = 1)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.recommendations_1 ALTER slot SET DEFAULT 1;

CREATE TABLE graph_recs_store.rec_reasons (
    user_id    integer        NOT NULL,
    rec_id     integer        NOT NULL,
    reason_id  integer        NOT NULL,
    slot       smallint       NOT NULL,
    weight     numeric(18, 8) NOT NULL,
    created_at timestamptz    NOT NULL,
    updated_at timestamptz    NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE graph_recs_store.rec_reasons_0
    (LIKE graph_recs_store.rec_reasons, CHECK (slot = 0)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.rec_reasons_0 ALTER slot SET DEFAULT 0;
CREATE TABLE graph_recs_store.rec_reasons_1
    (LIKE graph_recs_store.rec_reasons, CHECK (slot = 1)) WITH (autovacuum_enabled = false);
ALTER TABLE graph_recs_store.rec_reasons_1 ALTER slot SET DEFAULT 1;

-- The current run. A statement sees one version of graph_recs.runs, so it sees one run in all three; the server looks
-- up the slot once and opens no other partition.
CREATE VIEW graph_recs.closest_connections AS
SELECT user_id, closest_connection, weight, rank, created_at, updated_at
FROM graph_recs_store.closest_connections
WHERE slot = (SELECT slot FROM graph_recs.runs ORDER BY publication DESC LIMIT 1);

CREATE VIEW graph_recs.recommendations AS
SELECT user_id, rec_id, rank, score, created_at, updated_at
FROM graph_recs_store.recommendations
WHERE slot = (SELECT slot FROM graph_recs.runs ORDER BY publication DESC LIMIT 1);

CREATE VIEW graph_recs.rec_reasons AS
SELECT user_id, rec_id, reason_id, weight, created_at, updated_at
FROM graph_recs_store.rec_reasons
WHERE slot = (SELECT slot FROM graph_recs.runs ORDER BY publication DESC LIMIT 1);

-- The runs that are still there, by their names: for readers whose statements belong together.
CREATE VIEW graph_recs.closest_connections_by_run AS
SELECT run_id, user_id, closest_connection, weight, rank, created_at, updated_at
FROM graph_recs_store.closest_connections
JOIN graph_recs.runs USING (slot);

CREATE VIEW graph_recs.recommendations_by_run AS
SELECT run_id, user_id, rec_id, rank, score, created_at, updated_at
FROM graph_recs_store.recommendations
JOIN graph_recs.runs USING (slot);

CREATE VIEW graph_recs.rec_reasons_by_run AS
SELECT run_id, user_id, rec_id, reason_id, weight, created_at, updated_at
FROM graph_recs_store.rec_reasons
JOIN graph_recs.runs USING (slot);
