//! Who may ask, and what: the users file.
//!
//! ```toml
//! [users.ana]
//! password = "SCRAM-SHA-256$4096:…"   # a verifier, by `graph-recs user add`
//! roles = ["analyst"]
//! statement_timeout = "30s"           # any of the limits of `graph-recs serve`, for this user alone
//!
//! [roles.support]                     # besides the roles that are always there
//! schemas = ["graph_recs", "ops"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::limits::UserLimits;
use super::scram::Verifier;

/// The schemas that there are to be allowed.
pub const SCHEMAS: [&str; 4] = ["graph_recs", "graph_recs_history", "ops", "raw"];

/// Why users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read or written.
    #[error("users file {} cannot be {what}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// read or written.
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Not of the form.
    #[error("users file {}: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is a user of this name.
    #[error("there is a user {0} already: `graph-recs user remove {0}` first, or give --replace")]
    Exists(String),
    /// There is no user of this name.
    #[error("there is no user {0}: `graph-recs user list` shows all")]
    Unknown(String),
    /// A role that is not there.
    #[error("there is no role {role}: there are {known}")]
    NoRole {
        /// The role.
        role: String,
        /// Those that there are.
        known: String,
    },
    /// Not a name.
    #[error("{0:?} is not a user's name: letters, digits, `_`, `-`, `.` and `@`, 1 to 63 of them")]
    Name(String),
    /// The password is too short.
    #[error("a password needs at least 8 characters")]
    ShortPassword,
}

/// Somebody who may ask.
#[derive(Clone, Debug)]
pub struct User {
    /// Their name.
    pub name: String,
    /// The schemas they see.
    pub schemas: BTreeSet<String>,
    /// What their statements may take.
    pub limits: UserLimits,
}

impl User {
    /// Whoever it is on this machine, when there is no authentication: sees everything.
    pub fn anybody(name: &str) -> Self {
        Self {
            name: name.to_string(),
            schemas: SCHEMAS.map(String::from).into(),
            limits: UserLimits::default(),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    users: BTreeMap<String, Entry>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    password: String,
    roles: Vec<String>,
    #[serde(flatten)]
    limits: UserLimits,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Role {
    schemas: BTreeSet<String>,
}

impl File {
    fn read(path: &Path) -> Result<Self, UsersError> {
        let text = std::fs::read_to_string(path).map_err(|cause| UsersError::Io {
            file: path.to_path_buf(),
            what: "read",
            cause,
        })?;
        let form = |reason: String| UsersError::Form {
            file: path.to_path_buf(),
            reason,
        };
        let file: Self = toml::from_str(&text).map_err(|error| form(error.to_string()))?;
        for (name, role) in &file.roles {
            if let Some(schema) = role.schemas.iter().find(|s| !SCHEMAS.contains(&s.as_str())) {
                return Err(form(format!(
                    "roles.{name}: there is no schema {schema}, only {}",
                    SCHEMAS.join(", ")
                )));
            }
        }
        for (name, entry) in &file.users {
            entry
                .password
                .parse::<Verifier>()
                .map_err(|reason| form(format!("users.{name}.password is {reason}")))?;
            file.schemas(&entry.roles)
                .map_err(|error| form(format!("users.{name}: {error}")))?;
        }
        Ok(file)
    }

    /// Writes the file anew beside the old one and renames it: a reader sees the one or the other.
    fn write(&self, path: &Path) -> Result<(), UsersError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let error = |cause| UsersError::Io {
            file: path.to_path_buf(),
            what: "written",
            cause,
        };
        let text = toml::to_string(self).map_err(|reason| UsersError::Form {
            file: path.to_path_buf(),
            reason: reason.to_string(),
        })?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}", std::process::id()));
        let staged = path.with_file_name(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&staged)
            .map_err(error)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&staged, path));
        written.map_err(error)
    }

    fn schemas(&self, roles: &[String]) -> Result<BTreeSet<String>, UsersError> {
        let mut schemas = BTreeSet::new();
        for role in roles {
            match (role.as_str(), self.roles.get(role)) {
                (_, Some(role)) => schemas.extend(role.schemas.iter().cloned()),
                ("analyst", None) => {
                    schemas.extend(["graph_recs", "graph_recs_history", "ops"].map(String::from));
                }
                ("raw", None) => schemas.extend(SCHEMAS.map(String::from)),
                (_, None) => {
                    let own = self.roles.keys().map(String::as_str);
                    let known: Vec<&str> = ["analyst", "raw"].into_iter().chain(own).collect();
                    return Err(UsersError::NoRole {
                        role: role.clone(),
                        known: known.join(", "),
                    });
                }
            }
        }
        Ok(schemas)
    }
}

