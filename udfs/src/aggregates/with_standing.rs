//! `with_standing`: connections, with all that decides whether they may be recommended.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray, StructArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::arrow;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{check_count, list_array, list_of, lists, numbers, structs};
use super::id_map::{Map, NAME as ID_MAP};
use super::second_degree::CANDIDATE;
use super::words::{Words, check_words};

/// `with_standing(connections LIST<STRUCT<id INT, weight BIGINT>>, map)`: the same lists as `second_degree` takes them as
/// candidates, with the value that a map of [`IdMap`](super::IdMap) has for each id as its `standing`, or -1.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WithStanding {
    signature: Signature,
}

impl Default for WithStanding {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

const WITHOUT: i32 = -1;

impl ScalarUDFImpl for WithStanding {
    fn name(&self) -> &str {
        "with_standing"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.name(), given, 2)?;
        check_words(self.name(), ID_MAP, &given[1])?;
        if let DataType::List(item) = &given[0]
            && let DataType::Struct(fields) = item.data_type()
            && let [id, weight] = &fields[..]
            && (id.data_type(), weight.data_type()) == (&DataType::Int32, &DataType::Int64)
        {
            return Ok(given.to_vec());
        }
        plan_err!(
            "{}: the argument connections must be a List of Struct(id Int32, weight Int64), not {}",
            self.name(),
            given[0]
        )
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(CANDIDATE.clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [connections, maps] = args.args.as_slice() else {
            return exec_err!("with_standing takes two arguments");
        };
        let connections = connections.to_array(args.number_rows)?;
        let connections: &ListArray = lists(std::slice::from_ref(&connections), 0, "connections")?;
        let elements = structs(connections, "connections")?;
        let columns = elements.columns();
        let ids = numbers::<Int32Type>(columns, 0, "connections.id")?;
        let maps = Words::read(maps)?;
        let shared = maps.shared().map(Map::read).transpose()?;
        let mut standings = vec![WITHOUT; ids.len()];
        let offsets = connections.value_offsets();
        for (row, ends) in offsets.windows(2).enumerate() {
            let range = ends[0] as usize..ends[1] as usize;
            let map = match shared {
                Some(map) => map,
                None => Map::read(maps.get(row))?,
            };
            for (standing, &id) in standings[range.clone()]
                .iter_mut()
                .zip(&ids.values()[range])
            {
                *standing = map.get(id).unwrap_or(WITHOUT);
            }
        }
        let columns = columns.iter().cloned();
        let columns = columns.chain([Arc::new(Int32Array::from(standings)) as ArrayRef]);
        let nulls = elements.nulls().cloned();
        let candidates = StructArray::try_new(CANDIDATE.clone(), columns.collect(), nulls)?;
        Ok(ColumnarValue::Array(Arc::new(list_array(
            connections.offsets().clone(),
            Arc::new(candidates),
            connections.nulls().cloned(),
        )?)))
    }
}
