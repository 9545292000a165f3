//! Running pieces on the cluster until they are done: attempts, deadlines, and what voids them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ballista_core::serde::protobuf::PartitionLocation;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::{StreamExt, TryStreamExt};
use graph_recs_sql::cluster::{
    Allowance, Answer, Codec, Done, Failure, Needs, PieceExec, PieceSpec, Target, build,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use super::ClusterOptions;
use super::client::{Client, JobState, state_of};
use super::watch::Watch;

/// Pieces under way at once for each core: one that works and one that waits, so that no core does.
const PIECES_A_CORE: usize = 2;
/// So often a piece is tried that others' faults keep from being done.
const VOID_AT_MOST: u32 = 100;
/// How often a silent job is asked after.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long cancellations may take at the end of a run.
const SETTLE: Duration = Duration::from_secs(5);
/// How a job that somebody cancelled ends.
const CANCELLED: &str = "Cancelled";

/// Somebody cancelled the run.
#[derive(Debug, thiserror::Error)]
#[error("the run was cancelled; the same command goes on with it")]
pub struct Cancelled;

/// A piece can't be done.
#[derive(Debug, thiserror::Error)]
#[error("{stage}, piece {piece}: {why}")]
pub struct JobFailed {
    stage: String,
    piece: String,
    why: String,
}

/// A piece to be done.
pub struct Work<'a> {
    /// The stage that it belongs to.
    pub stage: &'a str,
    /// Its name in the stage.
    pub piece: &'a str,
    /// What gives its rows.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Where an attempt of a name writes.
    pub target: &'a (dyn Fn(&str) -> Target + Sync),
    /// What must hold of the answer; in words what does not.
    pub verify: &'a (dyn Fn(&Answer) -> Result<(), String> + Sync),
}

/// A name that no other attempt has.
pub(super) fn attempt_name() -> String {
    let mut name = Uuid::new_v4().simple().to_string();
    name.truncate(12);
    name
}

/// What a piece took, for measuring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// The stage.
    pub stage: String,
    /// The piece.
    pub piece: String,
    /// Seconds of work on the executor.
    pub worked: f64,
    /// Seconds from sending the plan to having the answer.
    pub waited: f64,
    /// Bytes that it wrote.
    pub bytes: u64,
    /// Attempts that came to nothing.
    pub repeats: u32,
    /// When it was done, in seconds since the driver began.
    pub at: f64,
}

/// Why an attempt gave no answer.
pub(super) enum Trouble {
    /// Nothing that the piece can be blamed for.
    Void(String),
    /// It failed, but may not do so again.
    Passing(String),
    /// It would fail again.
    Lasting(String),
    /// Its plan cannot be sent.
    Untravelled(String),
    /// Somebody wants no answer any more.
    Cancelled,
}

/// Runs pieces on a cluster.
pub struct Pool {
    pub(super) client: Client,
    pub(super) watch: Watch,
    places: Semaphore,
    place_count: AtomicUsize,
    codec: Codec,
    settings: Vec<(String, String)>,
    pub(super) options: ClusterOptions,
    run: String,
    session: String,
    begun: Instant,
    timings: Mutex<Vec<Timing>>,
    cancelling: Arc<AtomicUsize>,
}

/// A job under way; whoever lets go of it before it has ended cancels it.
struct Flight {
    client: Client,
    name: String,
    /// The scheduler's name, once it is told.
    job: Option<String>,
    ended: bool,
    /// Cancellations that are not sent yet.
    pending: Arc<AtomicUsize>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (client, name, job) = (self.client.clone(), self.name.clone(), self.job.take());
        let pending = Arc::clone(&self.pending);
        pending.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            if let Err(error) = cancel(&client, &name, job).await {
                debug!(name, "not cancelled: {error:#}");
            }
            pending.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn cancel(client: &Client, name: &str, job: Option<String>) -> Result<()> {
    if let Some(job) = job {
        return client.cancel(&job).await;
    }
    for line in client.jobs().await? {
        if line.job_name == name {
            client.cancel(&line.job_id).await?;
        }
    }
    Ok(())
}

impl Pool {
    /// A pool for a run. Waits until an executor is there.
    pub async fn open(
        options: ClusterOptions,
        needs: Needs,
        settings: Vec<(String, String)>,
        run: &str,
    ) -> Result<Self> {
        let pool = Self::new(options, needs, settings, run)?;
        pool.watch.ready(pool.options.wait).await?;
        pool.cancel_leftovers().await?;
        Ok(pool)
    }

