//! Old runs that go, and disks that say no.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{as_ofs, backfill, command, days, publications};
use crate::support::{Outcome, program};

#[test]
fn old_runs_go_and_what_a_reader_may_hold_stays() {
    let place = days(&["20191001", "20191002", "20191003"]);
    backfill(&place, "2019-10-01", "2019-10-03", &[]).exits(0);
    let published = publications(&place);
    let ids: Vec<&str> = published
        .iter()
        .map(|run| run["run_id"].as_str().unwrap())
        .collect();
    let tables = |id: &str| place.path("warehouse/recommendations").join(id).exists();
    let clean = |options: &[&str]| {
        let mut command = program();
        command
            .args(["clean", "--json", "--warehouse"])
            .arg(place.path("warehouse"));
        Outcome::of(command.args(options)).exits(0).json()
    };
    let names = |answer: &Value| -> Vec<String> {
        let runs = answer["runs"].as_array().unwrap();
        runs.iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect()
    };
    // Somebody may still read the one that was current a moment ago, and so the one before it.
    assert_eq!(
        names(&clean(&["--keep", "1", "--yes"])),
        Vec::<String>::new()
    );
    // Listed only.
    let listed = clean(&["--keep", "1", "--grace", "0"]);
    assert_eq!(names(&listed), ids[..2]);
    assert_eq!(listed["removed"], false);
    assert!(ids.iter().all(|id| tables(id)));

    let before = place.sql(
        "warehouse",
        "SELECT * FROM recommendations ORDER BY user_id, rec_id",
    );
    let removed = clean(&["--keep", "2", "--grace", "0", "--yes"]);
    assert_eq!(names(&removed), ids[..1]);
    assert!(!tables(ids[0]) && tables(ids[1]) && tables(ids[2]));
    assert!(!place.path("warehouse/_runs").join(ids[0]).exists());
    assert!(names(&clean(&["--keep", "2", "--grace", "0", "--yes"])).is_empty());
    assert!(
        place.sql(
            "warehouse",
            "SELECT * FROM recommendations ORDER BY user_id, rec_id"
        ) == before
    );

    // Going back to what is gone is refused, and its day brings it back as it was.
    let rollback = |id: &str| {
        let mut command = program();
        command
            .args(["rollback", "--to", id, "--warehouse"])
            .arg(place.path("warehouse"));
        Outcome::of(&mut command)
    };
    rollback(ids[0]).exits(1).says(&["is not there"]);
    let again = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(
        (again.run_id().as_str(), &again.json()["current"]),
        (ids[0], &false.into())
    );
    rollback(ids[0]).exits(0);

    // Working tables and quarantine go by themselves, too; what is published does not.
    let work = place.path("warehouse/_runs").join(ids[0]);
    let parquet = || {
        let entries = fs::read_dir(&work).unwrap().flatten();
        entries
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "parquet")
            })
            .count()
    };
    assert!(parquet() > 0);
    let slim = clean(&["--keep", "5", "--keep-work", "0", "--grace", "0", "--yes"]);
    assert!(names(&slim).contains(&ids[0].to_owned()));
    assert_eq!(parquet(), 0);
    assert!(work.join("reputation_score.csv").exists() && work.join("checks.json").exists());
    let same = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(same.json()["already_published"], true);
}

#[test]
fn a_candidate_that_was_stopped_goes_once_nobody_looks_at_it() {
    let place = days(&["20191001", "20191002"]);
    backfill(&place, "2019-10-01", "2019-10-01", &[]).exits(0);
    // A step of another day, never published.
    Outcome::of(&mut command(
        &place,
        "closest-connections",
        &["--date", "2019-10-02"],
    ))
    .exits(0);
    let clean = |options: &[&str]| {
        let mut command = program();
        command.args(["clean", "--json", "--keep", "1", "--yes", "--warehouse"]);
        Outcome::of(command.arg(place.path("warehouse")).args(options))
            .exits(0)
            .json()
    };
    assert_eq!(clean(&[])["runs"].as_array().unwrap().len(), 0);
    let removed = clean(&["--grace", "0"]);
    assert_eq!(removed["runs"][0]["why"], "unpublished");
    assert_eq!(removed["runs"].as_array().unwrap().len(), 1);
    backfill(&place, "2019-10-02", "2019-10-02", &[]).exits(0);
}

#[test]
fn a_full_disk_and_a_closed_folder_leave_what_is_published() {
    let place = days(&["20191001", "20191002"]);
    backfill(&place, "2019-10-01", "2019-10-01", &[]).exits(0);
    let before = place.sql("warehouse", "SELECT * FROM rec_reasons ORDER BY 1, 2, 3");
    // No file may grow beyond 64 KiB: the system says so as it says that a disk is full.
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    shell.arg(env!("CARGO_BIN_EXE_graph-recs"));
    shell
        .args(["run", "--date", "2019-10-02", "--input"])
        .arg(place.input());
    shell.arg("--warehouse").arg(place.path("warehouse"));
    Outcome::of(&mut shell)
        .exits(1)
        .says(&["20191002", "File too large"]);
    assert_eq!(as_ofs(&place), ["2019-10-01"]);
    assert!(place.sql("warehouse", "SELECT * FROM rec_reasons ORDER BY 1, 2, 3") == before);
    // The same command goes on when there is room.
    backfill(&place, "2019-10-01", "2019-10-02", &[]).exits(0);
}

#[test]
fn a_disk_that_is_full_is_told_with_what_to_do() {
    // A file system of its own, a few MiB large; who may not mount one has no such test.
    let place = days(&["20191001"]);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=200k", "tmpfs"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    // Not everybody may mount.
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let outcome = Outcome::of(
        program()
            .args(["run", "--date", "2019-10-01", "--input"])
            .arg(place.input())
            .arg("--warehouse")
            .arg(disk.join("warehouse")),
    );
    assert!(
        Command::new("umount")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    outcome
        .exits(1)
        .says(&["No space left", "clean --keep", "same command again"]);
}

#[test]
fn a_folder_of_somebody_else_is_told_with_what_to_do() {
    let place = days(&["20191001"]);
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere: so as nobody.
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut run = if root {
        let open =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        open(place.path("").as_path());
        let mut run = Command::new("setpriv");
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        run.arg(env!("CARGO_BIN_EXE_graph-recs"));
        run
    } else {
        program()
    };
    run.args(["run", "--date", "2019-10-01", "--input"])
        .arg(place.input());
    let outcome = Outcome::of(run.arg("--warehouse").arg(closed.join("warehouse")));
    // Not everybody can reach the program.
    if outcome.code == Some(126) || outcome.stderr.contains("failed to execute") {
        return;
    }
    outcome
        .exits(1)
        .says(&["Permission denied", "This user may not"]);
}
