//! `doctor`: looks at everything that a run needs before it is needed, and says what to do.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use graph_recs_sql::Input;
use graph_recs_sql::cluster::{ModelRef, Needs, build};
use graph_recs_udfs::model::Model;
use graph_recs_udfs::scan::Source;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::json;
use uuid::Uuid;

use super::database;
use crate::app::{exit_code, told};
use crate::cli::{DoctorOptions, Organ, RunOptions};
use crate::cluster::Client;
use crate::pipeline::require_users;
use graph_recs_serve::values::missing;
use graph_recs_warehouse::{Warehouse, WarehouseLock};

/// Stores refuse requests from a quarter of an hour on; long before that times in logs mislead.
const CLOCK_OFF_AT_MOST: TimeDelta = TimeDelta::seconds(60);
/// How long an executor may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes on disk that a run may need for one byte of exports: far more than tables take, for what spills and for a
/// cluster's parsed records.
const ROOM: u64 = 1;

/// What was found, for people.
type Finding = Result<String>;

/// What is asked of each part, in the order in which it is told.
const ORGANS: [Organ; 7] = [
    Organ::Clock,
    Organ::Input,
    Organ::Model,
    Organ::Warehouse,
    Organ::Disk,
    Organ::Database,
    Organ::Cluster,
];

/// Looks at everything; fails with the first problem's kind.
pub async fn run(options: DoctorOptions) -> Result<()> {
    let json = options.run.json;
    let mut patient = Patient::default();
    let mut rows = Vec::new();
    let mut problem = None;
    for organ in ORGANS {
        let asked = match options.only.is_empty() {
            true => is_named(&options.run, organ),
            false => options.only.contains(&organ),
        };
        if !asked {
            continue;
        }
        let name = format!("{organ:?}").to_lowercase();
        let finding = patient.examine(organ, &options.run).await;
        let (well, text) = match &finding {
            Ok(text) => (true, text.clone()),
            Err(error) => (false, told(error)),
        };
        if !json {
            say_line!(
                "{:<10}{:<8}{text}",
                name,
                if well { "ok" } else { "PROBLEM" }
            );
        }
        rows.push(json!({ "what": name, "ok": well, "found": text }));
        if let (Err(error), None) = (finding, &problem) {
            problem = Some(error.context(format!("{name} is not as it should be")));
        }
    }
    if json {
        let code = problem.as_ref().map_or(0, exit_code);
        say_line!(
            "{}",
            json!({ "ok": problem.is_none(), "exit_code": code, "found": rows })
        );
    }
    problem.map_or(Ok(()), Err)
}

/// Whether the options name what is to be looked at.
fn is_named(options: &RunOptions, organ: Organ) -> bool {
    match organ {
        Organ::Input => options.input.is_some(),
        Organ::Warehouse | Organ::Disk => options.warehouse.is_some(),
        Organ::Database => options.database.database_url.is_some(),
        Organ::Cluster => options.cluster.cluster.is_some(),
        Organ::Model | Organ::Clock => true,
    }
}

/// What one part told that another one needs.
#[derive(Default)]
struct Patient {
    input_bytes: Option<u64>,
}

impl Patient {
    async fn examine(&mut self, organ: Organ, options: &RunOptions) -> Finding {
        match organ {
            Organ::Input => self.input(options).await,
            Organ::Warehouse => warehouse(options).await,
            Organ::Database => postgresql(options).await,
            Organ::Cluster => cluster(options).await,
            Organ::Model => model(options).await,
            Organ::Clock => clock(),
            Organ::Disk => self.disk(options),
        }
    }

    async fn input(&mut self, options: &RunOptions) -> Finding {
        let location = options.input.as_ref().ok_or_else(|| missing("--input"))?;
        let input = Input::open(location, options.date)
            .await?
            .with_user_columns(options.user_columns);
        if let Some(marker) = &options.ready_file {
            input.require_marker(marker).await?;
        }
        let sources: Vec<Source> = Source::ALL
            .into_iter()
            .filter(|source| *source != Source::Message || options.reputation_scores.is_none())
            .collect();
        input.require(&sources)?;
        if let Some(location) = &options.warehouse {
            let last = Warehouse::open(location)?.current().await?;
            require_users(&input, options.user_columns, last.as_ref()).await?;
        }
        self.input_bytes = Some(input.bytes());
        let files: usize = sources
            .iter()
            .map(|source| input.files(*source).map_or(0, <[_]>::len))
            .sum();
        let (folder, mib) = (input.folder(), input.bytes() >> 20);
        let passed_over = match input.passed_over() {
            [] => String::new(),
            names => format!("; passed over: {}", names.join(", ")),
        };
        Ok(format!(
            "{files} files with {mib} MiB in {folder}{passed_over}"
        ))
    }

    fn disk(&self, options: &RunOptions) -> Finding {
        let location = options
            .warehouse
            .as_ref()
            .ok_or_else(|| missing("--warehouse"))?;
        let local = Warehouse::open(location)?.url().to_file_path().ok();
        let folder = local.unwrap_or_else(std::env::temp_dir);
        let free = free_bytes(&folder)?;
        let wanted = self.input_bytes.unwrap_or(0) * ROOM;
        let (shown, mib) = (folder.display(), free >> 20);
        if free < wanted {
            bail!(
                "{shown} has {mib} MiB free, and a run on this input may need {} MiB: make room (`graph-recs clean \
                 --keep N` removes old runs), or put the warehouse elsewhere",
                wanted >> 20
            );
        }
        Ok(format!("{mib} MiB free in {shown}"))
    }
}

