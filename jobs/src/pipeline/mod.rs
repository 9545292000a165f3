//! The daily job: steps, their order, and what is kept of each.
//!
//! A run is named after what decides its results: as-of, parameters, input and model. Each step writes its files
//! first and its record (`_runs/<run>/<step>.json`) last, so a run that was cut off goes on after its last recorded
//! step, and a run of the same day with the same input finds everything done.

mod accounts;
mod checks;
pub(crate) mod cluster_parts;
mod connections;
mod given_scores;
mod identity;
mod job;
mod meter;
mod recommend;
mod report;
mod reputation;
mod run;
mod work;

pub use checks::{ChecksFailed, check_header};
pub use job::{Job, JobOptions, require_users};
pub use meter::{Cost, Meter};
pub use report::{render, render_checks};
pub use run::{Published, Run, Step, StepOutcome};
pub use work::WorkFolder;
