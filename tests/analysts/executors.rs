//! Statements on the executors of a cluster.

use super::*;
use crate::cluster_support::{Cluster, send};

/// How many statements are in a state there.
fn statements(cluster: &Cluster, state: &str) -> u64 {
    let jobs = cluster.jobs();
    let runs = jobs["runs"].as_object().unwrap();
    let ours = runs
        .iter()
        .filter(|(run, _)| run.starts_with("analysts-"))
        .map(|(_, stages)| stages["statement"][state].as_u64().unwrap_or(0));
    ours.sum()
}

fn until(what: &str, seconds: u64, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(seconds),
            "not yet: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A client whose statement an executor works on.
fn at_work(service: &Service, cluster: &Cluster, statement: &str) -> Child {
    let child = service.begin("ana", statement);
    until("the statement is at work", 15, || {
        statements(cluster, "Running") == 1
    });
    child
}

#[test]
fn statements_run_on_executors_and_stop_there() {
    let mut cluster = Cluster::start(2);
    let service = Service::start(&[
        "--cluster",
        &cluster.url(),
        "--cluster-min-scan",
        "1B",
        "--wait-for-executors",
        "3",
    ]);
    let read = [
        (
            "ana",
            "SELECT count(*), sum(score), min(rank) FROM recommendations",
        ),
        (
            "ana",
            "SELECT r.user_id, count(*), max(w.weight) FROM rec_reasons AS r JOIN closest_connections AS w \
                 ON w.user_id = r.user_id GROUP BY 1 HAVING count(*) > 2 ORDER BY 1",
        ),
        (
            "ana",
            "SELECT rank, array_agg(rec_id ORDER BY rec_id) FROM recommendations WHERE user_id > 10 GROUP BY 1 ORDER BY 1",
        ),
        (
            "rob",
            "SELECT user_id, reputation(clean_text(body), '') FROM raw.messages ORDER BY 1, 2 LIMIT 20",
        ),
        ("rob", "SELECT count(*) FROM raw.quarantine"),
        (
            "ana",
            "SELECT score FROM recommendations WHERE score > (SELECT avg(score) FROM recommendations) ORDER BY 1",
        ),
    ];
    let before = statements(&cluster, "Completed");
    let here = Service::start(&[]);
    for (user, statement) in read {
        assert_eq!(
            service.rows(user, statement),
            here.rows(user, statement),
            "{statement}"
        );
    }
    let sent = statements(&cluster, "Completed") - before;
    assert!(sent >= 5, "only {sent} statements were sent to executors");

    // What only this process can answer: the catalog, made-up rows, functions behind a wall.
    for statement in [
        "SELECT count(*) FROM pg_catalog.pg_class",
        "SELECT sum(value) FROM generate_series(1, 10)",
        "SELECT count(*) FROM recommendations WHERE repeat('x', rank) = 'xx'",
        "SELECT run_id FROM ops.runs",
    ] {
        assert_eq!(service.rows("ana", statement).len(), 1, "{statement}");
    }
    // What the statement itself is to blame for.
    let (code, message) =
        service.refused("ana", "SELECT sum(1 / (rank - rank)) FROM recommendations");
    assert_eq!(code, "22000", "{message}");
    assert!(message.to_lowercase().contains("zero"), "{message}");

    // Ctrl-C.
    let endless = "SELECT sum(a.rank * b.rank % 7 + c.rank - d.rank) \
                   FROM rec_reasons AS x, recommendations AS a, recommendations AS b, recommendations AS c, \
                   recommendations AS d WHERE a.rank + b.rank + c.rank + d.rank + x.user_id <> 5";
    let mut child = at_work(&service, &cluster, endless);
    send(&child, "INT");
    let begun = Instant::now();
    assert!(!child.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Once on a busy machine it took more than 15.
    until("the executor is free", 60, || {
        statements(&cluster, "Running") == 0
    });
    assert_eq!(
        service.rows("ana", "SELECT sum(rec_id) FROM recommendations"),
        here.rows("ana", "SELECT sum(rec_id) FROM recommendations")
    );

    // A lost executor ends its statement, in words; the service and the other executor go on.
    let mut child = at_work(&service, &cluster, endless);
    cluster.kill(0);
    cluster.kill(1);
    assert!(!child.wait().unwrap().success());
    let (code, message) = service.refused("ana", "SELECT sum(rec_id) FROM recommendations");
    assert_eq!(code, "XX000", "{message}");
    assert!(message.contains("executor"), "{message}");
    assert_eq!(service.rows("ana", "SELECT 1 + 1"), ["2"]);
    cluster.add();
    cluster.wait_for(1);
    assert_eq!(
        service.rows("ana", "SELECT sum(rec_id) FROM recommendations"),
        here.rows("ana", "SELECT sum(rec_id) FROM recommendations")
    );

    // Limits hold on executors, too.
    let small = [
        "--max-rows",
        "100",
        "--cluster",
        &cluster.url(),
        "--cluster-min-scan",
        "1B",
    ];
    let small = Service::start(&small);
    let (code, message) =
        small.refused("ana", "SELECT * FROM rec_reasons ORDER BY weight, 1, 2, 3");
    assert_eq!(code, "54000", "{message}");

    // A service that ends leaves nothing at work.
    let mut child = at_work(&service, &cluster, endless);
    send(&service.child, "TERM");
    assert!(!child.wait().unwrap().success());
    until("the executor is free", 15, || {
        statements(&cluster, "Running") == 0
    });
}
