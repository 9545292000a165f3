-- What every transaction of a publisher begins with, so that no setting of the server, the database or the role
-- changes what it does. The settings end with the transaction: a pooler may give the next one another session.
-- Parameters: $1 the publisher's mark, a lock that tells its transactions from those of others.
-- One row: whether the server is a standby, and whether the transaction can only read.
WITH store AS (
    SELECT nspowner FROM pg_namespace WHERE nspname = 'graph_recs_store'
),
settings AS MATERIALIZED (
    SELECT count(set_config(name, wanted, true))
    FROM (VALUES
        -- The server ends a transaction whose client is gone: while a statement runs, and between statements.
        ('client_connection_check_interval', '1s'),
        ('tcp_keepalives_idle', '30'),
        ('tcp_keepalives_interval', '10'),
        ('tcp_keepalives_count', '3'),
        ('transaction_timeout', '0'),
        ('vacuum_cost_delay', '0'),
        ('jit', 'off'),
        -- What statements mean, and where what they make comes to lie.
        ('search_path', 'pg_catalog, pg_temp'),
        ('standard_conforming_strings', 'on'),
        ('transform_null_equals', 'off'),
        ('DateStyle', 'ISO, YMD'),
        ('IntervalStyle', 'postgres'),
        ('TimeZone', 'UTC'),
        ('default_tablespace', ''),
        ('default_table_access_method', 'heap'),
        -- A run that was said to be current stays so when the server crashes.
        ('synchronous_commit',
         CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END),
        -- As the owner of the tables, when the user may be that; else as the user itself. Before there are tables also
        -- as the role that the user was set to, if that one may make them.
        ('role',
         CASE
             WHEN EXISTS (SELECT FROM store) THEN
                 coalesce((SELECT pg_get_userbyid(nspowner)
                           FROM store
                           JOIN pg_roles ON rolname = session_user
                           WHERE nspowner <> pg_roles.oid AND NOT rolsuper AND pg_has_role(session_user, nspowner, 'MEMBER')),
                          'none')
             WHEN has_database_privilege(current_user, current_database(), 'CREATE') THEN current_setting('role')
             ELSE 'none'
         END)
    ) AS wanted (name, wanted)
    -- Older servers know fewer of them.
    WHERE current_setting(name, true) IS NOT NULL
)
SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS read_only
FROM settings, pg_advisory_xact_lock_shared(1735550307, $1) AS mark
