//! Statements, from their text to a plan: the same for every protocol.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableFunction;
use datafusion::common::ScalarValue;
use datafusion::execution::cache::cache_manager::CacheManager;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserOptions};
use tokio::runtime::Handle;

use super::audit::Audit;
use super::catalog::{CURRENT, Catalog, DATABASE, Snapshot, StatementCatalog, WhoToFollow};
use super::describe::{self, Described, Schemas};
use super::execution::Running;
use super::limits::{Gate, Limits, Quota, Usage};
use super::point::Points;
use super::refusal::{Kind, Refusal};
use super::remote::{Elsewhere, Remote};
use super::stores::{Readable, Stores};
use super::users::{SCHEMAS, User};
use super::{bounded, dialect, guard};

/// How long statements may take to stop at the end of the service.
const STOPPING: std::time::Duration = std::time::Duration::from_secs(3);
/// `$1` to `$1000`.
const MAX_PARAMETERS: usize = 1000;
/// How deep the parser follows nested expressions.
const PARSER_DEPTH: usize = 150;

/// Answers statements.
#[derive(Debug)]
pub struct Service {
    /// What they see.
    pub catalog: Catalog,
    /// What they may take.
    pub limits: Limits,
    /// Bytes of a statement's text.
    pub max_text: u64,
    pub(super) gate: Gate,
    pub(super) audit: Audit,
    /// Where they are planned and run: threads of their own.
    pub(super) work: Handle,
    pub(super) running: Running,
    pub(super) points: Points,
    described: Arc<Described>,
    base: SessionState,
    views: Mutex<HashMap<BTreeSet<String>, View>>,
    readable: Arc<[Readable]>,
    elsewhere: Option<Arc<Elsewhere>>,
    pub(super) memory: Arc<dyn MemoryPool>,
    disk: Arc<DiskManager>,
    cache: Arc<CacheManager>,
}

/// What users of the same schemas see.
#[derive(Clone, Debug)]
struct View {
    own: Arc<BTreeSet<String>>,
    described: Schemas,
}

/// What a service is made of.
pub struct Parts {
    /// See [`Service::catalog`].
    pub catalog: Catalog,
    /// Functions and settings, and the memory and disk that all statements share.
    pub context: SessionContext,
    /// See [`Service::limits`].
    pub limits: Limits,
    /// See [`Service::max_text`].
    pub max_text: u64,
    /// Lets statements in.
    pub gate: Gate,
    /// Notes what became of them.
    pub audit: Audit,
    /// See [`Service::work`].
    pub work: Handle,
    /// The files that may be read.
    pub readable: Arc<[Readable]>,
    /// Executors that work on what reads much.
    pub remote: Option<Arc<dyn Remote>>,
}

/// Whose statement it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// Their address.
    pub peer: String,
    /// postgresql or flight.
    pub protocol: &'static str,
}

/// A statement that can be run, again and again.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub text: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Names of its columns, as PostgreSQL gives them.
    pub names: Vec<String>,
    /// Types of its parameters, where they can be told.
    pub parameters: Vec<Option<DataType>>,
    statement: Statement,
    /// The publication that the plan was made for, and the plan.
    planned: Mutex<(Option<u64>, Arc<LogicalPlan>)>,
}

/// A session for one statement.
pub(super) struct Session {
    pub state: SessionState,
    pub snapshot: Arc<Snapshot>,
    pub quota: Arc<Quota>,
    pub usage: Arc<Usage>,
    pub limits: Limits,
    /// For whoever looks at the cluster's jobs.
    pub name: String,
    pub elsewhere: Option<Arc<Elsewhere>>,
}

