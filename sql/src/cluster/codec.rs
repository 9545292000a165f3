//! How our operators, scans and functions travel in a plan.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, internal_err};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_protobuf_file_scan_config;
use datafusion_proto::physical_plan::to_proto::serialize_file_scan_config;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{FileScanExecConf, PhysicalPlanNode};
use graph_recs_udfs::model::{Model, Reputation};
use graph_recs_udfs::scan::{RecordSource, Source};
use object_store::path::Path;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::piece::{Failure, Inner, PieceExec, PieceSpec};
use super::{ModelRef, build};

/// What our nodes begin with; Ballista's never begin so, being protobuf of field 1 and on.
const MARK: &[u8] = b"\xffgraph-recs\x01";

/// Ballista's codec, and ours for what Ballista doesn't know.
#[derive(Debug)]
pub struct Codec {
    ballista: BallistaPhysicalExtensionCodec,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// A driver encodes; its model is to be found there.
    Driver(Option<String>),
    /// A scheduler hands pieces on without looking into them.
    Relay,
    /// An executor runs them.
    Executor,
}

/// What a node of ours is, before its bytes.
#[derive(Serialize, Deserialize)]
enum Header {
    Piece(PieceSpec),
    Records {
        source: String,
        root: String,
        user_columns: Option<usize>,
    },
}

impl Codec {
    /// For a driver whose model lies at `model`; the shipped one without a location.
    pub fn driver(model: Option<String>) -> Self {
        Self::new(Role::Driver(model))
    }

    /// For a scheduler.
    pub fn relay() -> Self {
        Self::new(Role::Relay)
    }

    /// For an executor.
    pub fn executor() -> Self {
        Self::new(Role::Executor)
    }

    fn new(role: Role) -> Self {
        Self {
            ballista: BallistaPhysicalExtensionCodec::default(),
            role,
        }
    }

    /// A plan as the bytes that [`Codec`]s of other processes read.
    ///
    /// # Errors
    /// When the plan has something that can't travel.
    pub fn encode(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
        let node = PhysicalPlanNode::try_from_physical_plan(plan, self)?;
        let mut bytes = Vec::new();
        node.try_encode(&mut bytes)?;
        Ok(bytes)
    }

    fn decode_piece(&self, spec: PieceSpec, plan: &[u8], context: &TaskContext) -> PieceExec {
        let inner = match self.role {
            Role::Relay => Inner::Bytes(Bytes::copy_from_slice(plan)),
            Role::Driver(_) | Role::Executor => match self.decode_plan(&spec, plan, context) {
                Ok(plan) => Inner::Plan(plan),
                Err(error) => Inner::Refused(Failure::read(&error.to_string()).1),
            },
        };
        PieceExec::of(spec, inner)
    }

    fn decode_plan(
        &self,
        spec: &PieceSpec,
        plan: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        refuse_other_build(&spec.build).map_err(|message| Failure::lasting(&message))?;
        PhysicalPlanNode::try_decode(plan)?.try_into_physical_plan(context, self)
    }
}

/// Says in words that this executor can't take part in a run of another build.
fn refuse_other_build(theirs: &str) -> std::result::Result<(), String> {
    let ours = build();
    if theirs == ours {
        return Ok(());
    }
    Err(format!(
        "this executor is graph-recs-executor {ours}, the run is of graph-recs {theirs}: \
         install the same version everywhere"
    ))
}

/// Says whether this process can work for a driver with these needs; loads the model if it has to.
///
/// # Errors
/// In words that name what is missing.
pub(super) async fn fit(needs: &super::Needs) -> std::result::Result<(), String> {
    refuse_other_build(&needs.build)?;
    if let Some(model) = &needs.model {
        load(model).await?;
    }
    Ok(())
}

impl super::Needs {
    /// Whether this process meets them, in words if not; the model is loaded now.
    ///
    /// # Errors
    /// What is missing.
    pub async fn met(&self) -> std::result::Result<(), String> {
        fit(self).await
    }
}

static MODELS: LazyLock<Mutex<HashMap<String, Arc<Model>>>> = LazyLock::new(Mutex::default);

