//! `graph-recs`: the command line of the daily job.
//!
//! Under the name of `graph-recs-scheduler` or `graph-recs-executor` it is that program: so the container image holds
//! one program with three names, since all three have nearly everything in common.

use std::env;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.to_str() {
        Some("graph-recs-scheduler") => graph_recs_scheduler::main(),
        Some("graph-recs-executor") => graph_recs_executor::main(),
        _ => graph_recs::app::main(),
    }
}
