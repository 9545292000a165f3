//! Whom a publication waits for, and whom it does not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::{Days, PATIENCE, Server, rollback, run, wait_until};
use crate::support::{Outcome, Place, program};

/// The server's processes that do something for the publisher.
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE usename = 'graph_recs' AND (state <> 'idle' OR query LIKE '%graph_recs_store%')";

/// A child whose log can be listened to.
struct Told {
    child: Child,
    log: Receiver<String>,
}

impl Told {
    fn start(command: &mut Command) -> Self {
        let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, log }
    }

    /// The next line of the log with these words.
    #[track_caller]
    fn says(&mut self, words: &[&str]) -> String {
        loop {
            let Ok(line) = self.log.recv_timeout(PATIENCE) else {
                let _ = self.child.kill();
                panic!("it never said {words:?}");
            };
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    fn terminate(&self) {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
    }

    /// Waits for its end, and gives the exit code and the rest of the log.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.iter().collect::<Vec<_>>().join("\n"))
    }
}

#[test]
fn transactions_of_others_hold_nothing_back() {
    let server = Server::empty(&["max_prepared_transactions=2"]);
    server.migrate(&[]).exits(0);
    let days = Days::of(server);
    let server = &days.server;
    server.ask("CREATE TABLE public.theirs (x int); INSERT INTO theirs VALUES (1)");
    server.ask(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO theirs VALUES (2); PREPARE TRANSACTION 'theirs'",
    );
    // A report, idle snapshots, one that others share as pg_dump's workers do, one that writes, a cursor.
    let _theirs = [
        server.statement("SELECT pg_sleep(600)"),
        server.session("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"),
        server.session("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM theirs"),
        server.session("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()"),
        server.session("BEGIN; UPDATE theirs SET x = x + 1; SAVEPOINT here"),
        server
            .session("BEGIN; DECLARE all_of_it CURSOR FOR SELECT * FROM pg_class; FETCH all_of_it"),
        server.session("LISTEN theirs; CREATE TEMPORARY TABLE mine (x int)"),
    ];
    let started = Instant::now();
    let newest = days.finish();
    for to in [days.first.as_str(), newest.split('|').next().unwrap()] {
        Outcome::of(&mut rollback(&days.place, &server.url(), to)).exits(0);
    }
    assert_eq!(server.seen(), newest);
    assert!(started.elapsed() < Duration::from_secs(40));
    // The readers' index is there, and used.
    let plan = server.ask("EXPLAIN SELECT * FROM graph_recs.rec_reasons WHERE user_id = 7");
    assert!(
        plan.contains("Index Scan") && !plan.contains("Seq Scan"),
        "{plan}"
    );
}

