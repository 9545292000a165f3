//! What makes a run the run that it is, and how it differs from an earlier one of the same day.

use std::collections::BTreeMap;

use anyhow::Result;
use graph_recs_sql::Parameters;
use graph_recs_sql::cluster::RESULTS_VERSION;
use graph_recs_sql::input::Fingerprint;
use graph_recs_warehouse::report::Changed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::job::Job;
use super::work::WorkFolder;

/// Name of the file with a run's identity.
const IDENTITY: &str = "identity";

/// All that decides a run's results: two runs with the same identity are the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Raised when a change of the program changes results.
    results_version: u32,
    parameters: Parameters,
    input: Vec<Fingerprint>,
    model: Option<String>,
    given_scores: Option<String>,
    /// Left out where nothing was said, so that runs keep the names that they had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_columns: Option<usize>,
}

impl Identity {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            results_version: RESULTS_VERSION,
            parameters: job.options.parameters.clone(),
            input: job.input.fingerprints(&job.sources()),
            model: job.model_hash(),
            given_scores: job
                .given_scores
                .as_ref()
                .map(|given| given.hash().to_string()),
            user_columns: job.options.user_columns,
        }
    }

    /// The run's name: its as-of and a hash of all that decides its results.
    pub(super) fn run_id(&self) -> Result<String> {
        let hash = hex(&Sha256::digest(serde_json::to_vec(self)?));
        let as_of = self.parameters.as_of.format("%Y%m%dT%H%M%SZ");
        Ok(format!("{as_of}-{}", hash.get(..8).unwrap_or(&hash)))
    }

    pub(super) async fn keep(&self, work: &WorkFolder) -> Result<()> {
        work.write_json(IDENTITY, self).await
    }

    /// How this run differs from the last one of the same as-of that was published; `None` when there is none, or
    /// when it is this one.
    pub(super) async fn changed(&self, job: &Job) -> Result<Option<Changed>> {
        let id = self.run_id()?;
        let publications = job.warehouse.publications().await?;
        let mut same_day = publications
            .iter()
            .filter(|earlier| earlier.as_of == self.parameters.as_of);
        if same_day.clone().any(|earlier| earlier.run_id == id) {
            return Ok(None);
        }
        let Some(earlier) = same_day.next_back() else {
            return Ok(None);
        };
        let work = WorkFolder::new(job.warehouse.clone(), &earlier.run_id);
        let what = match work.read_json::<Self>(IDENTITY).await {
            Ok(Some(known)) => self.differences(&known),
            Ok(None) | Err(_) => vec!["what it was made of is not known any more".to_owned()],
        };
        Ok(Some(Changed {
            since: earlier.run_id.clone(),
            what,
        }))
    }

    fn differences(&self, earlier: &Self) -> Vec<String> {
        let by_file = |identity: &Self| -> BTreeMap<String, Fingerprint> {
            let files = identity.input.iter().cloned();
            files.map(|file| (file.file.clone(), file)).collect()
        };
        let (now, then) = (by_file(self), by_file(earlier));
        let mut what = Vec::new();
        for (name, file) in &now {
            match then.get(name) {
                None => what.push(format!("{name} came later ({} bytes)", file.bytes)),
                Some(old) if old.bytes != file.bytes => what.push(format!(
                    "{name} changed from {} to {} bytes",
                    old.bytes, file.bytes
                )),
                Some(old) if old.tag != file.tag => {
                    what.push(format!("{name} was written anew ({} bytes)", file.bytes));
                }
                Some(_) => {}
            }
        }
        let gone = then.keys().filter(|name| !now.contains_key(*name));
        what.extend(gone.map(|name| format!("{name} is gone")));
        if self.parameters != earlier.parameters || self.user_columns != earlier.user_columns {
            what.push("parameters are others".to_owned());
        }
        if self.model != earlier.model || self.given_scores != earlier.given_scores {
            what.push("reputation is scored by another model or file".to_owned());
        }
        if self.results_version != earlier.results_version {
            what.push("the program computes otherwise".to_owned());
        }
        what
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
