//! What a publication leaves in the database, and what it leaves alone.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Days, NEXT_AS_OF, STORED, Server, run};
use crate::support::{AS_OF, Outcome, Place, program};

/// A table's rows as text, sorted, as the warehouse has them.
fn in_warehouse(place: &Place, run_id: &str, table: &str) -> Vec<String> {
    let sql = format!("SELECT * FROM runs.\"{run_id}\".{table}");
    let mut rows: Vec<String> = place.sql("warehouse", &sql)[1..]
        .iter()
        .map(|row| row.join("|"))
        .collect();
    rows.sort();
    rows
}

/// The same as the database has them.
fn in_database(server: &Server, table: &str) -> Vec<String> {
    let columns = match table {
        "closest_connections" => "user_id, closest_connection, weight, rank",
        "recommendations" => "user_id, rec_id, rank, score",
        _ => "user_id, rec_id, reason_id, weight",
    };
    let rows = server.ask(&format!("SELECT {columns} FROM graph_recs.{table}"));
    let mut rows: Vec<String> = rows.lines().map(String::from).collect();
    rows.sort();
    rows
}

#[test]
fn each_run_replaces_the_last_one_and_keeps_when_keys_first_appeared() {
    let days = Days::new();
    let server = &days.server;
    for table in STORED {
        let rows = in_database(server, table);
        assert!(rows.len() > 10_000, "{}", rows.len());
        assert!(
            rows == in_warehouse(&days.place, &days.first, table),
            "{table}"
        );
        let times = format!(
            "SELECT bool_and(created_at = '{AS_OF}' AND updated_at = '{AS_OF}') FROM graph_recs.{table}"
        );
        assert_eq!(server.ask(&times), "t", "{table}");
    }
    let keep = "CREATE TABLE kept AS SELECT user_id, rec_id FROM graph_recs.recommendations";
    server.ask(keep);

    let second = Outcome::of(&mut days.next(&server.url())).exits(0);
    let answer = second.json();
    assert_eq!(answer["database"]["outcome"], "published");
    for check in answer["database"]["checks"].as_array().unwrap() {
        assert_eq!(check["count"], 0, "{check}");
    }
    for table in STORED {
        let rows = in_warehouse(&days.place, &second.run_id(), table);
        assert!(in_database(server, table) == rows, "{table}");
        let times = format!("SELECT bool_and(updated_at = '{NEXT_AS_OF}') FROM graph_recs.{table}");
        assert_eq!(server.ask(&times), "t", "{table}");
    }
    // Of each kind there are some: keys that stayed, that are new, that are gone.
    let kinds = server.ask(&format!(
        "SELECT count(*) FILTER (WHERE kept.rec_id IS NOT NULL AND now.created_at = '{AS_OF}') > 20000,
                count(*) FILTER (WHERE kept.rec_id IS NULL AND now.created_at = '{NEXT_AS_OF}') > 0,
                count(*) FILTER (WHERE now.rec_id IS NULL) > 0,
                count(*) FILTER (WHERE (kept.rec_id IS NULL) <> (now.created_at = '{NEXT_AS_OF}') AND now.rec_id IS NOT NULL)
         FROM kept FULL JOIN graph_recs.recommendations AS now USING (user_id, rec_id)"
    ));
    assert_eq!(kinds, "t|t|t|0");
    // The earlier run is still there by its name, for readers whose statements belong together.
    let earlier = server.ask(&format!(
        "SELECT count(*) FROM graph_recs.recommendations_by_run WHERE run_id = '{}'",
        days.first
    ));
    assert_eq!(earlier, server.ask("SELECT count(*) FROM kept"));
    // The results of all checks, of the files and of what was loaded, are there for both runs.
    let results = server.ask(
        "SELECT checked, count(*), bool_and(count = 0 OR severity = 'warn') FROM graph_recs.quality_results
         GROUP BY checked ORDER BY checked",
    );
    assert_eq!(results, "database|6|t\nwarehouse|48|t");
    server.check().exits(0);
}

/// All that could have changed: where each row lies, by whom it was written, and what is noted of runs and checks.
fn traces(server: &Server) -> String {
    let mut rows = String::new();
    for table in STORED {
        for slot in [0, 1] {
            rows += &server.ask(&format!(
                "SELECT count(*), max(xmin::text::bigint), sum(hashtext(ctid::text))
                 FROM graph_recs_store.{table}_{slot}"
            ));
        }
    }
    rows + &server.ask("SELECT * FROM graph_recs.runs")
        + &server.ask("SELECT count(*) FROM graph_recs.quality_results")
}

#[test]
fn publishing_again_changes_nothing() {
    let days = Days::new();
    let before = traces(&days.server);
    let again = Outcome::of(&mut run(&days.place, &days.server.url(), AS_OF)).exits(0);
    assert_eq!(again.json()["database"]["outcome"], "already_current");
    assert_eq!(traces(&days.server), before);
}