#[test]
fn who_is_waited_for_is_named_and_nothing_of_it_stays() {
    let server = Server::empty(&["max_prepared_transactions=2"]);
    server.migrate(&[]).exits(0);
    let days = Days::of(server);
    let server = &days.server;
    let publish = || Told::start(&mut days.next(&server.url()));

    // Before anything is loaded: a reader that forgot its transaction.
    let reader = server.session(
        "SET application_name = 'monthly report'; BEGIN; SELECT count(*) FROM graph_recs.recommendations",
    );
    let pid =
        server.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'monthly report'");
    let mut publisher = publish();
    let said = publisher.says(&["waits for", &format!("process {pid} ")]);
    // The publisher's user may not see everything of a superuser's session.
    assert!(said.contains("user postgres"), "{said}");
    server.ask("GRANT pg_read_all_stats TO graph_recs");
    publisher.terminate();
    let (code, rest) = publisher.end();
    assert_eq!(code, Some(1), "{rest}");
    server.wait_until(&format!("SELECT ({AT_WORK}) = 0"));
    let mut publisher = publish();
    publisher.says(&[
        "waits for",
        &format!("process {pid} "),
        "user postgres",
        "application monthly report",
        "idle in transaction",
        "transaction since 20",
        "last statement since 20",
    ]);
    assert_eq!(server.seen(), days.first_seen);
    drop(reader);
    assert_eq!(publisher.end().0, Some(0));
    server.check().exits(0);
    let second = server.ask("SELECT run_id FROM graph_recs.current_run");
    let turn = |to: &str| Told::start(&mut rollback(&days.place, &server.url(), to));

    // A transaction that nobody runs any more.
    server.ask(
        "BEGIN; SELECT count(*) FROM graph_recs.rec_reasons; CREATE TABLE public.x (); PREPARE TRANSACTION 'forgotten'",
    );
    let mut publisher = turn(&days.first);
    publisher.says(&["waits for the prepared transaction 'forgotten' of postgres since 20"]);
    server.ask("ROLLBACK PREPARED 'forgotten'");
    assert_eq!(publisher.end().0, Some(0));

    // While rows are loaded, indexes made, the run made current: a lock of somebody else.
    for (made, lock) in [
        (
            "INSERT ON graph_recs_store.rec_reasons_1",
            "SELECT pg_advisory_lock(42)",
        ),
        ("INSERT ON graph_recs.runs", "SELECT pg_advisory_lock(42)"),
    ] {
        server.ask(&format!(
            "CREATE OR REPLACE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
             CREATE OR REPLACE TRIGGER hold BEFORE {made} EXECUTE FUNCTION public.hold()"
        ));
        let theirs = server.session(&format!("SET application_name = 'theirs'; {lock}"));
        let to = if server.seen().starts_with(&second) {
            &days.first
        } else {
            &second
        };
        let before = server.seen();
        let mut publisher = turn(to);
        publisher.says(&["waits for", "user postgres", "application theirs", "idle"]);
        publisher.terminate();
        assert_eq!(publisher.end().0, Some(1));
        server.wait_until(&format!("SELECT ({AT_WORK}) = 0"));
        assert_eq!(server.seen(), before);
        drop(theirs);
        assert_eq!(turn(to).end().0, Some(0));
    }

    // What a publisher that was killed left at work, and the server does not notice, is ended by the next one.
    server.ask("DROP TRIGGER hold ON graph_recs.runs");
    turn(&days.first).end();
    let theirs = server.session("SELECT pg_advisory_lock(42)");
    let left = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%rec_reasons_1%' AND wait_event = 'advisory'";
    let mut killed = turn(&second);
    wait_until(left, || !server.ask(left).is_empty());
    let pid = server.ask(left);
    killed.child.kill().unwrap();
    killed.end();
    let next = turn(&second);
    server.wait_until(&format!(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}) AND EXISTS ({left})"
    ));
    drop(theirs);
    assert_eq!(next.end().0, Some(0));
    assert!(server.seen().starts_with(&second));

    // A standby that has to have everything, and is not there.
    let standby = |names: &str| {
        server.ask(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{names}'"
        ));
        server.ask("SELECT pg_reload_conf()");
    };
    standby("nobody");
    let to = if server.seen().starts_with(&second) {
        &days.first
    } else {
        &second
    };
    let mut publisher = turn(to);
    publisher.says(&["waits for a synchronous standby that does not answer"]);
    standby("");
    assert_eq!(publisher.end().0, Some(0));

    // Migrations wait for readers, too.
    let _reader = server.session("BEGIN; SELECT count(*) FROM graph_recs.recommendations");
    let mut migrate = program();
    migrate
        .args(["migrate", "--to", "0"])
        .env("GRAPH_RECS_DATABASE_URL", server.url());
    let mut migrate = Told::start(&mut migrate);
    migrate.says(&["waits for process", "user postgres", "idle in transaction"]);
    migrate.terminate();
    migrate.end();
    server.wait_until(&format!("SELECT ({AT_WORK}) = 0"));
    server.check().exits(0);
}

/// Takes ten minutes.
#[test]
#[ignore]
fn gives_up_after_ten_minutes() {
    let days = Days::new();
    let server = &days.server;
    let reader = server.session(
        "SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT count(*) FROM graph_recs.recommendations",
    );
    let gave_up = Outcome::of(&mut days.next(&server.url())).exits(1);
    gave_up.says(&[
        "kept this waiting for 600 s",
        "process",
        "user postgres",
        "pg_terminate_backend",
    ]);
    assert_eq!(server.ask(AT_WORK), "0");
    assert_eq!(server.seen(), days.first_seen);
    // Somebody who keeps the rows from being loaded: given up by the server, and not tried again.
    server.ask(
        "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
         CREATE TRIGGER hold BEFORE INSERT ON graph_recs.runs EXECUTE FUNCTION public.hold()",
    );
    drop(reader);
    let _theirs = server.session("SELECT pg_advisory_lock(42)");
    let started = Instant::now();
    let place = Place::golden();
    let gave_up = Outcome::of(&mut run(&place, &server.url(), super::NEXT_AS_OF)).exits(1);
    gave_up.says(&["kept this waiting for 600 s", "process", "user postgres"]);
    assert!(started.elapsed() < Duration::from_secs(700));
    assert_eq!(server.ask(AT_WORK), "0");
    assert_eq!(server.seen(), days.first_seen);
}
