//! Which columns of a Parquet file say what a source's records need, and as what they are read.
//!
//! A file is read by a schema of our own. Texts are bytes in it, so that one that is no UTF-8 is its record's fault and not
//! the file's; INT96 are seconds, which reach beyond any year that can be written; and columns that nobody needs are bare
//! bytes and numbers, whatever the library knows of their types.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{is_null, nullif};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::{
    ProjectionMask, parquet_to_arrow_schema, parquet_to_arrow_schema_by_columns,
};
use datafusion::parquet::basic::Type as Physical;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::FileMetaData;
use datafusion::parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use super::file::{Footer, damage, refusal};
use super::links;
use super::schema::{bare, read_as, strange};
use super::values::{Values, Wanted};
use crate::scan::Source;

/// So many of a file's columns are told where one is missing.
const SHOWN_COLUMNS: usize = 20;

/// A column that records are made of.
struct Column {
    name: &'static str,
    wanted: Wanted,
    /// Whether a file may lack it.
    optional: bool,
}

const fn needed(name: &'static str, wanted: Wanted) -> Column {
    Column {
        name,
        wanted,
        optional: false,
    }
}

const fn optional(name: &'static str, wanted: Wanted) -> Column {
    Column {
        name,
        wanted,
        optional: true,
    }
}

/// The columns of a source, in the order in which its records are made of them.
fn columns(source: Source) -> &'static [Column] {
    const FOLLOW: [Column; 3] = [
        needed("user_id", Wanted::Number),
        needed("engaged_with_user_id", Wanted::Number),
        needed("timestamp", Wanted::Time),
    ];
    const ENGAGEMENT: [Column; 4] = [
        needed("user_id", Wanted::Number),
        needed("engaged_with_user_id", Wanted::Number),
        needed("message_id", Wanted::Number),
        needed("timestamp", Wanted::Time),
    ];
    const USER: [Column; 2] = [
        needed("user_id", Wanted::Number),
        needed("suspended", Wanted::Flag),
    ];
    const MESSAGE: [Column; 6] = [
        needed("id", Wanted::Number),
        needed("body", Wanted::Text),
        needed("created_at", Wanted::Time),
        needed("user_id", Wanted::Number),
        optional("recommended", Wanted::Flag),
        optional("link_description", Wanted::Text),
    ];
    match source {
        Source::Follow => &FOLLOW,
        Source::Reply | Source::Mention | Source::Like => &ENGAGEMENT,
        Source::User => &USER,
        Source::Message => &MESSAGE,
    }
}

/// Where the values of a field come from. A column is told by its place among the file's.
enum Place {
    Nowhere,
    Column(usize),
    /// A struct's only member that is read.
    Member(usize),
    Links(usize),
    /// The first, and where that is null, the second.
    Either(Box<Place>, Box<Place>),
}

/// Which columns of a file are read, and as what.
pub(super) struct Mapping {
    /// Of each field of a record.
    places: Vec<Place>,
    /// The columns that are read, in order, each with its leaves.
    read: BTreeMap<usize, Vec<usize>>,
    parquet: SchemaDescPtr,
    arrow: SchemaRef,
}

/// The columns found so far in a file.
struct Search<'a> {
    source: Source,
    file: &'a str,
    footer: &'a FileMetaData,
    /// Those that are read, with their leaves, and as what if their type does not say.
    found: BTreeMap<usize, (Vec<usize>, Option<DataType>)>,
}

impl Mapping {
    /// Finds the columns of a source in a file.
    ///
    /// # Errors
    /// One is missing, ambiguous or of a type that cannot say what is needed.
    pub(super) fn new(source: Source, file: &str, footer: &Footer) -> Result<Self> {
        let mut search = Search {
            source,
            file,
            footer: footer.metadata.file_metadata(),
            found: BTreeMap::new(),
        };
        let mut places = Vec::new();
        for column in columns(source) {
            let place = search.column(column)?;
            let place = match (source, column.name) {
                (Source::Message, "user_id") => search.or_member(place, "user", "id")?,
                (Source::Message, "link_description") => search.or_links(place)?,
                _ => place,
            };
            match place {
                Place::Nowhere if !column.optional => return Err(search.missing(column.name)),
                place => places.push(place),
            }
        }
        let (parquet, arrow) = search.schemas().map_err(|error| damage(file, error))?;
        let leaves = |(root, (leaves, _))| (root, leaves);
        Ok(Self {
            places,
            read: search.found.into_iter().map(leaves).collect(),
            parquet,
            arrow,
        })
    }