    /// A pool for a run, whoever is there.
    pub fn new(
        options: ClusterOptions,
        needs: Needs,
        settings: Vec<(String, String)>,
        run: &str,
    ) -> Result<Self> {
        let client = Client::new(&options.url, &options.tls)?;
        let location = needs
            .model
            .as_ref()
            .and_then(|model| model.location.clone());
        Ok(Self {
            watch: Watch::start(client.clone(), needs),
            client,
            places: Semaphore::new(0),
            place_count: AtomicUsize::new(0),
            codec: Codec::driver(location),
            settings,
            options,
            run: run.to_string(),
            session: Uuid::new_v4().to_string(),
            begun: Instant::now(),
            timings: Mutex::default(),
            cancelling: Arc::default(),
        })
    }

    /// Stops what an earlier driver of this run may have left working.
    async fn cancel_leftovers(&self) -> Result<()> {
        let ours = job_prefix(&self.run);
        for job in self.client.jobs().await? {
            if job.job_name.starts_with(&ours)
                && ["Queued", "Running"].contains(&job.status.as_str())
            {
                self.client.cancel(&job.job_id).await?;
            }
        }
        Ok(())
    }

    /// The cores of the executors that are there.
    pub fn cores(&self) -> usize {
        self.watch.roster().borrow().cores()
    }

    /// What the pieces so far took.
    pub fn timings(&self) -> Vec<Timing> {
        self.timings
            .lock()
            .map(|timings| timings.clone())
            .unwrap_or_default()
    }

    /// Does a piece, whatever it takes.
    ///
    /// # Errors
    /// [`Cancelled`]; [`JobFailed`] when the piece can't be done; when no executor is there for too long.
    pub async fn run(&self, work: Work<'_>) -> Result<Answer> {
        self.widen();
        let _place = self.places.acquire().await?;
        let failed = |why: String| JobFailed {
            stage: work.stage.to_string(),
            piece: work.piece.to_string(),
            why,
        };
        let (mut voided, mut failures) = (0, 0);
        loop {
            self.watch.ready(self.options.wait).await?;
            self.widen();
            let begun = Instant::now();
            let trouble = match self.attempt(self.submit(&work)).await {
                Ok(done) => match (work.verify)(&done.answer) {
                    Ok(()) => {
                        self.note(&work, &done, begun, voided + failures);
                        return Ok(done.answer);
                    }
                    Err(wrong) => Trouble::Passing(format!("its answer was refused: {wrong}")),
                },
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Cancelled => bail!(Cancelled),
                Trouble::Lasting(why) | Trouble::Untravelled(why) => bail!(failed(why)),
                Trouble::Void(why) => {
                    warn!(
                        stage = work.stage,
                        piece = work.piece,
                        "void, done again: {why}"
                    );
                    voided += 1;
                    if voided >= VOID_AT_MOST {
                        bail!(failed(format!("voided {voided} times, last because {why}")));
                    }
                    sleep(Duration::from_millis(200)).await;
                }
                Trouble::Passing(why) => {
                    failures += 1;
                    if failures >= self.options.tries {
                        bail!(failed(format!("failed {failures} times, last: {why}")));
                    }
                    warn!(
                        stage = work.stage,
                        piece = work.piece,
                        "failed, tried again: {why}"
                    );
                    sleep(Duration::from_millis(500 << failures.min(6))).await;
                }
            }
        }
    }

    /// Waits for one attempt, as long as there is any sense in it.
    pub(super) async fn attempt<T>(
        &self,
        attempt: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let mut stop = self.options.stop.clone();
        let mut roster = self.watch.roster();
        let losses = roster.borrow_and_update().losses;
        let lost = async {
            let changed = roster.wait_for(|now| now.losses != losses).await;
            changed.map(|now| now.last_lost.clone()).unwrap_or_default()
        };
        let deadline = self.options.piece_deadline;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(Trouble::Cancelled),
            executor = lost => Err(Trouble::Void(format!("executor {executor} was lost"))),
            () = sleep(deadline) => {
                Err(Trouble::Passing(format!("no answer within {} s (--piece-deadline)", deadline.as_secs())))
            }
            done = attempt => done,
        }
    }