async fn warehouse(options: &RunOptions) -> Finding {
    let location = options
        .warehouse
        .as_ref()
        .ok_or_else(|| missing("--warehouse"))?;
    let warehouse = Warehouse::open(location)?;
    let publications = warehouse.publications().await?;
    let current = match publications.last() {
        Some(last) => format!(
            "{} publications, current is {}",
            publications.len(),
            last.run_id
        ),
        None => "nothing is published yet".to_owned(),
    };
    // Only who can write, read and remove can run; the lock says whether somebody does.
    let lock = WarehouseLock::acquire(&warehouse, "doctor", Utc::now()).await?;
    let path = Warehouse::work_path("doctor", &Uuid::new_v4().to_string())?;
    let store = warehouse.object_store();
    let cannot = || format!("{location} cannot be written");
    let text = PutPayload::from_static(b"graph-recs doctor");
    store.put(&path, text).await.with_context(cannot)?;
    let written = store.head(&path).await.with_context(cannot)?;
    store.delete(&path).await.with_context(cannot)?;
    if let Ok(root) = warehouse.url().to_file_path() {
        // Refused when something else is in it.
        let _ = std::fs::remove_dir(root.join("_runs").join("doctor"));
    }
    drop(lock);
    require_clock("the warehouse's store", written.last_modified)?;
    Ok(format!("{current}; can be written"))
}

async fn postgresql(options: &RunOptions) -> Finding {
    let database = database::open(&options.database)?.ok_or_else(|| missing("--database-url"))?;
    let probe = database.probe().await?;
    require_clock("PostgreSQL", probe.clock)?;
    let current = match probe.current {
        Some(run) => format!("current is {run}"),
        None => "nothing is published yet".to_owned(),
    };
    Ok(format!(
        "PostgreSQL {}, {current}; can be published to",
        probe.server
    ))
}

async fn cluster(options: &RunOptions) -> Finding {
    let url = options
        .cluster
        .cluster
        .as_ref()
        .ok_or_else(|| missing("--cluster"))?;
    let client = Client::new(url, &options.cluster.tls)?;
    let executors = client.executors().await?;
    if executors.is_empty() {
        bail!(
            "the scheduler at {url} has no executor: start graph-recs-executor, and look at its log"
        );
    }
    let opened = Model::open(options.model.as_deref()).await?;
    let needs = Needs {
        build: build(),
        model: Some(ModelRef {
            hash: opened.hash().to_owned(),
            location: options.model.clone(),
        }),
    };
    let mut cores = 0;
    for executor in &executors {
        let shown = executor.shown();
        let silent =
            || format!("executor {shown} does not answer: is its port open to this machine?");
        client
            .alive(executor, PATIENCE)
            .await
            .with_context(silent)?;
        if let Some(lacking) = client.fit(executor, &needs).await.with_context(silent)? {
            bail!("executor {shown} cannot work for this program: {lacking}");
        }
        cores += executor.cores();
    }
    Ok(format!(
        "{} executors with {cores} cores, all fit",
        executors.len()
    ))
}

async fn model(options: &RunOptions) -> Finding {
    let model = Model::open(options.model.as_deref()).await?;
    let mut tokens = Vec::new();
    model.tokenize(b"guidance raised adding before earnings", b"", &mut tokens);
    let scored = model.millionths(&[&tokens])?;
    let known = model.spec().vocabulary;
    let hash = model.hash().get(..8).unwrap_or_default().to_owned();
    Ok(format!(
        "{hash}, {known} words, scores {} text",
        scored.len()
    ))
}

fn clock() -> Finding {
    let now = Utc::now();
    if now.timestamp() < 1_700_000_000 {
        bail!("it is {now} here: set the machine's clock");
    }
    // SAFETY: a call that only fills the structure it is given, which zeros are valid for.
    let state = unsafe {
        let mut asked: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut asked)
    };
    // In a container or virtual machine the host keeps the clock, and nobody here knows.
    let kept = match state {
        libc::TIME_ERROR | -1 => "not known to be synchronised",
        _ => "synchronised",
    };
    Ok(format!("{}, {kept}", now.format("%Y-%m-%d %H:%M:%S UTC")))
}

/// Fails when another clock and this one differ too much.
fn require_clock(whose: &str, theirs: DateTime<Utc>) -> Result<()> {
    let off = Utc::now() - theirs;
    if off.abs() > CLOCK_OFF_AT_MOST {
        bail!(
            "the clocks of this machine and of {whose} differ by {} s: synchronise them (NTP)",
            off.num_seconds()
        );
    }
    Ok(())
}

/// Bytes that are free where a folder is or will be.
fn free_bytes(folder: &Path) -> Result<u64> {
    let mut there: PathBuf = folder.to_path_buf();
    while !there.exists() {
        if !there.pop() {
            bail!("{} is nowhere", folder.display());
        }
    }
    let path = CString::new(there.as_os_str().as_encoded_bytes())?;
    // SAFETY: the path ends with a zero, and zeros are valid for the structure that is filled.
    let (result, found) = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut found), found)
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context(there.display().to_string());
    }
    Ok(found.f_bavail * found.f_frsize)
}