#[test]
fn an_older_run_takes_over_by_rollback_only() {
    let days = Days::new();
    let server = &days.server;
    let url = server.url();
    let newest = days.finish();

    // Published before: nothing to do. Never published and older: refused.
    let again = Outcome::of(&mut run(&days.place, &url, AS_OF)).exits(0);
    assert_eq!(again.json()["database"]["outcome"], "published_before");
    let older = Outcome::of(&mut run(&days.place, &url, "2019-10-01T00:00:00Z"));
    older
        .exits(1)
        .says(&["older than", newest.split('|').next().unwrap(), "rollback"]);
    assert_eq!(server.seen(), newest);

    let rollback = |to: &str| {
        let mut command = program();
        command.args(["rollback", "--json", "--to", to, "--warehouse"]);
        command.arg(days.place.path("warehouse"));
        Outcome::of(command.env("GRAPH_RECS_DATABASE_URL", &url))
    };
    let back = rollback(&days.first).exits(0);
    assert_eq!(back.json()["database"]["outcome"], "published");
    assert_eq!(server.seen(), days.first_seen);
    assert_eq!(
        server.ask("SELECT kind FROM graph_recs.current_run"),
        "rollback"
    );
    // No key first appeared after it was last written, though the newer run came before.
    server.check().exits(0);
    let newest_id = newest.split('|').next().unwrap();
    rollback(newest_id).exits(0);
    assert_eq!(server.seen(), newest);
}

