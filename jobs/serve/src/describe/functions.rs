//! The functions that PostgreSQL's clients call when they look around.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::Described;
use super::types::type_name;
use crate::catalog::{CURRENT, DATABASE};

/// Settings that clients ask for, by name.
pub const SETTINGS: [(&str, &str); 22] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, YMD"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C.UTF-8"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", CURRENT),
    ("server_encoding", "UTF8"),
    ("server_version", super::postgres::VERSION),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
];

/// What a setting is.
pub fn setting(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let name = if name == "transaction_read_only" {
        "default_transaction_read_only"
    } else {
        name.as_str()
    };
    let found = SETTINGS.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

/// Makes the functions known to a session; those that describe look things up in `described`.
///
/// # Errors
/// Errors of DataFusion.
pub fn register(registry: &mut dyn FunctionRegistry, described: &Arc<Described>) -> Result<()> {
    let version = format!(
        "PostgreSQL {} (graph-recs {})",
        super::postgres::VERSION,
        env!("CARGO_PKG_VERSION")
    );
    let text = |value: &str| ScalarValue::from(value);
    let schemas = ScalarValue::List(ScalarValue::new_list_nullable(
        &[text(CURRENT), text("pg_catalog")],
        &DataType::Utf8,
    ));
    let null = ScalarValue::Utf8(None);
    let yes = ScalarValue::from(true);
    let constants: Vec<(&'static str, ScalarValue)> = vec![
        ("version", text(&version)),
        ("current_database", text(DATABASE)),
        ("current_catalog", text(DATABASE)),
        ("current_schema", text(CURRENT)),
        ("current_schemas", schemas),
        ("pg_get_userbyid", text(DATABASE)),
        ("pg_encoding_to_char", text("UTF8")),
        ("pg_backend_pid", ScalarValue::from(1)),
        ("pg_is_in_recovery", ScalarValue::from(false)),
        ("pg_is_other_temp_schema", ScalarValue::from(false)),
        ("pg_my_temp_schema", ScalarValue::from(0)),
        ("pg_postmaster_start_time", null.clone()),
        ("pg_relation_is_publishable", ScalarValue::from(false)),
        ("pg_relation_size", ScalarValue::from(0_i64)),
        ("pg_table_size", ScalarValue::from(0_i64)),
        ("pg_total_relation_size", ScalarValue::from(0_i64)),
        ("pg_database_size", ScalarValue::from(0_i64)),
        ("pg_size_pretty", null.clone()),
        ("pg_stat_get_numscans", ScalarValue::from(0_i64)),
        ("to_regtype", ScalarValue::Int32(None)),
        ("to_regclass", ScalarValue::Int32(None)),
        ("to_regnamespace", ScalarValue::Int32(None)),
        ("pg_advisory_unlock_all", null.clone()),
        ("pg_cancel_backend", ScalarValue::from(false)),
        ("pg_terminate_backend", ScalarValue::from(false)),
        ("txid_current", ScalarValue::from(1_i64)),
        ("inet_server_addr", null.clone()),
        ("inet_server_port", ScalarValue::Int32(None)),
        ("pg_get_expr", null.clone()),
        ("pg_get_indexdef", null.clone()),
        ("pg_get_constraintdef", null.clone()),
        ("pg_get_viewdef", text("")),
        ("pg_get_triggerdef", null.clone()),
        ("pg_get_ruledef", null.clone()),
        ("pg_get_partkeydef", null.clone()),
        ("pg_get_serial_sequence", null.clone()),
        ("pg_get_function_result", null.clone()),
        ("pg_get_function_arguments", null.clone()),
        ("pg_get_function_identity_arguments", null.clone()),
        ("pg_get_functiondef", null.clone()),
        ("pg_get_statisticsobjdef_columns", null.clone()),
        ("shobj_description", null.clone()),
        ("pg_tablespace_location", text("")),
        ("pg_collation_for", null.clone()),
        ("set_config", null),
        ("pg_type_is_visible", yes.clone()),
        ("pg_function_is_visible", yes.clone()),
        ("pg_collation_is_visible", yes.clone()),
        ("has_table_privilege", yes.clone()),
        ("has_any_column_privilege", yes.clone()),
        ("has_column_privilege", yes.clone()),
        ("has_schema_privilege", yes.clone()),
        ("has_database_privilege", yes.clone()),
        ("has_function_privilege", yes.clone()),
        ("has_sequence_privilege", ScalarValue::from(false)),
        ("pg_has_role", yes),
    ];
    for (name, value) in constants {
        registry.register_udf(Arc::new(ScalarUDF::from(Constant::new(name, value))))?;
    }
    registry.register_udf(Arc::new(ScalarUDF::from(super::texts::Format::new())))?;
    registry.register_udf(Arc::new(ScalarUDF::from(super::texts::ParseIdent::new())))?;
    registry.register_udf(Arc::new(ScalarUDF::from(super::lists::Numbered::new())))?;
    let named: [(&'static str, Look); 9] = [
        ("pg_table_is_visible", Look::Visible),
        ("pg_relation_oid", Look::RelationOid),
        ("format_type", Look::TypeName),
        ("obj_description", Look::Description),
        ("col_description", Look::ColumnDescription),
        ("pg_relation_name", Look::RelationName),
        ("pg_schema_name", Look::SchemaName),
        ("quote_ident", Look::Quoted),
        ("current_setting", Look::Setting),
    ];
    for (name, look) in named {
        let function = Named {
            name,
            look,
            described: Shared(Arc::clone(described)),
            signature: Signature::one_of(
                vec![TypeSignature::Any(1), TypeSignature::Any(2)],
                Volatility::Stable,
            ),
        };
        registry.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    Ok(())
}

/// Gives the same whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Constant {
    fn new(name: &'static str, value: ScalarValue) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Self {
            name,
            value,
            signature: Signature::one_of(any, Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// What a function looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Look {
    TypeName,
    Description,
    ColumnDescription,
    RelationName,
    RelationOid,
    Visible,
    SchemaName,
    Quoted,
    Setting,
}

/// There is one catalog in a process that matters: all are the same.
#[derive(Clone, Debug)]
struct Shared(Arc<Described>);

impl PartialEq for Shared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shared {}

impl std::hash::Hash for Shared {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// Looks something up by oid or name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Named {
    name: &'static str,
    look: Look,
    described: Shared,
    signature: Signature,
}

impl Named {
    fn number(&self, oid: i64, part: i64) -> Option<String> {
        let described = &self.described.0;
        match self.look {
            Look::TypeName => Some(type_name(oid, part).unwrap_or_else(|| "???".into())),
            Look::Description => described.description(oid, 0),
            Look::ColumnDescription => described.description(oid, part),
            Look::RelationName => described.relation(oid).map(|relation| match relation {
                (CURRENT, name) => name.to_string(),
                (schema, name) => format!("{schema}.{name}"),
            }),
            Look::Visible => {
                let relation = described.relation(oid);
                Some(
                    relation
                        .is_none_or(|(schema, _)| schema == CURRENT)
                        .to_string(),
                )
            }
            Look::SchemaName => described.schema(oid),
            Look::RelationOid | Look::Quoted | Look::Setting => None,
        }
    }
}

/// A name as it is written in SQL.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.look {
            Look::RelationOid => DataType::Int32,
            Look::Visible => DataType::Boolean,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let mut result = StringBuilder::new();
        if matches!(self.look, Look::Quoted | Look::Setting | Look::RelationOid) {
            let texts = cast(&columns[0], &DataType::Utf8)?;
            for text in texts.as_string::<i32>() {
                result.append_option(text.and_then(|text| match self.look {
                    Look::Quoted => Some(quoted(text)),
                    Look::RelationOid => {
                        let oid = text.parse().ok();
                        let oid = oid.or_else(|| self.described.0.relation_oid(text));
                        oid.map(|oid| oid.to_string())
                    }
                    _ => setting(text).map(String::from),
                }));
            }
        } else {
            let numbers = |column: &ArrayRef| cast(column, &DataType::Int64);
            let oids = numbers(&columns[0])?;
            // The second argument of obj_description is a catalog's name, of the others a number.
            let parts = match columns.get(1) {
                Some(parts) if self.look != Look::Description => numbers(parts)?,
                _ => ScalarValue::Int64(Some(-1)).to_array_of_size(oids.len())?,
            };
            let (oids, parts) = (
                oids.as_primitive::<Int64Type>(),
                parts.as_primitive::<Int64Type>(),
            );
            for (oid, part) in oids.iter().zip(parts) {
                result.append_option(oid.and_then(|oid| self.number(oid, part.unwrap_or(-1))));
            }
        }
        let result: ArrayRef = Arc::new(result.finish());
        let result = cast(&result, args.return_type())?;
        // One row for constants of any number of rows.
        if result.len() == 1 && rows != 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