    /// The file's schema as it is read.
    pub(super) fn parquet(&self) -> &SchemaDescPtr {
        &self.parquet
    }

    /// The same as the library's arrays have it.
    pub(super) fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The leaves that are read.
    pub(super) fn leaves(&self) -> impl Iterator<Item = usize> {
        self.read.values().flatten().copied()
    }

    /// The values of each field of the records of a batch.
    pub(super) fn fields(&self, batch: &RecordBatch) -> Result<Vec<Values>> {
        let places = self.places.iter();
        places.map(|place| self.values(place, batch)).collect()
    }

    fn values(&self, place: &Place, batch: &RecordBatch) -> Result<Values> {
        let column = |root: &usize| {
            let at = self.read.keys().position(|read| read == root);
            at.and_then(|at| batch.columns().get(at))
        };
        Ok(match place {
            Place::Nowhere => Values::Absent,
            Place::Column(root) => {
                column(root).map_or(Values::Absent, |values| Values::Column(Arc::clone(values)))
            }
            Place::Member(root) => match column(root) {
                Some(parent) => Values::Column(member(parent)?),
                None => Values::Absent,
            },
            Place::Links(root) => match column(root) {
                Some(links) => links::descriptions(links)?,
                None => Values::Absent,
            },
            Place::Either(first, second) => Values::Either(
                Box::new(self.values(first, batch)?),
                Box::new(self.values(second, batch)?),
            ),
        })
    }
}

/// The values of the only member of a struct that was read: none where there is no struct.
fn member(parent: &ArrayRef) -> Result<ArrayRef> {
    let members = parent.as_struct();
    Ok(nullif(members.column(0), &is_null(members)?)?)
}