impl Service {
    /// Puts a service together.
    ///
    /// # Errors
    /// Errors of DataFusion.
    pub fn new(parts: Parts) -> anyhow::Result<Arc<Self>> {
        let relations = Arc::clone(parts.catalog.relations());
        let model = Arc::clone(parts.catalog.model());
        let described = Arc::new(Described::new(relations, model));
        let mut state = parts.context.state();
        let remote = parts.remote;
        let elsewhere = remote.map(|remote| Arc::new(Elsewhere::new(remote, &state)));
        describe::register(&mut state, &described)?;
        dialect::register(&mut state)?;
        let config = state.config_mut();
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().execution.time_zone = Some("UTC".into());
        config.options_mut().catalog.information_schema = false;
        config
            .options_mut()
            .catalog
            .create_default_catalog_and_schema = false;
        config.options_mut().catalog.default_catalog = DATABASE.into();
        config.options_mut().catalog.default_schema = CURRENT.into();
        let functions = HashMap::from([(
            "who_to_follow".to_string(),
            Arc::new(TableFunction::new(
                "who_to_follow".into(),
                Arc::new(WhoToFollow),
            )),
        )]);
        let mut functions_of = state.table_functions().clone();
        functions_of.extend(functions);
        let runtime = Arc::clone(state.runtime_env());
        let base = SessionStateBuilder::new_from_existing(state)
            .with_table_functions(functions_of)
            .build();
        Ok(Arc::new(Self {
            catalog: parts.catalog,
            limits: parts.limits,
            max_text: parts.max_text,
            gate: parts.gate,
            audit: parts.audit,
            work: parts.work,
            running: Running::default(),
            points: Points::default(),
            described,
            base,
            views: Mutex::default(),
            readable: parts.readable,
            elsewhere,
            memory: Arc::clone(&runtime.memory_pool),
            disk: Arc::clone(&runtime.disk_manager),
            cache: Arc::clone(&runtime.cache_manager),
        }))
    }

    /// Looks for a new publication.
    ///
    /// # Errors
    /// When the warehouse cannot be read.
    pub async fn refresh(&self) -> anyhow::Result<()> {
        if self.catalog.refresh().await? {
            self.points.clear();
            let run = self.catalog.snapshot();
            tracing::info!("statements now see run {}", run.run_id().unwrap_or("none"));
        }
        Ok(())
    }

    /// Stops all statements, and waits until none holds an executor any more, but not for long.
    pub async fn stop(&self) {
        self.running.cancel_all();
        let begun = std::time::Instant::now();
        while !self.running.is_empty() && begun.elapsed() < STOPPING {
            tokio::time::sleep(STOPPING / 100).await;
        }
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.settle().await;
        }
    }

    /// Cancels the statement that holds the most memory; whether there was one.
    pub fn cancel_largest(&self) -> bool {
        self.running.cancel_largest()
    }

    /// Cuts a text into statements.
    ///
    /// # Errors
    /// [`Kind::Syntax`], [`Kind::Limit`].
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>, Refusal> {
        guard::check_text(text, self.max_text)?;
        let statements = Parser::new(&PostgreSqlDialect {})
            .with_recursion_limit(PARSER_DEPTH)
            .with_options(ParserOptions::new().with_trailing_commas(false))
            .try_with_sql(text)?
            .parse_statements()?;
        Ok(statements)
    }

    fn view(&self, user: &User) -> Result<View, Refusal> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.get(&user.schemas) {
            return Ok(view.clone());
        }
        let described = self.described.schemas(&user.schemas);
        let described = described.map_err(|error| {
            tracing::error!("the catalog cannot be described: {error:#}");
            Refusal::new(Kind::Internal, "the catalog cannot be described")
        })?;
        let view = View {
            own: Arc::new(user.schemas.clone()),
            described,
        };
        views.insert(user.schemas.clone(), view.clone());
        Ok(view)
    }

    /// A session for one statement of `user`, which counts into `usage`.
    pub(super) fn session(
        &self,
        user: &User,
        snapshot: Arc<Snapshot>,
        usage: &Arc<Usage>,
    ) -> Result<Session, Refusal> {
        let limits = self.limits.of(&user.limits);
        let view = self.view(user)?;
        let quota = Arc::new(Quota::new(Arc::clone(&self.memory), limits.max_memory));
        let stores = Stores::new(
            Arc::clone(&self.readable),
            Arc::clone(usage),
            limits.max_scan,
        );
        let runtime = RuntimeEnv {
            memory_pool: Arc::clone(&quota) as Arc<dyn MemoryPool>,
            disk_manager: Arc::clone(&self.disk),
            cache_manager: Arc::clone(&self.cache),
            object_store_registry: Arc::new(stores),
        };
        let config = self
            .base
            .config()
            .clone()
            .with_extension(Arc::clone(&snapshot));
        let catalog = StatementCatalog::new(Arc::clone(&snapshot), view.own, view.described);
        let mut props = ExecutionProps::new();
        props.query_execution_start_time = Some(Utc::now());
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_config(config)
            .with_catalog_list(Arc::new(catalog))
            .with_runtime_env(Arc::new(runtime))
            .with_execution_props(props)
            .build();
        Ok(Session {
            state,
            snapshot,
            quota,
            usage: Arc::clone(usage),
            limits,
            name: user.name.clone(),
            elsewhere: self.elsewhere.clone(),
        })
    }

    /// Plans a statement of `user` over the newest run.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub async fn prepare(
        self: &Arc<Self>,
        user: &User,
        text: &str,
        mut statement: Statement,
    ) -> Result<Prepared, Refusal> {
        guard::check_statement(&statement, &user.schemas, &SCHEMAS)?;
        let said = dialect::names(&statement);
        let placeholders = dialect::placeholders(&statement);
        dialect::rewrite(&mut statement, &self.described, &user.name);
        let snapshot = self.catalog.snapshot();
        let number = snapshot.number();
        let session = self.session(user, snapshot, &Arc::default())?;
        let copy = statement.clone();
        let planned = self
            .work
            .spawn(async move { plan(&session.state, copy).await });
        let plan = flat(planned.await)?;
        let schema: Schema = plan.schema().as_arrow().clone();
        if schema.fields().len() > guard::MAX_COLUMNS {
            return Err(guard::too_many_columns(schema.fields().len()));
        }
        let own = schema.fields().iter().map(|field| field.name().clone());
        let names = said.filter(|names| names.len() == schema.fields().len());
        Ok(Prepared {
            names: names.unwrap_or_else(|| own.collect()),
            text: text.to_string(),
            schema: Arc::new(schema),
            parameters: parameter_types(&plan, placeholders)?,
            statement,
            planned: Mutex::new((number, Arc::new(plan))),
        })
    }
}

