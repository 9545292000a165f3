//! Speaking to a Ballista scheduler and its executors.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballista_core::client::BallistaClient;
use ballista_core::config::BALLISTA_JOB_NAME;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobStatusParams,
    GetJobStatusResult, KeyValuePair, PartitionLocation,
};
use ballista_core::version::insert_version_header;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use graph_recs_sql::cluster::tls::{TlsOptions, Tunnels};
use graph_recs_sql::cluster::{FIT_PATH, Needs};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use url::Url;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Plans with many files, or many rows of a small result.
const MESSAGE_BYTES: usize = 64 << 20;

/// So often a result is asked for; Ballista 55 panics at 0.
const FETCHES: u8 = 2;
const FETCH_PAUSE_MILLIS: u64 = 100;

/// A scheduler as a client sees it.
#[derive(Clone)]
pub struct Client {
    scheduler: SchedulerGrpcClient<Channel>,
    authority: (String, u16),
    web: Web,
    tunnels: Option<Arc<Tunnels>>,
}

/// Plain HTTP requests, through the tunnels when there are some.
#[derive(Clone)]
struct Web {
    plain: reqwest::Client,
    tunnels: Option<Arc<Tunnels>>,
}

/// An executor as the scheduler lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Executor {
    /// Its id, which begins with its build.
    pub id: String,
    /// Where it is.
    pub host: String,
    /// Its data port.
    pub port: u16,
    /// What it can do at once.
    specification: Specification,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Specification {
    vcores: u32,
}

impl Executor {
    /// Tasks that it works on at once.
    pub fn cores(&self) -> usize {
        self.specification.vcores as usize
    }

    /// How it is named in messages.
    pub fn shown(&self) -> String {
        format!("{}:{} ({})", self.host, self.port, self.id)
    }
}

/// A Ballista job as the scheduler lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct JobLine {
    /// The scheduler's name for it.
    pub job_id: String,
    /// Our name for it: `graph-recs/<run>/<stage>/<piece>/<attempt>`.
    pub job_name: String,
    /// `Queued`, `Running`, `Completed` or `Failed`.
    pub status: String,
    /// The status in words.
    pub job_status: String,
    /// When it began, milliseconds.
    pub start_time: u64,
    /// When it ended, milliseconds; 0 before.
    pub end_time: u64,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub enum JobState {
    /// Not there yet.
    Waiting,
    /// Its result lies here.
    Done(Vec<PartitionLocation>),
    /// It failed, with this text.
    Failed(String),
    /// The scheduler does not know it.
    Unknown,
}