/// The users of a running service; the file is read again when it has changed.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    read: Mutex<(Option<SystemTime>, Arc<File>)>,
    secret: [u8; 32],
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// [`UsersError`], naming file and value.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        Ok(Self {
            path: path.to_path_buf(),
            read: Mutex::new((modified(path), Arc::new(File::read(path)?))),
            secret: rand::random(),
        })
    }

    fn file(&self) -> Arc<File> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = modified(&self.path);
        if read.0 != now {
            match File::read(&self.path) {
                Ok(file) => *read = (now, Arc::new(file)),
                // Better the users of before than none.
                Err(error) => tracing::error!("{error}: the users of before stay"),
            }
        }
        Arc::clone(&read.1)
    }

    /// What is kept of the user's password; of one who is not there, something that looks the same.
    pub fn verifier(&self, name: &str) -> Verifier {
        self.file()
            .users
            .get(name)
            .and_then(|entry| entry.password.parse().ok())
            .unwrap_or_else(|| Verifier::decoy(name, &self.secret))
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<User> {
        let file = self.file();
        let entry = file.users.get(name)?;
        Some(User {
            name: name.to_string(),
            schemas: file.schemas(&entry.roles).ok()?,
            limits: entry.limits.clone(),
        })
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.file().users.keys().cloned().collect()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|data| data.modified())
        .ok()
}

/// Adds a user to the file, which is made when it is not there.
///
/// # Errors
/// [`UsersError`].
pub fn add(
    path: &Path,
    name: &str,
    password: &str,
    roles: &[String],
    replace: bool,
) -> Result<(), UsersError> {
    let fit = |c: char| c.is_alphanumeric() || "_-.@".contains(c);
    if name.is_empty() || name.chars().count() > 63 || !name.chars().all(fit) {
        return Err(UsersError::Name(name.to_string()));
    }
    if password.chars().count() < 8 {
        return Err(UsersError::ShortPassword);
    }
    let mut file = if path.exists() {
        File::read(path)?
    } else {
        File::default()
    };
    file.schemas(roles)?;
    if file.users.contains_key(name) && !replace {
        return Err(UsersError::Exists(name.to_string()));
    }
    let limits = file
        .users
        .get(name)
        .map(|entry| entry.limits.clone())
        .unwrap_or_default();
    let entry = Entry {
        password: Verifier::new(password).to_string(),
        roles: roles.to_vec(),
        limits,
    };
    file.users.insert(name.to_string(), entry);
    file.write(path)
}

/// Removes a user from the file.
///
/// # Errors
/// [`UsersError`].
pub fn remove(path: &Path, name: &str) -> Result<(), UsersError> {
    let mut file = File::read(path)?;
    if file.users.remove(name).is_none() {
        return Err(UsersError::Unknown(name.to_string()));
    }
    file.write(path)
}

/// Each user with roles and schemas.
///
/// # Errors
/// [`UsersError`].
pub fn list(path: &Path) -> Result<Vec<(String, Vec<String>, BTreeSet<String>)>, UsersError> {
    let file = File::read(path)?;
    let mut users = Vec::new();
    for (name, entry) in &file.users {
        users.push((
            name.clone(),
            entry.roles.clone(),
            file.schemas(&entry.roles)?,
        ));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_and_go_and_a_running_service_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        add(&path, "ana", "long enough", &["analyst".into()], false).unwrap();
        let users = Users::open(&path).unwrap();
        let ana = users.user("ana").unwrap();
        assert!(ana.schemas.contains("ops") && !ana.schemas.contains("raw"));
        assert!(users.verifier("ana").fits("long enough"));
        assert!(!users.verifier("bob").fits("long enough"));

        std::thread::sleep(std::time::Duration::from_millis(20));
        add(&path, "bob", "long enough", &["raw".into()], false).unwrap();
        assert!(users.user("bob").unwrap().schemas.contains("raw"));
        remove(&path, "bob").unwrap();
        assert!(matches!(remove(&path, "bob"), Err(UsersError::Unknown(_))));
        assert_eq!(list(&path).unwrap().len(), 1);
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        for (text, words) in [
            (
                "[users.ana]\npassword = \"x\"\nroles = []",
                "SCRAM-SHA-256$",
            ),
            ("[roles.a]\nschemas = [\"pg\"]", "no schema pg"),
            ("[user]\n", "user"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Users::open(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let known = add(&path, "ana", "long enough", &["chief".into()], false).unwrap_err();
        assert!(known.to_string().contains("analyst, raw"));
        assert!(add(&path, "a b", "long enough", &[], false).is_err());
        assert!(add(&path, "ana", "short", &[], false).is_err());
    }
}
