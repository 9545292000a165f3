//! What a person sees while a run works: a bar a step on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::info;

use crate::pipeline::Cost;
use graph_recs_udfs::text::shown;

/// Shows the steps of a run.
#[derive(Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// One step on show.
pub struct StepBar {
    step: &'static str,
    bar: Option<ProgressBar>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Bars when standard error is a terminal, lines in the log otherwise.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            bars: terminal.then(MultiProgress::new),
        }
    }

    /// A step begins.
    pub fn start(&self, step: &'static str) -> StepBar {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:<22} {elapsed:>4} {msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(step);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            info!(step, "started");
        }
        StepBar { step, bar }
    }

    /// A stage of a run on a cluster begins.
    pub fn counter(&self, stage: &str) -> Counter {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(0));
            let form = "    {prefix:<20} {bar:30} {pos:>4} of {len:<4} {elapsed:>4}";
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style);
            }
            bar.set_prefix(shown(stage).into_owned());
            bar
        });
        Counter {
            stage: stage.to_string(),
            bar,
        }
    }

    /// A step was finished by an earlier run.
    pub fn found(&self, step: &'static str) {
        match &self.bars {
            Some(bars) => drop(bars.println(format!("  {step:<22}      was done already"))),
            None => info!(step, "was done already"),
        }
    }
}

/// How many pieces of a stage are done, on show.
pub struct Counter {
    stage: String,
    bar: Option<ProgressBar>,
}

impl Counter {
    /// Shows `done` of `of`.
    pub fn show(&self, done: usize, of: usize) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            None => tracing::debug!(stage = self.stage, "{done} of {of}"),
        }
    }
}

impl StepBar {
    /// What the step does now.
    pub fn says(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(shown(what).into_owned()),
            None => tracing::debug!(step = self.step, "{what}"),
        }
    }

    /// The step is finished.
    pub fn done(self, cost: &Cost) {
        let seconds = cost.seconds;
        match &self.bar {
            Some(bar) => {
                bar.finish_with_message(format!("done, {} MiB", cost.peak_memory_bytes >> 20))
            }
            None => info!(step = self.step, "done in {seconds:.2} s"),
        }
    }
}