/// The model, loaded once a process.
async fn load(wanted: &ModelRef) -> std::result::Result<Arc<Model>, String> {
    let known = || MODELS.lock().ok()?.get(&wanted.hash).cloned();
    if let Some(model) = known() {
        return Ok(model);
    }
    let place = wanted.location.as_deref().unwrap_or("the program itself");
    let model = Model::open(wanted.location.as_deref())
        .await
        .map_err(|error| {
            format!(
                "this executor cannot load the run's model from {place}: {error}: give --model a place that all \
                 executors can read"
            )
        })?;
    if model.hash() != wanted.hash {
        return Err(format!(
            "the model at {place} is {} on this executor, the run needs {}: copy the same model everywhere",
            model.hash(),
            wanted.hash
        ));
    }
    if let Ok(mut models) = MODELS.lock() {
        models.insert(wanted.hash.clone(), Arc::clone(&model));
    }
    Ok(model)
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(ours) = bytes.strip_prefix(MARK) else {
            return self.ballista.try_decode(bytes, inputs, context, converter);
        };
        let Some((length, rest)) = ours.split_first_chunk::<4>() else {
            return internal_err!("a node of graph-recs is cut off");
        };
        let Some((header, body)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        else {
            return internal_err!("a node of graph-recs is cut off");
        };
        let header = serde_json::from_slice(header).map_err(|error| {
            exec_datafusion_err!(
                "a node that this version ({}) does not know, {error}: install the same version everywhere",
                build()
            )
        })?;
        match header {
            Header::Piece(spec) => Ok(Arc::new(self.decode_piece(spec, body, context))),
            Header::Records {
                source,
                root,
                user_columns,
            } => {
                let source = Source::ALL
                    .into_iter()
                    .find(|known| known.name() == source)
                    .ok_or_else(|| exec_datafusion_err!("there is no source {source}"))?;
                let root = Path::parse(root).map_err(object_store::Error::from)?;
                let conf = FileScanExecConf::decode(body)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                let config = parse_protobuf_file_scan_config(
                    &conf,
                    &PhysicalPlanDecodeContext::new(context, self),
                    converter,
                    Arc::new(RecordSource::new(source, root, user_columns)),
                )?;
                Ok(DataSourceExec::from_data_source(config))
            }
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(piece) = node.downcast_ref::<PieceExec>() {
            let body = match &piece.inner {
                Inner::Plan(plan) => Bytes::from(self.encode(Arc::clone(plan))?),
                Inner::Bytes(bytes) => bytes.clone(),
                Inner::Refused(why) => return Err(Failure::lasting(why)),
            };
            return put(bytes, &Header::Piece(piece.spec.clone()), &body);
        }
        if let Some((config, records)) = records_of(&node) {
            let header = Header::Records {
                source: records.source().name().to_string(),
                root: records.root().to_string(),
                user_columns: records.user_columns(),
            };
            let conf = serialize_file_scan_config(config, self, converter)?;
            return put(bytes, &header, &conf.encode_to_vec());
        }
        self.ballista.try_encode(node, bytes, converter)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if let Role::Driver(location) = &self.role
            && let Some(reputation) = function.inner().downcast_ref::<Reputation>()
        {
            let outside = |error| DataFusionError::External(Box::new(error));
            let model = ModelRef {
                hash: reputation
                    .model()
                    .get()
                    .map_err(outside)?
                    .hash()
                    .to_string(),
                location: location.clone(),
            };
            let model = serde_json::to_vec(&model);
            bytes.extend(model.map_err(|error| DataFusionError::External(Box::new(error)))?);
        }
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        if bytes.is_empty() {
            return Err(Failure::lasting(&format!(
                "this executor does not know the function {name}: install the same version everywhere"
            )));
        }
        let model: ModelRef = serde_json::from_slice(bytes)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        // The driver asked before the run began, so the model is loaded, unless the executor came later.
        let model = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(load(&model))
        })
        .map_err(|message| Failure::lasting(&message))?;
        Ok(Arc::new(ScalarUDF::from(Reputation::new(model))))
    }
}

fn records_of(node: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &RecordSource)> {
    let scan = node.downcast_ref::<DataSourceExec>()?;
    let source: &dyn std::any::Any = scan.data_source().as_ref();
    let config = source.downcast_ref::<FileScanConfig>()?;
    let records: &dyn std::any::Any = config.file_source().as_ref();
    Some((config, records.downcast_ref::<RecordSource>()?))
}

fn put(bytes: &mut Vec<u8>, header: &Header, body: &[u8]) -> Result<()> {
    let header =
        serde_json::to_vec(header).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let length =
        u32::try_from(header.len()).map_err(|error| DataFusionError::External(Box::new(error)))?;
    bytes.extend(MARK);
    bytes.extend(length.to_le_bytes());
    bytes.extend(header);
    bytes.extend(body);
    Ok(())
}