    /// One attempt's answer.
    async fn submit(&self, work: &Work<'_>) -> Result<Done, Trouble> {
        let attempt = attempt_name();
        let target = (work.target)(&attempt);
        let name = format!("{}/{}/{attempt}", work.stage, work.piece);
        let plan = Arc::clone(&work.plan);
        let place = self.place(&name, plan, target.clone(), None).await?;
        let rows = async {
            self.client
                .fetch(place)
                .await?
                .try_collect::<Vec<_>>()
                .await
        };
        let rows = rows
            .await
            .map_err(|error| Trouble::Void(format!("its answer is gone: {error:#}")))?;
        Done::read(&target, &rows).map_err(|error| Trouble::Void(error.to_string()))
    }

    /// Has one attempt made, under a name of its own, `<stage>/<piece>/<attempt>`; where its answer lies.
    pub(super) async fn place(
        &self,
        name: &str,
        plan: Arc<dyn ExecutionPlan>,
        target: Target,
        allowance: Option<Allowance>,
    ) -> Result<PartitionLocation, Trouble> {
        let name = format!("{}{name}", job_prefix(&self.run));
        let spec = PieceSpec {
            name: name.clone(),
            build: build(),
            target,
            allowance,
        };
        let plan = self
            .codec
            .encode(Arc::new(PieceExec::new(spec, plan)))
            .map_err(|error| Trouble::Untravelled(format!("its plan can't travel: {error}")))?;
        let mut flight = Flight {
            client: self.client.clone(),
            name: name.clone(),
            job: None,
            ended: false,
            pending: Arc::clone(&self.cancelling),
        };
        let sent = self
            .client
            .submit(&name, &self.session, &self.settings, plan)
            .await;
        let mut states = sent.map_err(|status| match status.code() {
            tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition => {
                Trouble::Lasting(format!("the scheduler refuses it: {}", status.message()))
            }
            _ => Trouble::Void(format!("the scheduler does not take it: {status}")),
        })?;
        let location = loop {
            let state = match timeout(ASK_EVERY, states.next()).await {
                Ok(Some(Ok(message))) => {
                    if let Some(status) = &message.status {
                        flight.job.get_or_insert(status.job_id.clone());
                    }
                    state_of(message)
                }
                Ok(None | Some(Err(_))) => {
                    return Err(Trouble::Void("the scheduler went away".into()));
                }
                // Not every change is told on the stream.
                Err(_) => match &flight.job {
                    None => JobState::Waiting,
                    Some(job) => self.client.state(job).await.map_err(|status| {
                        Trouble::Void(format!("the scheduler went away: {status}"))
                    })?,
                },
            };
            match state {
                JobState::Waiting => {}
                JobState::Unknown if flight.job.is_none() => {}
                JobState::Unknown => {
                    return Err(Trouble::Void("the scheduler forgot it".into()));
                }
                JobState::Failed(text) => {
                    flight.ended = true;
                    return Err(trouble_of(&text));
                }
                JobState::Done(locations) => {
                    flight.ended = true;
                    break locations.into_iter().next();
                }
            }
        };
        location.ok_or_else(|| Trouble::Void("it ended without a result".into()))
    }

    /// Waits until what was given up is cancelled, but not for long.
    pub async fn settle(&self) {
        let begun = Instant::now();
        while self.cancelling.load(Ordering::SeqCst) > 0 && begun.elapsed() < SETTLE {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets more pieces be under way when executors have joined.
    fn widen(&self) {
        let wanted = self.cores() * PIECES_A_CORE;
        let before = self.place_count.fetch_max(wanted, Ordering::Relaxed);
        self.places.add_permits(wanted.saturating_sub(before));
    }

    fn note(&self, work: &Work<'_>, done: &Done, begun: Instant, repeats: u32) {
        let bytes = match &done.answer {
            Answer::Written(written) => written.size,
            Answer::Rows(_) => 0,
        };
        if let Ok(mut timings) = self.timings.lock() {
            timings.push(Timing {
                stage: work.stage.to_string(),
                piece: work.piece.to_string(),
                worked: done.seconds,
                waited: begun.elapsed().as_secs_f64(),
                bytes,
                repeats,
                at: self.begun.elapsed().as_secs_f64(),
            });
        }
    }
}

/// What the names of a run's jobs begin with.
pub fn job_prefix(run: &str) -> String {
    format!("graph-recs/{run}/")
}

fn trouble_of(text: &str) -> Trouble {
    if text.ends_with(CANCELLED) {
        return Trouble::Cancelled;
    }
    match Failure::read(text) {
        (Failure::Passing, message) => Trouble::Passing(message),
        (Failure::Lasting, message) => Trouble::Lasting(message),
    }
}
