//! Settings of server, database and role, as those who look after databases make them: none matters.

use super::{Days, NEXT_AS_OF, STORED, Server, doctor, rollback, run};
use crate::support::{AS_OF, Outcome, Place, program};

/// Settings for the database and the role; the names of both are put in.
const SETTINGS: &str = "
    ALTER DATABASE graph_recs SET default_transaction_isolation = 'serializable';
    ALTER DATABASE graph_recs SET default_transaction_deferrable = on;
    ALTER DATABASE graph_recs SET lock_timeout = '30ms';
    ALTER DATABASE graph_recs SET search_path = '';
    ALTER DATABASE graph_recs SET TimeZone = 'Asia/Kathmandu';
    ALTER DATABASE graph_recs SET DateStyle = 'German';
    ALTER DATABASE graph_recs SET IntervalStyle = 'sql_standard';
    ALTER DATABASE graph_recs SET standard_conforming_strings = off;
    ALTER DATABASE graph_recs SET client_encoding = 'LATIN1';
    ALTER DATABASE graph_recs SET synchronous_commit = off;
    ALTER DATABASE graph_recs SET session_replication_role = 'replica';
    ALTER DATABASE graph_recs SET row_security = off;
    ALTER ROLE graph_recs SET statement_timeout = '1s';
    ALTER ROLE graph_recs SET idle_in_transaction_session_timeout = '500ms';
    ALTER ROLE graph_recs SET idle_session_timeout = '5s';
    ALTER ROLE graph_recs SET search_path = 'theirs, pg_catalog';
    ALTER ROLE graph_recs SET role = 'theirs';
    ALTER ROLE graph_recs SET default_tablespace = 'theirs';
    ALTER ROLE graph_recs SET bytea_output = 'escape';
    ALTER ROLE graph_recs SET extra_float_digits = -15;
    ALTER ROLE graph_recs SET transform_null_equals = on;
    ALTER ROLE graph_recs SET quote_all_identifiers = on;
    ALTER ROLE graph_recs SET check_function_bodies = off;
    ALTER ROLE graph_recs SET enable_indexscan = off;
    ALTER ROLE graph_recs SET maintenance_work_mem = '1MB';
    ALTER ROLE graph_recs SET work_mem = '64kB';
    ALTER ROLE graph_recs SET vacuum_cost_delay = '100ms';
    ALTER ROLE graph_recs SET jit_above_cost = 0;";

/// A server whose settings are not the usual ones, and functions that lie in wait for those who look for theirs there.
fn set(server: &Server) {
    let folder = server.path("socket").join("theirs");
    std::fs::create_dir(&folder).unwrap();
    let owner = std::process::Command::new("chown")
        .arg("--reference")
        .arg(server.path("data"))
        .arg(&folder)
        .status();
    assert!(owner.unwrap().success());
    server.ask(&format!(
        "CREATE TABLESPACE theirs LOCATION '{}'",
        folder.display()
    ));
    server.ask(
        "CREATE ROLE theirs; GRANT theirs TO graph_recs; CREATE SCHEMA theirs; GRANT USAGE ON SCHEMA theirs TO PUBLIC;
         CREATE FUNCTION theirs.count(integer) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
         CREATE FUNCTION theirs.now() RETURNS timestamptz LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'theirs was asked'; END $$",
    );
    server.ask(SETTINGS);
}

#[test]
fn settings_of_server_database_and_role_do_not_matter() {
    let server = Server::empty(&["default_transaction_isolation=repeatable read"]);
    set(&server);
    server.migrate(&[]).exits(0);
    let days = Days::of(server);
    let server = &days.server;
    let newest = Outcome::of(&mut days.next(&server.url())).exits(0).run_id();
    // Directly, and through a pooler, whose sessions go from one client to the next.
    let bouncer = server.bouncer();
    for url in [server.url(), bouncer] {
        Outcome::of(&mut doctor(&url)).exits(0);
        Outcome::of(&mut rollback(&days.place, &url, &days.first)).exits(0);
        assert_eq!(server.seen(), days.first_seen);
        Outcome::of(&mut rollback(&days.place, &url, &newest)).exits(0);
        assert!(server.seen().starts_with(&newest));
        for command in ["check", "migrate"] {
            let mut program = program();
            program.arg(command).env("GRAPH_RECS_DATABASE_URL", &url);
            Outcome::of(&mut program).exits(0);
        }
    }
    Outcome::of(&mut rollback(&days.place, &server.url(), &days.first)).exits(0);
    // The tables are the user's own, in the usual place, with their indexes, and their times are right.
    assert_eq!(
        server.ask(
            "SELECT DISTINCT pg_get_userbyid(relowner), reltablespace FROM pg_class
             WHERE relnamespace = 'graph_recs_store'::regnamespace AND relkind IN ('r', 'i', 'p')"
        ),
        "graph_recs|0"
    );
    let indexes = "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                   WHERE indisvalid AND indisunique AND relname ~ '_[01]_key$'";
    assert_eq!(server.ask(indexes), (2 * STORED.len()).to_string());
    let times = format!("SELECT bool_and(updated_at = '{AS_OF}') FROM graph_recs.recommendations");
    assert_eq!(server.ask(&times), "t");
    server.migrate(&["--to", "0"]).exits(0);
}

#[test]
fn who_comes_as_a_role_of_its_own_works_as_the_owner() {
    // As services that give out passwords for a day do it: each one a new role, set to the one that owns.
    let server = Server::empty(&[]);
    server.ask(
        "CREATE ROLE owns CREATEROLE; GRANT CREATE ON DATABASE graph_recs TO owns;
         CREATE ROLE monday LOGIN NOINHERIT PASSWORD 'not-to-be-shown' IN ROLE owns; ALTER ROLE monday SET role = owns;
         CREATE ROLE tuesday LOGIN NOINHERIT PASSWORD 'not-to-be-shown' IN ROLE owns",
    );
    let place = Place::golden();
    let url = |user: &str| server.url().replace("graph_recs:", &format!("{user}:"));
    let mut migrate = program();
    migrate
        .arg("migrate")
        .env("GRAPH_RECS_DATABASE_URL", url("monday"));
    Outcome::of(&mut migrate).exits(0);
    Outcome::of(&mut doctor(&url("monday"))).exits(0);
    Outcome::of(&mut run(&place, &url("monday"), AS_OF)).exits(0);
    server.ask("DROP ROLE monday");
    Outcome::of(&mut run(&place, &url("tuesday"), NEXT_AS_OF)).exits(0);
    server.check().exits(1).says(&["refuses the user a right"]);
    server.ask("DROP ROLE tuesday");
}
