//! A system that gives the program few threads: `ulimit -u`, or the pids limit of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Stage, commands, end_of, is_root, program_for_all};

/// The program with at most so many threads, as a user who has no others. Only root can become one.
fn limited(stage: &Stage, threads: u32, command: &str, fresh: &str) -> Option<Command> {
    if !is_root() {
        return None;
    }
    // A user for every process, since the limit is that of all of a user's.
    static USERS: AtomicU32 = AtomicU32::new(0);
    let user = 20_000 + std::process::id() % 200 * 200 + USERS.fetch_add(1, Ordering::Relaxed);
    let folder = stage.place.path("");
    if !folder.join("graph-recs").exists() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        open_to_all(&stage.place.path("warehouse"));
    }
    let program = program_for_all(&folder);
    let mut limited = Command::new("setpriv");
    limited.args([format!("--reuid={user}"), format!("--regid={user}")]);
    limited
        .args(["--clear-groups", "prlimit"])
        .arg(format!("--nproc={threads}:{threads}"));
    limited.arg(program).args(stage.arguments(command, fresh));
    limited.current_dir(folder);
    Some(limited)
}

fn open_to_all(path: &std::path::Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open_to_all(&entry.unwrap().path());
        }
    }
}

#[test]
fn too_few_threads_are_an_error_that_says_so_for_every_command() {
    let stage = Stage::new();
    for command in commands() {
        for threads in [1, 3] {
            let Some(limited) = limited(&stage, threads, &command, "few") else {
                return;
            };
            let (code, said) = end_of(limited);
            assert_eq!(code, Some(1), "{command} with {threads}: {said}");
            assert!(
                said.contains("ulimit -u"),
                "{command} with {threads}: {said}"
            );
            assert!(
                !said.contains("panicked"),
                "{command} with {threads}: {said}"
            );
        }
    }
}

#[test]
fn a_run_with_any_number_of_threads_is_published_or_says_why_not() {
    let stage = Stage::new();
    let mut published = 0;
    for threads in 2..24 {
        let Some(limited) = limited(&stage, threads, "run", &format!("made-{threads}")) else {
            return;
        };
        let (code, said) = end_of(limited);
        assert!(matches!(code, Some(0 | 1)), "{threads}: {code:?} {said}");
        assert!(
            code == Some(0) || said.contains("ulimit -u"),
            "{threads}: {said}"
        );
        assert!(!said.contains("panicked"), "{threads}: {said}");
        published += u32::from(code == Some(0));
    }
    assert!(
        published > 0,
        "enough for two threads of a run and what they need"
    );
}
