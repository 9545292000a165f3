//! What readers have, and how it goes on, when something breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Days, Server, run, wait_until};
use crate::support::{AS_OF, Outcome, Place, program};

/// Two runs in the warehouse, of which one after the other is published, and what readers see of each.
struct Turns {
    days: Days,
    /// The run that is current, and the other one, each with what readers see of it.
    current: (String, String),
    other: (String, String),
    /// Files in the database's folder that belong to no table: what crashes of the server left for ever.
    orphans: usize,
}

impl Turns {
    fn new() -> Self {
        let days = Days::new();
        let seen = days.finish();
        let second = seen.split('|').next().unwrap().to_owned();
        let first = (days.first.clone(), days.first_seen.clone());
        Self {
            days,
            current: (second, seen),
            other: first,
            orphans: 0,
        }
    }

    fn server(&self) -> &Server {
        &self.days.server
    }

    /// The command that publishes the other run.
    fn publish(&self, url: &str) -> Command {
        let mut command = program();
        command.args(["rollback", "--json", "--to", &self.other.0, "--warehouse"]);
        command.arg(self.days.place.path("warehouse"));
        command.env("GRAPH_RECS_DATABASE_URL", url);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Child {
        self.publish(&self.server().url()).spawn().unwrap()
    }

    /// Gives the command once more, and sees that it did what it should.
    fn finish(&mut self) {
        Outcome::of(&mut self.publish(&self.server().url())).exits(0);
        self.turned();
    }

    /// The other run is the current one now, whole, and nothing is left behind.
    #[track_caller]
    fn turned(&mut self) {
        self.turned_after(0..=0);
    }

    /// The same, after a crash of the server that left so many files.
    #[track_caller]
    fn turned_after(&mut self, left: RangeInclusive<usize>) {
        std::mem::swap(&mut self.current, &mut self.other);
        let server = self.server();
        assert_eq!(server.seen(), self.current.1);
        server.check().exits(0);
        let open =
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'graph-recs'";
        server.wait_until(open);
        let orphans = "SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database WHERE datname = current_database())) AS file
             WHERE file ~ '^[0-9]+' AND NOT EXISTS (SELECT FROM pg_class
                 WHERE pg_relation_filenode(oid) = substring(file FROM '^[0-9]+')::bigint)";
        let mut found = 0;
        wait_until(orphans, || {
            server.ask("CHECKPOINT");
            found = server.ask(orphans).parse().unwrap();
            found >= self.orphans && left.contains(&(found - self.orphans))
        });
        self.orphans = found;
    }
}

/// Where a publication is stopped for a while.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// A reader's transaction keeps the place from being cleared.
    Clearing,
    /// The reasons are being copied.
    Loading,
    /// The indexes are made, but not for others yet.
    Indexing,
    /// All is loaded; the run is being made current.
    MakingCurrent,
}

impl Part {
    /// Stops publications at this part for as long as the session lasts.
    fn hold(self, server: &Server) -> super::Session {
        let table = match self {
            Part::Clearing => {
                return server.session("BEGIN; SELECT count(*) FROM graph_recs.recommendations");
            }
            Part::Loading => [
                "graph_recs_store.rec_reasons_0",
                "graph_recs_store.rec_reasons_1",
            ]
            .as_slice(),
            Part::Indexing => {
                server.ask(
                    "CREATE OR REPLACE FUNCTION public.hold_index() RETURNS event_trigger LANGUAGE plpgsql AS
                         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); END $$;
                     DROP EVENT TRIGGER IF EXISTS hold_index;
                     CREATE EVENT TRIGGER hold_index ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
                         EXECUTE FUNCTION public.hold_index()",
                );
                return server.session("SELECT pg_advisory_lock(42)");
            }
            Part::MakingCurrent => ["graph_recs.runs"].as_slice(),
        };
        server.ask(
            "CREATE OR REPLACE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$",
        );
        for table in table {
            server.ask(&format!(
                "DROP TRIGGER IF EXISTS hold ON {table};
                 CREATE TRIGGER hold BEFORE INSERT ON {table} EXECUTE FUNCTION public.hold()"
            ));
        }
        server.session("SELECT pg_advisory_lock(42)")
    }

    /// The process of the server that is stopped there.
    fn backend(self, server: &Server) -> String {
        let condition = match self {
            // That of the publication itself, which is the oldest there.
            Part::Clearing => {
                "query LIKE 'SELECT run_id, as_of, slot%' AND state = 'idle in transaction'"
            }
            Part::Loading => "query LIKE 'COPY%rec_reasons%' AND wait_event_type = 'Lock'",
            Part::Indexing => "query LIKE '%CREATE UNIQUE INDEX%' AND wait_event_type = 'Lock'",
            Part::MakingCurrent => {
                "query LIKE 'INSERT INTO graph_recs.runs%' AND wait_event_type = 'Lock'"
            }
        };
        let ask = format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'graph-recs' AND {condition} ORDER BY xact_start LIMIT 1"
        );
        let mut pid = String::new();
        wait_until(&ask, || {
            pid = server.ask(&ask);
            !pid.is_empty()
        });
        pid
    }

    /// How many files a crash of the server leaves: those of indexes that no catalog knows yet. PostgreSQL has nothing
    /// that removes them.
    fn left_by_a_crash(self) -> RangeInclusive<usize> {
        match self {
            Part::Indexing => 1..=super::STORED.len(),
            _ => 0..=0,
        }
    }
}

