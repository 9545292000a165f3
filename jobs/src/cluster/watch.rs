//! Watching a cluster's executors: who is there, who was lost, who is not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::join_all;
use graph_recs_sql::cluster::Needs;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::client::{Client, Executor, refused};

const EVERY: Duration = Duration::from_millis(500);
/// How long an executor may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(3);
/// So often in a row it may fail to, before it counts as lost.
const SILENT_AT_MOST: u32 = 3;

/// What is known of the executors.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Those that work, by id.
    pub here: BTreeMap<String, Executor>,
    /// How often one was lost so far. A job that began at another count than it ended with is void.
    pub losses: u64,
    /// The last one lost, in words.
    pub last_lost: String,
    /// Why the run can't be done with the executors there are.
    pub unfit: Option<String>,
    /// Why the scheduler can't be asked, when it can't.
    pub scheduler_gone: Option<String>,
}

impl Roster {
    /// Tasks that the executors work on at once.
    pub fn cores(&self) -> usize {
        self.here.values().map(Executor::cores).sum()
    }
}

/// A watch that goes on until it is dropped.
pub struct Watch {
    roster: watch::Receiver<Roster>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to watch; executors have to meet `needs`.
    pub fn start(client: Client, needs: Needs) -> Self {
        let (sender, roster) = watch::channel(Roster::default());
        let task = tokio::spawn(async move {
            let mut observer = Observer {
                client,
                needs,
                fit: BTreeSet::new(),
                silent: BTreeMap::new(),
            };
            loop {
                let before = sender.borrow().clone();
                let seen = observer.look(before).await;
                if sender.send(seen).is_err() {
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { roster, task }
    }

    /// What is known now, and word of every change.
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// Waits until at least one executor is there.
    ///
    /// # Errors
    /// When none came within `patience`, or one is not fit.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let mut roster = self.roster();
        let begun = Instant::now();
        let mut said = false;
        loop {
            {
                let now = roster.borrow_and_update();
                if let Some(unfit) = &now.unfit {
                    bail!("{unfit}");
                }
                if !now.here.is_empty() && now.scheduler_gone.is_none() {
                    return Ok(());
                }
                if begun.elapsed() > patience {
                    match &now.scheduler_gone {
                        Some(why) => bail!(
                            "no scheduler within {} s: {why}; start graph-recs-scheduler, or wait longer with \
                             --wait-for-executors",
                            patience.as_secs()
                        ),
                        None => bail!(
                            "the cluster had no executor for {} s: start graph-recs-executor, or wait longer with \
                             --wait-for-executors",
                            patience.as_secs()
                        ),
                    }
                }
            }
            if !said && begun.elapsed() > Duration::from_secs(1) {
                said = true;
                info!("waiting for executors");
            }
            let _ = tokio::time::timeout(EVERY, roster.changed()).await;
        }
    }
}

struct Observer {
    client: Client,
    needs: Needs,
    fit: BTreeSet<String>,
    silent: BTreeMap<String, u32>,
}

impl Observer {
    async fn look(&mut self, before: Roster) -> Roster {
        let listed = match self.client.executors().await {
            Ok(listed) => listed,
            Err(error) => {
                // Executors may well go on: whether they do is told when the scheduler is back.
                return Roster {
                    scheduler_gone: Some(format!("{error:#}")),
                    ..before
                };
            }
        };
        let client = &self.client;
        let answers = join_all(listed.into_iter().map(|executor| async move {
            let answer = client.alive(&executor, PATIENCE).await;
            (executor, answer)
        }))
        .await;
        let mut now = Roster {
            here: BTreeMap::new(),
            scheduler_gone: None,
            unfit: None,
            ..before.clone()
        };
        for (executor, answer) in answers {
            let known = before.here.contains_key(&executor.id);
            match answer {
                Ok(()) => {
                    self.silent.remove(&executor.id);
                }
                Err(error) => {
                    let silent = self.silent.entry(executor.id.clone()).or_default();
                    *silent += 1;
                    if refused(&error) || *silent >= SILENT_AT_MOST || !known {
                        continue;
                    }
                }
            }
            if !self.fit.contains(&executor.id) {
                match self.client.fit(&executor, &self.needs).await {
                    Ok(None) => {
                        info!(
                            executor = executor.shown(),
                            cores = executor.cores(),
                            "joined"
                        );
                        self.fit.insert(executor.id.clone());
                    }
                    Ok(Some(lacking)) => {
                        now.unfit = Some(format!(
                            "executor {} cannot take part in the run: {lacking}",
                            executor.shown()
                        ));
                        continue;
                    }
                    Err(_) => continue,
                }
            }
            now.here.insert(executor.id.clone(), executor);
        }
        for (id, executor) in &before.here {
            if !now.here.contains_key(id) {
                now.losses += 1;
                now.last_lost = executor.shown();
                warn!(executor = now.last_lost, "lost");
            }
        }
        now
    }
}