impl Prepared {
    /// The plan over the session's snapshot.
    pub(super) async fn plan(&self, session: &Session) -> Result<Arc<LogicalPlan>, Refusal> {
        let number = session.snapshot.number();
        {
            let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
            if planned.0 == number {
                return Ok(Arc::clone(&planned.1));
            }
        }
        let again = Arc::new(plan(&session.state, self.statement.clone()).await?);
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = (number, Arc::clone(&again));
        Ok(again)
    }
}

async fn plan(state: &SessionState, statement: Statement) -> Result<LogicalPlan, Refusal> {
    let statement = PlannedStatement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await?;
    guard::check_plan(&plan)?;
    Ok(bounded::wall(plan)?)
}

/// The result of a task that may have been lost.
pub(super) fn flat<T>(
    result: Result<Result<T, Refusal>, tokio::task::JoinError>,
) -> Result<T, Refusal> {
    result.unwrap_or_else(|error| {
        tracing::error!("a statement's task was lost: {error}");
        Err(Refusal::new(
            Kind::Internal,
            "the statement's work was lost",
        ))
    })
}

/// Types of `$1`, `$2`, … `placeholders`, some of which the plan may do without.
fn parameter_types(
    plan: &LogicalPlan,
    placeholders: usize,
) -> Result<Vec<Option<DataType>>, Refusal> {
    let mut types = vec![None; placeholders.min(MAX_PARAMETERS)];
    for (name, data_type) in plan.get_parameter_types()? {
        let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let Some(place) = number.and_then(|number| number.checked_sub(1)) else {
            let text = format!("parameter {name}: parameters are $1, $2, …");
            return Err(Refusal::new(Kind::Syntax, text));
        };
        if place >= MAX_PARAMETERS {
            let text = format!("more than {MAX_PARAMETERS} parameters");
            return Err(Refusal::new(Kind::Limit, text));
        }
        if types.len() <= place {
            types.resize(place + 1, None);
        }
        types[place] = data_type;
    }
    Ok(types)
}

/// Values in the types that the statement wants, where they fit.
pub(super) fn fit(values: Vec<ScalarValue>, wanted: &[Option<DataType>]) -> Vec<ScalarValue> {
    let mut wanted = wanted.iter();
    let fit = |value: ScalarValue| match wanted.next().and_then(Option::as_ref) {
        Some(to) => value.cast_to(to).unwrap_or(value),
        None => value,
    };
    values.into_iter().map(fit).collect()
}