fn kill_9(pid: &str) {
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -9 {pid}")])
        .status();
    assert!(killed.unwrap().success());
}

/// Waits for a process, whose log it gives.
#[track_caller]
fn succeeds(child: Child) -> String {
    let outcome = child.wait_with_output().unwrap();
    let log = String::from_utf8(outcome.stderr).unwrap();
    assert!(outcome.status.success(), "{log}");
    log
}

/// The faults that can be made at any part, one after the other, each on a publication of its own.
fn faults_at(part: Part) {
    let mut turns = Turns::new();

    // kill -9 of graph-recs.
    let hold = part.hold(turns.server());
    let mut child = turns.start();
    part.backend(turns.server());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(turns.server().seen(), turns.current.1);
    drop(hold);
    turns.finish();

    // The connection is ended by an administrator: tried again.
    let hold = part.hold(turns.server());
    let child = turns.start();
    let pid = part.backend(turns.server());
    turns
        .server()
        .ask(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(turns.server().seen(), turns.current.1);
    // Who clears or loads has not lost its own connection; else it comes back there.
    if !matches!(part, Part::Clearing) {
        part.backend(turns.server());
    }
    drop(hold);
    assert!(succeeds(child).contains("cut off"));
    turns.turned();

    // kill -9 of the server's process, which brings all the others down: recovery, then tried again.
    let hold = part.hold(turns.server());
    let child = turns.start();
    let pid = part.backend(turns.server());
    kill_9(&pid);
    assert!(succeeds(child).contains("cut off"));
    turns.turned_after(part.left_by_a_crash());
    drop(hold);

    // The server is stopped at once, and started again.
    let hold = part.hold(turns.server());
    let child = turns.start();
    part.backend(turns.server());
    turns.server().restart();
    let seen = turns.server().seen();
    assert!(seen == turns.current.1 || seen == turns.other.1, "{seen}");
    assert!(succeeds(child).contains("cut off"));
    turns.turned_after(part.left_by_a_crash());
    drop(hold);
}

#[test]
fn faults_while_the_place_is_cleared() {
    faults_at(Part::Clearing);
}

#[test]
fn faults_while_rows_are_loaded() {
    faults_at(Part::Loading);
}

#[test]
fn faults_while_indexes_are_made() {
    faults_at(Part::Indexing);
}

#[test]
fn faults_while_the_run_becomes_current() {
    faults_at(Part::MakingCurrent);
}

#[test]
fn killed_at_any_time() {
    let mut turns = Turns::new();
    let started = Instant::now();
    turns.finish();
    let whole = started.elapsed();
    for share in 0..10 {
        let mut child = turns.start();
        std::thread::sleep(whole * share / 10);
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = turns.server().seen();
        assert!(seen == turns.current.1 || seen == turns.other.1, "{seen}");
    }
    turns.finish();
}

/// A way to the server that is cut once: all its connections are shut when so many bytes have gone to the server.
/// Later connections last.
fn cut_after(bytes: i64, server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicI64::new(bytes));
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                continue;
            };
            let cut = left.load(Ordering::SeqCst) <= 0;
            if !cut {
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                open.lock().unwrap().extend(both);
            }
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let (left, open) = (Arc::clone(&left), Arc::clone(&open));
            let (mut from, mut to) = (client, server);
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(read) = from.read(&mut buffer) {
                    if read == 0 || to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                    if !cut && left.fetch_sub(read as i64, Ordering::SeqCst) <= read as i64 {
                        for stream in open.lock().unwrap().drain(..) {
                            let _ = stream.shutdown(Shutdown::Both);
                        }
                    }
                }
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn the_connection_is_cut() {
    let mut turns = Turns::new();
    let direct = turns.server().port();
    for bytes in [1, 1_000, 100_000, 1_000_000, 3_000_000, 5_000_000] {
        let port = cut_after(bytes, direct).to_string();
        let url = turns.server().url().replace(&direct.to_string(), &port);
        let child = turns.publish(&url).spawn().unwrap();
        assert!(succeeds(child).contains("cut off"), "{bytes}");
        turns.turned();
    }
}

