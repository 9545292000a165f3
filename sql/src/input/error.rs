use graph_recs_udfs::stores::StoreError;

/// Why the input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The folder is not there.
    #[error("there is no input folder {folder}: is the day's export finished, and the date right?")]
    NoFolder {
        /// The folder looked for.
        folder: String,
    },
    /// A source is not there.
    #[error(
        "source {source_name} is missing: neither {stem}.{ending} (or .gz, .zst, .bz2, .xz), nor {stem}.parquet, \
         nor a folder {stem}/ of such files in {folder}"
    )]
    Missing {
        /// Name of the source.
        source_name: &'static str,
        /// File name without its ending.
        stem: &'static str,
        /// Ending of the plain file.
        ending: &'static str,
        /// The folder looked in.
        folder: String,
    },
    /// A source has no record.
    #[error(
        "source {source_name} is empty: {files} in {folder} hold no record; is the export finished?"
    )]
    Empty {
        /// Name of the source.
        source_name: &'static str,
        /// Its files.
        files: String,
        /// The folder they are in.
        folder: String,
    },
    /// A source is there, but cannot be read.
    #[error("{file} in {folder} {why}")]
    Unusable {
        /// The file or folder, relative to the input folder.
        file: String,
        /// The input folder.
        folder: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A source is there in several forms, which would count it twice.
    #[error(
        "source {source_name} is there more than once, as {forms}, in {folder}: leave one of them"
    )]
    Ambiguous {
        /// Name of the source.
        source_name: &'static str,
        /// The forms found.
        forms: String,
        /// The folder they are in.
        folder: String,
    },
    /// The file that says that the exports are finished is not there yet.
    #[error(
        "input folder {folder} has no {marker} yet (--ready-file): is the day's export finished?"
    )]
    NotReady {
        /// The folder.
        folder: String,
        /// Name of the file.
        marker: String,
    },
    /// The store that the input lies in cannot be set up.
    #[error("input folder {folder}")]
    NoStore {
        /// The folder.
        folder: String,
        /// Why.
        source: StoreError,
    },
    /// The files are others than when the run began.
    #[error(
        "the exports changed while the run read them: nothing was published. Are they still being written? Give the same \
         command again when they are finished"
    )]
    Changed,
    /// The folder cannot be listed.
    #[error("input folder {folder} cannot be read")]
    Unreadable {
        /// The folder.
        folder: String,
        /// What the store or the system said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl InputError {
    /// Whether what is missing may come yet: the export is not there, or not finished.
    pub fn may_come(&self) -> bool {
        matches!(
            self,
            Self::NoFolder { .. }
                | Self::Missing { .. }
                | Self::Empty { .. }
                | Self::NotReady { .. }
        )
    }
}
