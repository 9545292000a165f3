//! Making the tables, taking them back, and who may do what.

use super::{Days, STORED, Server, run};
use crate::support::{AS_OF, Outcome, Place};

#[test]
fn tables_come_and_go_by_number() {
    let server = Server::empty(&[]);
    let place = Place::golden();
    let not_ready = Outcome::of(&mut run(&place, &server.url(), AS_OF));
    not_ready
        .exits(1)
        .says(&["version 0", "graph-recs migrate"]);
    server.check().exits(1).says(&["graph-recs migrate"]);

    assert!(
        server
            .migrate(&[])
            .exits(0)
            .stdout
            .contains("version 2 now")
    );
    server.check().exits(1).says(&["no run yet"]);
    Outcome::of(&mut run(&place, &server.url(), AS_OF)).exits(0);
    let seen = server.seen();
    // Again: nothing happens to the rows.
    assert!(
        server
            .migrate(&[])
            .exits(0)
            .stdout
            .contains("version 2 already")
    );
    assert_eq!(server.seen(), seen);

    server.migrate(&["--to", "1"]).exits(0);
    Outcome::of(&mut run(&place, &server.url(), AS_OF))
        .exits(1)
        .says(&["version 1", "graph-recs migrate"]);
    server.migrate(&["--to", "0"]).exits(0);
    let left = "SELECT count(*) FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid
                WHERE nspname LIKE 'graph_recs%' AND relkind IN ('r', 'v') AND relname <> 'migrations'";
    assert_eq!(server.ask(left), "0");
    server.migrate(&[]).exits(0);
    Outcome::of(&mut run(&place, &server.url(), AS_OF)).exits(0);
    assert_eq!(server.seen(), seen);
    server.migrate(&["--to", "3"]).exits(2);
}

#[test]
fn every_table_and_column_is_described() {
    let server = Server::start();
    let undescribed = "SELECT relname, attname FROM pg_class
        JOIN pg_namespace ON relnamespace = pg_namespace.oid AND nspname = 'graph_recs'
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
        WHERE relkind IN ('r', 'v') AND relname <> 'current_run'
          AND NOT (relname LIKE '%_by_run' AND attname = 'run_id')
          AND (col_description(pg_class.oid, attnum) IS NULL OR obj_description(pg_class.oid) IS NULL)";
    assert_eq!(server.ask(undescribed), "");
    let rank = "SELECT col_description('graph_recs.recommendations'::regclass, 3)";
    assert!(server.ask(rank).starts_with("1 for the best"));
}

#[test]
fn a_reader_reads_and_no_more() {
    let days = Days::new();
    let server = &days.server;
    server.ask("CREATE ROLE service LOGIN; GRANT graph_recs_reader TO service");
    let as_service = |sql: &str| {
        let mut psql = server.psql();
        psql.args(["--command", &format!("SET ROLE service; {sql}")]);
        Outcome::of(&mut psql)
    };
    for table in STORED
        .into_iter()
        .chain(["runs", "current_run", "quality_results"])
    {
        let rows = as_service(&format!("SELECT count(*) > 0 FROM graph_recs.{table}")).exits(0);
        assert_eq!(rows.stdout.trim(), "t", "{table}");
    }
    for refused in [
        "DELETE FROM graph_recs.runs",
        "UPDATE graph_recs.runs SET slot = 1",
        "INSERT INTO graph_recs.quality_results DEFAULT VALUES",
        "SELECT * FROM graph_recs_store.recommendations_0",
        "TRUNCATE graph_recs_store.recommendations_0",
        "CREATE TABLE graph_recs.mine (x int)",
        "DELETE FROM graph_recs.recommendations",
    ] {
        let outcome = as_service(refused);
        assert_ne!(outcome.code, Some(0), "{refused}");
        assert!(
            outcome.stderr.contains("permission denied")
                || outcome.stderr.contains("cannot delete from view"),
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(server.seen(), days.first_seen);
}