#[test]
fn what_may_pass_is_tried_again_and_nothing_else() {
    let turns = Turns::new();
    let server = turns.server();
    // Sequences count on when a transaction is rolled back.
    let fail = |code: &str, times: u32| {
        server.ask(&format!(
            "CREATE SEQUENCE IF NOT EXISTS public.tries; ALTER SEQUENCE public.tries RESTART; GRANT ALL ON SEQUENCE public.tries TO PUBLIC;
             CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF nextval('public.tries') <= {times} THEN RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'; END IF; RETURN NULL; END $$;
             DROP TRIGGER IF EXISTS fail ON graph_recs.runs;
             CREATE TRIGGER fail BEFORE INSERT ON graph_recs.runs EXECUTE FUNCTION public.fail()"
        ));
    };
    let tries = || server.ask("SELECT last_value FROM public.tries");
    for code in ["42501", "53100", "22003", "P0001"] {
        fail(code, 1);
        let refused = Outcome::of(&mut turns.publish(&server.url()));
        refused.exits(1).says(&["made up"]);
        assert_eq!(tries(), "1", "{code}");
        assert_eq!(server.seen(), turns.current.1);
    }
    for code in ["40001", "40P01", "08006", "53300"] {
        fail(code, 2);
        let mut publish = program();
        // Back and forth, so that there is always something to do.
        let to = if server.seen() == turns.current.1 {
            &turns.other.0
        } else {
            &turns.current.0
        };
        publish
            .args(["rollback", "--to", to, "--warehouse"])
            .arg(turns.days.place.path("warehouse"));
        let outcome = Outcome::of(publish.env("GRAPH_RECS_DATABASE_URL", server.url())).exits(0);
        assert!(outcome.stderr.contains("try 2 of"), "{}", outcome.stderr);
        assert_eq!(tries(), "3", "{code}");
    }
}

/// A file system of limited size, unmounted with the value.
struct Small {
    folder: TempDir,
}

impl Small {
    fn mount(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.folder.path())
            .status();
        assert!(mounted.unwrap().success());
    }

    fn used(&self) -> u64 {
        let outcome = Outcome::of(
            Command::new("df")
                .args(["--output=used"])
                .arg(self.folder.path()),
        )
        .exits(0);
        outcome
            .stdout
            .lines()
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tablespace")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path())
            .status();
    }
}

#[test]
fn the_disk_is_full() {
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("only root can mount a small disk: not tried");
        return;
    }
    let small = Small {
        folder: TempDir::with_prefix("graph-recs-small-").unwrap(),
    };
    let server = Server::empty(&[]);
    small.mount("size=22m,mode=755");
    std::fs::create_dir(small.path()).unwrap();
    let owner = Command::new("chown")
        .arg("--reference")
        .arg(server.path("data"))
        .arg(small.path())
        .status();
    assert!(owner.unwrap().success());
    let mut admin = Command::new("psql");
    admin.args([&server.read("admin.url"), "--command"]);
    admin.arg(format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        small.path().display()
    ));
    admin.args([
        "--command",
        "ALTER DATABASE graph_recs SET TABLESPACE small",
    ]);
    Outcome::of(&mut admin).exits(0);
    server.migrate(&[]).exits(0);
    let place = Place::golden();
    Outcome::of(&mut run(&place, &server.url(), AS_OF)).exits(0);
    let (seen, used) = (server.seen(), small.used());

    for _ in 0..2 {
        let started = Instant::now();
        let full = Outcome::of(&mut run(&place, &server.url(), super::NEXT_AS_OF));
        full.exits(1)
            .says(&["no disk space left", "give the command again"]);
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(server.seen(), seen);
        // What was loaded gave its room back.
        wait_until("the room is free again", || {
            server.ask("CHECKPOINT");
            small.used() < used + 1024
        });
    }
    small.mount("remount,size=64m");
    let second = Outcome::of(&mut run(&place, &server.url(), super::NEXT_AS_OF)).exits(0);
    assert!(server.seen().starts_with(&second.run_id()));
    server.check().exits(0);
    drop(server);
}
