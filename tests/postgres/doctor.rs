//! `doctor` tries what a run does: what it says, the run says, too, and ends with the same exit code.

use std::time::{Duration, Instant};

use super::{Days, Server, doctor, run};
use crate::support::{AS_OF, Outcome, Place};

/// Doctor and run fail alike, soon, with these words.
#[track_caller]
fn both_fail(days: &Days, url: &str, code: i32, words: &[&str]) {
    let started = Instant::now();
    let told = Outcome::of(&mut doctor(url)).exits(code);
    assert!(told.stdout.contains("PROBLEM"), "{}", told.stdout);
    told.says(words);
    Outcome::of(&mut days.next(url)).exits(code).says(words);
    // Nothing was tried again.
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(days.server.seen(), days.first_seen);
}

#[test]
fn a_standby_is_told_from_its_primary() {
    let days = Days::new();
    let server = &days.server;
    server.script("standby", &[]);
    let (primary, standby) = (server.url(), server.read("standby.url"));
    both_fail(&days, &standby, 1, &["is a standby", "primary"]);

    // Both in one URL, in either order: the primary is taken.
    let host = |url: &str| {
        url.split('@')
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    let both = |first: &str, second: &str, more: &str| {
        primary.replace(
            &host(&primary),
            &format!("{},{}", host(first), host(second)),
        ) + more
    };
    for (first, second, more) in [
        (&standby, &primary, "?target_session_attrs=read-write"),
        (&standby, &primary, ""),
        (
            &primary,
            &standby,
            "?target_session_attrs=primary&load_balance_hosts=random",
        ),
    ] {
        Outcome::of(&mut doctor(&both(first, second, more))).exits(0);
    }
    let all = both(&standby, &primary, "?target_session_attrs=read-write");
    let second = Outcome::of(&mut days.next(&all)).exits(0).run_id();
    assert!(server.seen().starts_with(&second));

    // The primary is gone and the standby takes its place.
    server.script("stop", &[]);
    Outcome::of(&mut doctor(&all))
        .exits(1)
        .says(&["is a standby"]);
    server.script("promote", &[]);
    Outcome::of(&mut doctor(&all)).exits(0);
    let back = Outcome::of(&mut super::rollback(&days.place, &all, &days.first)).exits(0);
    assert!(
        back.stdout.contains("is current in PostgreSQL"),
        "{}",
        back.stdout
    );
}

#[test]
fn who_can_only_read_is_told_so() {
    let days = Days::new();
    let server = &days.server;
    for set in [
        "ALTER ROLE graph_recs SET default_transaction_read_only = on",
        "ALTER ROLE graph_recs RESET ALL; ALTER DATABASE graph_recs SET default_transaction_read_only = on",
    ] {
        server.ask(set);
        both_fail(
            &days,
            &server.url(),
            1,
            &["can only be read", "default_transaction_read_only"],
        );
    }
    server.ask("BEGIN READ WRITE; ALTER DATABASE graph_recs RESET ALL; COMMIT");
    Outcome::of(&mut doctor(&server.url())).exits(0);
    days.finish();
}

#[test]
fn missing_rights_are_named() {
    let days = Days::new();
    let server = &days.server;
    server.ask("CREATE ROLE stranger LOGIN PASSWORD 'not-to-be-shown'");
    let stranger = server.url().replace("graph_recs:", "stranger:");
    let told = Outcome::of(&mut doctor(&stranger)).exits(1);
    told.says(&["refuses the user a right", "must own graph_recs"]);
    // Who may read and write everything, but owns nothing, can neither detach nor index.
    server.ask(
        "GRANT ALL ON SCHEMA graph_recs, graph_recs_store TO stranger;
         GRANT ALL ON ALL TABLES IN SCHEMA graph_recs TO stranger;
         GRANT ALL ON ALL TABLES IN SCHEMA graph_recs_store TO stranger",
    );
    let told = Outcome::of(&mut doctor(&stranger)).exits(1);
    told.says(&[
        "graph_recs_store.closest_connections belongs to graph_recs",
        "GRANT",
    ]);
    Outcome::of(&mut days.next(&stranger))
        .exits(1)
        .says(&["refuses the user a right"]);
    // As a member of the owner it can.
    server.ask("GRANT graph_recs TO stranger");
    Outcome::of(&mut doctor(&stranger)).exits(0);
    assert_eq!(server.seen(), days.first_seen);

    for (taken, words) in [
        (
            "REVOKE INSERT ON graph_recs.runs FROM graph_recs",
            "graph_recs.runs may not be written",
        ),
        (
            "REVOKE CREATE ON SCHEMA graph_recs_store FROM graph_recs",
            "schema graph_recs_store may not be given an index",
        ),
        (
            "DROP TABLE graph_recs_store.rec_reasons_1",
            "graph_recs_store.rec_reasons_1 is not there",
        ),
    ] {
        server.ask(taken);
        Outcome::of(&mut doctor(&server.url()))
            .exits(1)
            .says(&[words]);
        Outcome::of(&mut days.next(&server.url())).exits(1);
        server.ask("GRANT ALL ON graph_recs.runs TO graph_recs; GRANT ALL ON SCHEMA graph_recs_store TO graph_recs");
    }
}

#[test]
fn what_is_not_ready_is_told_before_the_run() {
    let server = Server::empty(&[]);
    let place = Place::golden();
    // No tables, and nobody who may make them.
    server.ask("CREATE ROLE stranger LOGIN PASSWORD 'not-to-be-shown'");
    let stranger = server.url().replace("graph_recs:", "stranger:");
    let told = Outcome::of(&mut doctor(&stranger)).exits(1);
    told.says(&["GRANT CREATE ON DATABASE", "graph-recs migrate"]);
    for command in [
        &mut doctor(&server.url()),
        &mut run(&place, &server.url(), AS_OF),
    ] {
        Outcome::of(command)
            .exits(1)
            .says(&["version 0", "graph-recs migrate"]);
    }
    server.migrate(&[]).exits(0);
    let well = Outcome::of(&mut doctor(&server.url())).exits(0);
    assert!(
        well.stdout.contains("can be published to"),
        "{}",
        well.stdout
    );
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'doctor%'";
    assert_eq!(server.ask(left), "0");

    // Too few connections.
    server.ask("ALTER ROLE graph_recs CONNECTION LIMIT 4");
    let told = Outcome::of(&mut doctor(&server.url())).exits(1);
    told.says(&["no connection left", "CONNECTION LIMIT"]);
    server.ask("ALTER ROLE graph_recs CONNECTION LIMIT -1");

    // Somebody publishes.
    let _publisher = server.session("BEGIN; SELECT pg_advisory_xact_lock(7454143927149749107)");
    let told = Outcome::of(&mut doctor(&server.url())).exits(5);
    told.says(&["another publisher", "user postgres"]);
}