impl Client {
    /// A client of the scheduler at `df://host:port` or `http://host:port`. Connects when first used, and again
    /// after a break.
    ///
    /// # Errors
    /// When the URL is none of these, or the certificates are not fit.
    pub fn new(url: &str, tls: &TlsOptions) -> Result<Self> {
        let usage = || format!("--cluster {url}: give it as df://host:port");
        let parsed = Url::parse(url).with_context(usage)?;
        if !["df", "http", "https"].contains(&parsed.scheme()) {
            bail!(usage());
        }
        let host = parsed.host_str().with_context(usage)?.to_string();
        let port = parsed.port().unwrap_or(50050);
        let tunnels = match tls.wanted() {
            true => Some(Tunnels::new(tls)?),
            false => None,
        };
        let mut endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
            .with_context(usage)?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PATIENCE)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true);
        if let Some(tunnels) = &tunnels {
            endpoint = (tunnels.endpoints())(endpoint).map_err(anyhow::Error::from_boxed)?;
        }
        let scheduler = SchedulerGrpcClient::new(endpoint.connect_lazy())
            .max_encoding_message_size(MESSAGE_BYTES)
            .max_decoding_message_size(MESSAGE_BYTES);
        Ok(Self {
            scheduler,
            authority: (host, port),
            web: Web {
                plain: web_client(reqwest::Client::builder())?,
                tunnels: tunnels.clone(),
            },
            tunnels,
        })
    }

    /// The executors that the scheduler counts on.
    pub async fn executors(&self) -> Result<Vec<Executor>> {
        self.scheduler_json("/api/executors").await
    }

    /// The Ballista jobs of all runs.
    pub async fn jobs(&self) -> Result<Vec<JobLine>> {
        self.scheduler_json("/api/jobs").await
    }

    /// How many stages of a job are through.
    pub async fn finished_stages(&self, job: &str) -> Result<usize> {
        #[derive(Deserialize)]
        struct Job {
            completed_stages: usize,
        }
        let job: Job = self.scheduler_json(&format!("/api/job/{job}")).await?;
        Ok(job.completed_stages)
    }

    async fn scheduler_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (host, port) = &self.authority;
        let answer = self.web.get(host, *port, path, PATIENCE).await;
        let answer = answer.with_context(|| format!("no scheduler answers at {host}:{port}"))?;
        serde_json::from_str(&answer)
            .with_context(|| format!("{host}:{port} is no graph-recs-scheduler"))
    }

    /// Whether an executor answers within `patience`.
    ///
    /// # Errors
    /// When it does not: [`refused`] tells whether nobody listens there any more.
    pub async fn alive(&self, executor: &Executor, patience: Duration) -> Result<()> {
        let (host, port) = (&executor.host, executor.port);
        self.web
            .get(host, port, FIT_PATH, patience)
            .await
            .map(|_| ())
    }

    /// Asks an executor whether it can work for a run; what it lacks, in words, when not.
    pub async fn fit(&self, executor: &Executor, needs: &Needs) -> Result<Option<String>> {
        let body = serde_json::to_string(needs)?;
        let (host, port) = (&executor.host, executor.port);
        // It may have to load a model.
        let response = self
            .web
            .client(host, port)?
            .post(format!("http://{host}:{port}{FIT_PATH}"))
            .timeout(Duration::from_secs(60))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        let fit = response.status().is_success();
        let text = response.text().await?;
        Ok((!fit).then_some(text))
    }

    /// Sends a plan; the stream tells what becomes of it.
    pub async fn submit(
        &self,
        name: &str,
        session: &str,
        settings: &[(String, String)],
        plan: Vec<u8>,
    ) -> Result<Streaming<GetJobStatusResult>, tonic::Status> {
        let named = [(BALLISTA_JOB_NAME.to_string(), name.to_string())];
        let settings = settings
            .iter()
            .chain(&named)
            .map(|(key, value)| KeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            });
        let mut request = Request::new(ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(plan)),
            session_id: session.to_string(),
            settings: settings.collect(),
            operation_id: name.to_string(),
        });
        insert_version_header(request.metadata_mut());
        let sent = self.scheduler.clone().execute_query_push(request).await?;
        Ok(sent.into_inner())
    }

    /// What has become of a job by now.
    pub async fn state(&self, job: &str) -> Result<JobState, tonic::Status> {
        let request = Request::new(GetJobStatusParams {
            job_id: job.to_string(),
        });
        let patient = timeout(PATIENCE, async {
            self.scheduler.clone().get_job_status(request).await
        });
        let answer = patient
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("the scheduler does not answer"))??;
        Ok(state_of(answer.into_inner()))
    }

    /// Stops a job's work. A job that has ended stays as it is.
    pub async fn cancel(&self, job: &str) -> Result<()> {
        let request = Request::new(CancelJobParams {
            job_id: job.to_string(),
        });
        timeout(PATIENCE, async {
            self.scheduler.clone().cancel_job(request).await
        })
        .await??;
        Ok(())
    }

    /// Removes a job's result.
    pub async fn clean(&self, job: &str) -> Result<()> {
        let request = Request::new(CleanJobDataParams {
            job_id: job.to_string(),
            remove_stage_ids: Vec::new(),
        });
        timeout(PATIENCE, async {
            self.scheduler.clone().clean_job_data(request).await
        })
        .await??;
        Ok(())
    }

    /// The batches of a result, as they are handed out.
    pub async fn fetch(&self, location: PartitionLocation) -> Result<Batches> {
        let layout = location.layout();
        let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id)
        else {
            bail!("a result without a place");
        };
        let hook = self
            .tunnels
            .as_ref()
            .map(|tunnels| Arc::new(BallistaConfigGrpcEndpoint::new(tunnels.endpoints())));
        let port = u16::try_from(executor.port)?;
        let begin = async {
            let mut client = BallistaClient::try_new(
                &executor.host,
                port,
                MESSAGE_BYTES,
                false,
                hook,
                FETCHES,
                FETCH_PAUSE_MILLIS,
                0,
                0,
            )
            .await?;
            let partition = partition.into();
            let rows = client
                .fetch_partition(&executor.id, &partition, location.file_id, layout, true)
                .await?;
            anyhow::Ok(rows)
        };
        const SILENT: &str = "the executor does not hand out its result";
        let rows = timeout(PATIENCE, begin).await.context(SILENT)??;
        let next = |mut rows: SendableRecordBatchStream| async move {
            let batch = timeout(PATIENCE, rows.try_next()).await.context(SILENT)??;
            anyhow::Ok(batch.map(|batch| (batch, rows)))
        };
        Ok(stream::try_unfold(rows, next).boxed())
    }
}

/// A result's batches.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// What a status message says.
pub fn state_of(message: GetJobStatusResult) -> JobState {
    let Some(status) = message.status else {
        return JobState::Unknown;
    };
    match status.status {
        None => JobState::Unknown,
        Some(Status::Queued(_) | Status::Running(_)) => JobState::Waiting,
        Some(Status::Failed(failed)) => JobState::Failed(failed.error),
        Some(Status::Successful(done)) => JobState::Done(done.partition_location),
    }
}

/// Whether nobody listens at the other end any more, as after the end of a process.
pub fn refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

impl Web {
    async fn get(&self, host: &str, port: u16, path: &str, patience: Duration) -> Result<String> {
        let response = self
            .client(host, port)?
            .get(format!("http://{host}:{port}{path}"))
            .timeout(patience)
            .send()
            .await?;
        Ok(response.error_for_status()?.text().await?)
    }

    fn client(&self, host: &str, port: u16) -> Result<reqwest::Client> {
        match &self.tunnels {
            None => Ok(self.plain.clone()),
            Some(tunnels) => {
                web_client(reqwest::Client::builder().unix_socket(tunnels.socket(host, port)?))
            }
        }
    }
}

fn web_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    // No proxy of the environment stands between the cluster's machines.
    Ok(builder.no_proxy().connect_timeout(PATIENCE).build()?)
}
