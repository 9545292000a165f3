//! The weekly documents in one reading of the messages, though two of the plans that make them go through all of them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{MemoryCatalogProviderList, Session};
use datafusion::common::{Result, ScalarValue, plan_datafusion_err};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, Expr, SessionContext};

use crate::session;
use crate::tee::tee;

/// Makes `weekly_messages` known as a view of which each use reads the messages once, in this process.
///
/// # Errors
/// Errors of DataFusion.
pub async fn define(
    context: &SessionContext,
    parameters: &HashMap<String, ScalarValue>,
) -> Result<()> {
    let records = session::query(context, "message_records", parameters).await?;
    let mut view = WeeklyMessages {
        records,
        parameters: parameters.clone(),
        schema: SchemaRef::new(Schema::empty()),
    };
    let documents = view.documents(&context.state()).await?;
    view.schema = Arc::new(documents.schema().as_arrow().clone());
    context.register_table("weekly_messages", Arc::new(view))?;
    Ok(())
}

/// The view.
#[derive(Debug)]
struct WeeklyMessages {
    records: DataFrame,
    parameters: HashMap<String, ScalarValue>,
    schema: SchemaRef,
}

impl WeeklyMessages {
    /// The documents, in a session of their own, where the messages are shared by those who read them.
    async fn documents(&self, state: &SessionState) -> Result<DataFrame> {
        let config = state.config().clone();
        let config = config
            .with_default_catalog_and_schema("datafusion", "public")
            .with_create_default_catalog_and_schema(true);
        let state = SessionStateBuilder::new_from_existing(state.clone())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .with_config(config)
            .build();
        let context = SessionContext::new_with_state(state);
        tee(&context, "message_records", self.records.clone(), 2).await?;
        session::define(&context, "duplicate_messages", &self.parameters).await?;
        session::query(&context, "weekly_messages", &self.parameters).await
    }
}

#[async_trait]
impl TableProvider for WeeklyMessages {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = state.as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| plan_datafusion_err!("a session of another kind"))?;
        let mut documents = self.documents(state).await?;
        for filter in filters {
            documents = documents.filter(filter.clone())?;
        }
        if let Some(projection) = projection {
            let columns = documents.schema().columns();
            let wanted = projection.iter().filter_map(|&at| columns.get(at));
            documents = documents.select(wanted.cloned().map(Expr::Column))?;
        }
        documents = documents.limit(0, limit)?;
        documents.create_physical_plan().await
    }
}