#[test]
fn of_two_publishers_one_wins() {
    let days = Days::new();
    let server = &days.server;
    // The same day in another warehouse, so that only the database keeps the two apart.
    let other = Place::golden();
    let hold = "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
                CREATE TRIGGER hold BEFORE INSERT ON graph_recs_store.rec_reasons_1
                    EXECUTE FUNCTION public.hold()";
    server.ask(hold);
    let barrier = server.session("SELECT pg_advisory_lock(42)");
    let winner = days
        .next(&server.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%rec_reasons_1%' AND wait_event_type = 'Lock')");
    let loser = Outcome::of(&mut run(&other, &server.url(), NEXT_AS_OF));
    loser.exits(5).says(&[
        "another publisher holds the lock",
        "user graph_recs, application graph-recs",
    ]);
    assert_eq!(server.seen(), days.first_seen);
    drop(barrier);
    let outcome = winner.wait_with_output().unwrap();
    assert!(outcome.status.success());
    // The other warehouse's run has another name, since its files are others; its time has come now.
    let late = Outcome::of(&mut run(&other, &server.url(), NEXT_AS_OF)).exits(0);
    assert_eq!(late.json()["database"]["outcome"], "published");
}

#[test]
fn what_is_loaded_is_checked_before_anybody_sees_it() {
    let days = Days::new();
    let server = &days.server;
    // A server that loses a row, changes a number, or writes an old time.
    for (body, failing) in [
        (
            "IF NEW.rank = 2 AND NEW.user_id % 7 = 0 THEN RETURN NULL; END IF; RETURN NEW;",
            "PostgreSQL took",
        ),
        ("NEW.score := NEW.score + 0.00000001; RETURN NEW;", "totals"),
        (
            "NEW.updated_at := NEW.updated_at - interval '25 hours'; RETURN NEW;",
            "updated_within_a_day",
        ),
    ] {
        server.ask(&format!(
            "CREATE OR REPLACE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             DROP TRIGGER IF EXISTS spoil ON graph_recs_store.recommendations_1;
             CREATE TRIGGER spoil BEFORE INSERT ON graph_recs_store.recommendations_1
                 FOR EACH ROW EXECUTE FUNCTION public.spoil()"
        ));
        let refused = Outcome::of(&mut days.next(&server.url()));
        let code = if failing == "PostgreSQL took" { 1 } else { 3 };
        refused.exits(code).says(&[failing]);
        assert_eq!(server.seen(), days.first_seen);
        // What was loaded is gone, what was found is kept.
        assert_eq!(
            server.ask("SELECT count(*) FROM graph_recs_store.recommendations_1"),
            "0"
        );
    }
    let kept = "SELECT name FROM graph_recs.quality_results WHERE count > 0 AND severity = 'error' ORDER BY checked_at";
    assert_eq!(server.ask(kept), "totals\nupdated_within_a_day");
    server.ask("DROP TRIGGER spoil ON graph_recs_store.recommendations_1");
    days.finish();

    // Later damage is found by `check`, each kind by its check.
    server.check().exits(0);
    for (damage, failing) in [
        (
            "DELETE FROM graph_recs_store.rec_reasons_1 WHERE user_id = (SELECT max(user_id) FROM graph_recs_store.rec_reasons_1)",
            "totals",
        ),
        (
            "ALTER TABLE graph_recs_store.recommendations ALTER score DROP NOT NULL;
          UPDATE graph_recs_store.recommendations_1 SET score = NULL WHERE rank = 3",
            "no_nulls",
        ),
        (
            "UPDATE graph_recs_store.closest_connections_1 SET created_at = created_at + interval '3 days'",
            "updated_within_a_day",
        ),
    ] {
        server.ask(damage);
        server.check().exits(3).says(&[failing]);
    }
}

#[test]
fn nothing_grows_with_the_number_of_runs() {
    let days = Days::new();
    let server = &days.server;
    days.finish();
    // The tables, their indexes, the system's tables: all that the database holds, checkpointed.
    let size = || -> u64 {
        server.ask("CHECKPOINT");
        server
            .ask("SELECT pg_database_size('graph_recs')")
            .parse()
            .unwrap()
    };
    let rollback = |to: &str| {
        let mut command = program();
        command.args(["rollback", "--to", to, "--warehouse"]);
        command.arg(days.place.path("warehouse"));
        Outcome::of(command.env("GRAPH_RECS_DATABASE_URL", server.url())).exits(0);
    };
    let second = server.ask("SELECT run_id FROM graph_recs.current_run");
    rollback(&days.first);
    let after_three = size();
    for _ in 0..5 {
        rollback(&second);
        rollback(&days.first);
    }
    let after_thirteen = size();
    assert!(
        after_thirteen < after_three + (1 << 20),
        "{after_three} bytes after 3 publications, {after_thirteen} after 13"
    );
    assert_eq!(server.ask("SELECT count(*) FROM graph_recs.runs"), "13");
    assert_eq!(server.seen(), days.first_seen);
}

/// Reads as a service does, again and again, until a file is there; fails when a lock is waited for a second,
/// half of what the publisher itself has to wait, or an answer is not of one run.
fn reader(server: &Server, stop: &std::path::Path) -> Command {
    let mut command = server.psql();
    command.env("PGOPTIONS", "-c lock_timeout=1s");
    let script = format!(
        "while [ ! -e {} ]; do echo \"SELECT 1 / (count(DISTINCT updated_at) = 1)::int FROM \
         (SELECT updated_at FROM graph_recs.recommendations WHERE user_id < 50 UNION ALL \
          SELECT updated_at FROM graph_recs.rec_reasons WHERE user_id < 50 UNION ALL \
          SELECT updated_at FROM graph_recs.closest_connections WHERE user_id < 50) AS seen;\"; done",
        stop.display()
    );
    let mut shell = Command::new("sh");
    let psql = format!("{script} | \"$0\" \"$@\"");
    shell
        .args(["-c", &psql])
        .arg("psql")
        .args(command.get_args());
    shell.env("PGOPTIONS", "-c lock_timeout=1s");
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn readers_neither_wait_nor_see_a_mixture() {
    let days = Days::new();
    let server = &days.server;
    let newest = days.finish();
    let second = newest.split('|').next().unwrap();
    let rollback = |to: &str| {
        let mut rollback = program();
        rollback
            .args(["rollback", "--to", to, "--warehouse"])
            .arg(days.place.path("warehouse"))
            .env("GRAPH_RECS_DATABASE_URL", server.url());
        rollback
    };
    let stop = days.place.path("stop");
    let readers: Vec<_> = (0..4)
        .map(|_| reader(server, &stop).spawn().unwrap())
        .collect();
    // A reader that stays for two seconds in a transaction: the publisher waits for it, the others don't.
    let stays = server.session("BEGIN; SELECT count(*) FROM graph_recs.recommendations");
    let publisher = rollback(&days.first)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server
        .wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%')");
    let waits = Instant::now();
    while waits.elapsed() < Duration::from_secs(2) {
        assert_eq!(server.seen(), newest);
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(stays);
    assert!(publisher.wait_with_output().unwrap().status.success());
    for _ in 0..3 {
        Outcome::of(&mut rollback(second)).exits(0);
        Outcome::of(&mut rollback(&days.first)).exits(0);
    }
    std::fs::write(&stop, "").unwrap();
    for reader in readers {
        let outcome = reader.wait_with_output().unwrap();
        let errors = String::from_utf8(outcome.stderr).unwrap();
        assert!(outcome.status.success() && errors.is_empty(), "{errors}");
        let answers = outcome.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert!(answers > 100, "only {answers} answers");
    }
}

#[test]
fn the_demo_fills_the_tables_and_the_readme_reads_them() {
    let server = Server::empty(&[]);
    let place = Place::new();
    let mut demo = program();
    demo.args([
        "demo",
        "--users",
        "300",
        "--engagements",
        "10000",
        "--messages",
        "2000",
        "--out",
    ]);
    demo.arg(place.path("demo"))
        .args(["--database-url", &server.url()]);
    let page = Outcome::of(&mut demo).exits(0).stdout;
    assert!(page.contains("is current in PostgreSQL"), "{page}");

    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let query = readme
        .split("```sql\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let user = server.ask("SELECT user_id FROM graph_recs.recommendations GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1");
    let rows = server.ask(&query.replace("user_id = 7", &format!("user_id = {user}")));
    let count = format!("SELECT count(*) FROM graph_recs.recommendations WHERE user_id = {user}");
    assert_eq!(rows.lines().count().to_string(), server.ask(&count));
    // rank, whom, score, and the reasons in braces
    for (index, row) in rows.lines().enumerate() {
        let fields: Vec<&str> = row.split('|').collect();
        assert_eq!(fields[0], (index + 1).to_string());
        assert!(fields[3].starts_with('{') && fields[3].len() > 2, "{row}");
    }
}