impl Search<'_> {
    fn roots(&self) -> &[TypePtr] {
        self.footer.schema_descr().root_schema().get_fields()
    }

    /// The place of the column of that name among the file's.
    fn named(&self, name: &str) -> Result<Option<usize>> {
        named(self.roots().iter().map(|root| root.name()), name).map_err(|Ambiguous| {
            refusal(
                self.file,
                format_args!("more than one of its columns could be {name}; rename one of them"),
            )
        })
    }

    fn column(&mut self, column: &Column) -> Result<Place> {
        let Some(root) = self.named(column.name)? else {
            return Ok(Place::Nowhere);
        };
        let refused = |given: &str| self.refused(column.name, given, column.wanted.types());
        let given = match self.type_of(root, true) {
            Ok(given) => given,
            Err(error) => return Err(refused(&error.to_string())),
        };
        if let Some(strange) = self.roots().get(root).and_then(|root| strange(root)) {
            return Err(refused(strange));
        }
        if !column.wanted.is_said_by(&given) {
            return Err(refused(&given.to_string()));
        }
        let is_int96 = self
            .roots()
            .get(root)
            .is_some_and(|root| root.is_primitive() && root.get_physical_type() == Physical::INT96);
        let leaves = self.first_leaf(root).into_iter().collect();
        let read_as = Some(read_as(&given, is_int96));
        self.found.insert(root, (leaves, read_as));
        Ok(Place::Column(root))
    }

    /// A place, or where that has nothing, a number that is the member of a struct.
    fn or_member(&mut self, place: Place, parent: &str, name: &str) -> Result<Place> {
        let root = match (&place, self.named(parent)) {
            (Place::Nowhere, root) => root?,
            // With a column of its own it need not be understood.
            (_, root) => root.unwrap_or_default(),
        };
        let Some(root) = root else {
            return Ok(place);
        };
        let Ok(DataType::Struct(members)) = self.type_of(root, false) else {
            return Ok(place);
        };
        let names = members.iter().map(|member| member.name().as_str());
        let Ok(Some(at)) = named(names, name) else {
            return Ok(place);
        };
        let is_number = |member: &Arc<Field>| Wanted::Number.is_said_by(member.data_type());
        if !members.get(at).is_some_and(is_number) {
            return Ok(place);
        }
        let before = members
            .iter()
            .take(at)
            .map(|field| links::leaf_count(field));
        let leaf = self
            .first_leaf(root)
            .map(|first| first + before.sum::<usize>());
        self.found.insert(root, (leaf.into_iter().collect(), None));
        Ok(or(place, Place::Member(root)))
    }

    /// A place, or where that has nothing, the description of the first of `links`.
    fn or_links(&mut self, place: Place) -> Result<Place> {
        let Some(root) = self.named("links")? else {
            return Ok(place);
        };
        let refused = |given: String| self.refused("links", &given, links::TYPES);
        let given = match self.type_of(root, false) {
            Ok(given) => given,
            Err(error) => return Err(refused(error.to_string())),
        };
        let Some(leaves) = links::leaves(&given) else {
            return Err(refused(given.to_string()));
        };
        let Some(first) = self.first_leaf(root).filter(|_| !leaves.is_empty()) else {
            return Ok(place);
        };
        let leaves = leaves.iter().map(|leaf| first + leaf).collect();
        self.found.insert(root, (leaves, None));
        Ok(or(place, Place::Links(root)))
    }

    /// The type of a column's values, as the file or (`as_written`) the Arrow library that wrote it says.
    fn type_of(&self, root: usize, as_written: bool) -> ParquetResult<DataType> {
        let schema = self.footer.schema_descr();
        let mask = ProjectionMask::roots(schema, [root]);
        let by = |said| parquet_to_arrow_schema_by_columns(schema, mask.clone(), said);
        let said = self.footer.key_value_metadata().filter(|_| as_written);
        // What another library says of itself may make no sense.
        let types = by(said).or_else(|_| by(None))?;
        let column = types.fields().first();
        column
            .map(|column| column.data_type().clone())
            .ok_or_else(|| ParquetError::General("a group of nothing".to_string()))
    }

    fn first_leaf(&self, root: usize) -> Option<usize> {
        let schema = self.footer.schema_descr();
        (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)
    }

    /// The schemas that the file is read by.
    fn schemas(&self) -> ParquetResult<(SchemaDescPtr, SchemaRef)> {
        let (mut roots, mut types) = (Vec::new(), Vec::new());
        for (at, root) in self.roots().iter().enumerate() {
            let found = self.found.get(&at);
            if let Some(root) = bare(root, found.is_some())? {
                roots.push(root);
                types.push(found.and_then(|(_, read_as)| read_as.clone()));
            }
        }
        let root = Type::group_type_builder("schema").with_fields(roots);
        let parquet = SchemaDescriptor::new(Arc::new(root.build()?));
        let arrow = parquet_to_arrow_schema(&parquet, None)?;
        let fields = arrow.fields().iter().zip(types).map(|(field, read_as)| {
            let field = field.as_ref().clone();
            match read_as {
                Some(read_as) => field.with_data_type(read_as),
                None => field,
            }
        });
        let arrow = Schema::new(fields.collect::<Vec<_>>());
        Ok((Arc::new(parquet), Arc::new(arrow)))
    }

    fn refused(&self, name: &str, given: &str, types: &str) -> DataFusionError {
        refusal(
            self.file,
            format_args!(
                "column {name} is {given}, from which no {} can be read; export it as {types}",
                self.source.name()
            ),
        )
    }

    fn missing(&self, name: &str) -> DataFusionError {
        let needed = columns(self.source)
            .iter()
            .filter(|column| !column.optional);
        let needed: Vec<_> = needed.map(|column| column.name).collect();
        let there = self.roots().iter().take(SHOWN_COLUMNS);
        let mut there: Vec<_> = there
            .map(|root| root.name().escape_debug().to_string())
            .collect();
        if self.roots().len() > there.len() {
            there.push("…".to_string());
        }
        let member = match (self.source, name) {
            (Source::Message, "user_id") => " nor a struct user with a number id",
            _ => "",
        };
        refusal(
            self.file,
            format_args!(
                "there is no column {name}{member}; a Parquet export of {} needs the columns {}, and here are {}",
                self.source.name(),
                needed.join(", "),
                there.join(", ")
            ),
        )
    }
}

fn or(first: Place, second: Place) -> Place {
    match first {
        Place::Nowhere => second,
        first => Place::Either(Box::new(first), Box::new(second)),
    }
}

/// Several names could be meant.
#[derive(Debug)]
pub(super) struct Ambiguous;

/// The place of a name among others: as it is written, or else in whatever case, if it is only one.
pub(super) fn named<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    wanted: &str,
) -> std::result::Result<Option<usize>, Ambiguous> {
    let find = |is_wanted: &dyn Fn(&str) -> bool| {
        let mut found = names
            .clone()
            .enumerate()
            .filter(|(_, name)| is_wanted(name));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Ambiguous),
            (first, _) => Ok(first.map(|(at, _)| at)),
        }
    };
    match find(&|name| name == wanted)? {
        None => find(&|name| name.eq_ignore_ascii_case(wanted)),
        found => Ok(found),
    }
}
