//! What a database's URL says, read as libpq does.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// The longest that a connection may take to come about, unless the URL says otherwise.
const CONNECT: Duration = Duration::from_secs(10);
/// As long as it takes: `connect_timeout=0`.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// What a URL may say after its `?` and is heeded. Anything that is in none of these lists is refused without being
/// repeated: it could be a secret.
static HEEDED: [&str; 16] = [
    "application_name",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];
/// What makes no difference here: what it asks for is so, or is of another driver.
static NEEDLESS: [&str; 30] = [
    "client_encoding",
    "connection_limit",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "pgbouncer",
    "pool_timeout",
    "prepareThreshold",
    "replication",
    "schema",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslaccept",
    "sslcertmode",
    "sslcompression",
    "sslkeylogfile",
    "sslnegotiation",
    "sslsni",
    "statement_cache_mode",
    "statement_cache_size",
    "supa",
    "tcp_user_timeout",
    "workaround",
];
/// What would make the connection safer, or find the password, and cannot be done here: each with what can be.
static BEYOND: [(&str, &str); 8] = [
    (
        "channel_binding",
        "sslmode=verify-full makes sure of the server",
    ),
    ("gssencmode", "connections are encrypted by TLS: sslmode"),
    ("passfile", "PGPASSFILE names the file"),
    (
        "require_auth",
        "sslmode=verify-full makes sure of the server",
    ),
    (
        "requirepeer",
        "sslmode=verify-full makes sure of the server",
    ),
    ("sslcrl", "revoked certificates are not known"),
    ("sslcrldir", "revoked certificates are not known"),
    ("sslpassword", "sslkey has to be without a password"),
];

/// The servers that a URL names.
pub(super) struct Servers {
    /// The settings of a connection to each, in the order in which they are tried.
    pub options: Vec<PgConnectOptions>,
    /// The longest that a connection may take to come about.
    pub patience: Duration,
}

/// The servers that a URL names, and how they are connected to.
///
/// # Errors
/// What is wrong with it, without any of its values.
pub(super) fn servers(url: &str) -> Result<Servers, String> {
    let mut said = Conninfo::read(url)?;
    said.tell_what_is_not_done();
    said.settle()?;
    let places = said.places()?;
    let options = places.iter().map(|place| said.options(place));
    Ok(Servers {
        options: options.collect::<Result<_, String>>()?,
        patience: said.patience()?,
    })
}

/// What a URL says: where and as whom in the words of what may stand behind the `?`.
#[derive(Debug, Default, PartialEq)]
struct Conninfo(BTreeMap<&'static str, String>);

/// A server's host (none is the default one) and port.
type Place = (Option<String>, Option<u16>);

impl Conninfo {
    fn read(text: &str) -> Result<Self, String> {
        let mut said = Self::default();
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or("it does not begin with postgres://")?;
        // The user ends with an @ before the first slash; a ? before it is one of the password's.
        let front = rest.split('/').next().unwrap_or_default();
        let before = front.split('?').next().unwrap_or_default();
        let at = before.rfind('@').or_else(|| front.find('@'));
        let rest = match at {
            None => rest,
            Some(at) => {
                let (user, password) = match rest[..at].split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (&rest[..at], None),
                };
                said.set("user", user)?;
                said.set("password", password.unwrap_or_default())?;
                &rest[at + 1..]
            }
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, database) = place.split_once('/').unwrap_or((place, ""));
        said.set("dbname", database)?;
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for server in servers.split(',') {
            // An IPv6 address has colons of its own, and brackets round it.
            let (host, port) = match server.strip_prefix('[') {
                Some(address) => address
                    .split_once(']')
                    .ok_or("a [ of an IPv6 address is not closed")?,
                None => server.split_at(server.find(':').unwrap_or(server.len())),
            };
            hosts.push(host);
            ports.push(match port.strip_prefix(':') {
                None if !port.is_empty() => return Err(PORT.to_owned()),
                port => port.unwrap_or_default(),
            });
        }
        said.set("host", &hosts.join(","))?;
        said.set("port", &ports.join(","))?;
        said.read_parameters(parameters)?;
        Ok(said)
    }

    /// What stands behind the `?`.
    fn read_parameters(&mut self, text: &str) -> Result<(), String> {
        for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = decoded(name)?;
            let beyond = BEYOND.iter().map(|(name, _)| name);
            let mut lists = HEEDED.iter().chain(&NEEDLESS).chain(beyond);
            match lists.find(|known| **known == name) {
                Some(known) => self.set(known, value)?,
                None if name == "service" || name == "servicefile" => {
                    return Err(
                        "a service is not looked up: give host, port, user and database".to_owned(),
                    );
                }
                None => {
                    let known = HEEDED.join(", ");
                    return Err(format!("after the ? only these may stand: {known}"));
                }
            }
        }
        Ok(())
    }

    /// Notes a value that is written in a URL; an empty one leaves what was there.
    fn set(&mut self, name: &'static str, value: &str) -> Result<(), String> {
        if !value.trim_matches(',').is_empty() {
            self.0.insert(name, decoded(value)?);
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The values of a list; none when it is not given.
    fn list(&self, name: &str) -> Vec<&str> {
        self.get(name)
            .map_or_else(Vec::new, |text| text.split(',').collect())
    }

    /// Says of what the URL asks for, and is not done, that it is not.
    fn tell_what_is_not_done(&self) {
        let needless = NEEDLESS.iter().filter(|name| self.get(name).is_some());
        let needless: Vec<&str> = needless.copied().collect();
        if !needless.is_empty() {
            let names = needless.join(", ");
            tracing::info!("of the database's URL this is not needed here: {names}");
        }
        for (name, instead) in &BEYOND {
            let value = self.get(name);
            if !matches!(value, None | Some("disable" | "prefer" | "none" | "0")) {
                tracing::warn!("of the database's URL {name} is not heeded: {instead}");
            }
        }
        if matches!(
            self.get("target_session_attrs"),
            Some("read-only" | "standby" | "prefer-standby")
        ) {
            tracing::warn!(
                "of the database's URL target_session_attrs is not heeded: who publishes needs the primary"
            );
        }
    }

    /// Makes of it what it means, and refuses what means nothing.
    fn settle(&mut self) -> Result<(), String> {
        if self.get("gssencmode") == Some("require") {
            return Err("gssencmode=require cannot be done: use TLS (sslmode)".to_owned());
        }
        let attributes = self.get("target_session_attrs").unwrap_or("any");
        if ![
            "any",
            "read-write",
            "read-only",
            "primary",
            "standby",
            "prefer-standby",
        ]
        .contains(&attributes)
        {
            return Err("target_session_attrs is none of any, read-write, primary".to_owned());
        }
        if matches!(self.get("ssl"), Some("true" | "1")) && self.get("sslmode").is_none() {
            self.0.insert("sslmode", "require".to_owned());
        }
        let mode = self.get("sslmode");
        if mode.is_some_and(|mode| !SSL_MODES.contains(&mode)) {
            return Err(format!("sslmode is none of {}", SSL_MODES.join(", ")));
        }
        let stricter = match (mode, self.get("sslrootcert")) {
            // The system's own certificates are what is there without a file.
            (_, Some("system")) => {
                self.0.remove("sslrootcert");
                Some("verify-full")
            }
            (Some("require"), Some(_)) => Some("verify-ca"),
            // The driver would not try TLS at all.
            (Some("allow"), _) => Some("prefer"),
            _ => None,
        };
        if let Some(stricter) = stricter {
            self.0.insert("sslmode", stricter.to_owned());
        }
        for name in ["sslrootcert", "sslcert", "sslkey"] {
            if let Some(file) = self.get(name)
                && let Err(error) = std::fs::File::open(file)
            {
                return Err(format!("the file of {name} cannot be read: {error}"));
            }
        }
        if let Some(name) = self.0.remove("fallback_application_name") {
            self.0.entry("application_name").or_insert(name);
        }
        Ok(())
    }

    fn patience(&self) -> Result<Duration, String> {
        let Some(text) = self.get("connect_timeout") else {
            return Ok(CONNECT);
        };
        match text.parse::<i32>() {
            Ok(seconds) if seconds <= 0 => Ok(FOR_EVER),
            Ok(seconds) => Ok(Duration::from_secs(
                u64::from(seconds.unsigned_abs()).max(2),
            )),
            Err(_) => Err("connect_timeout is not a number of seconds".to_owned()),
        }
    }

    fn places(&self) -> Result<Vec<Place>, String> {
        let hosts = match self.list("hostaddr") {
            none if none.is_empty() => self.list("host"),
            addresses => addresses,
        };
        let mut ports = Vec::new();
        for port in self.list("port") {
            ports.push(match port {
                "" => None,
                port => Some(
                    port.parse::<u16>()
                        .ok()
                        .filter(|port| *port > 0)
                        .ok_or(PORT)?,
                ),
            });
        }
        let count = hosts.len().max(1);
        match ports.len() {
            0 | 1 => ports = vec![ports.first().copied().flatten(); count],
            there if there != count => {
                return Err("it has another number of ports than of hosts".to_owned());
            }
            _ => {}
        }
        let mut places = Vec::new();
        for (index, port) in ports.into_iter().enumerate() {
            let host = hosts.get(index).filter(|host| !host.is_empty());
            places.push((host.map(|host| (*host).to_owned()), port));
        }
        Ok(places)
    }

    /// The settings of a connection to one of the servers.
    fn options(&self, (host, port): &Place) -> Result<PgConnectOptions, String> {
        let mut url = url::Url::parse("postgres:///").map_err(|error| error.to_string())?;
        let mut pairs = url.query_pairs_mut();
        if let Some(host) = host {
            pairs.append_pair("host", host);
        }
        if let Some(port) = port {
            pairs.append_pair("port", &port.to_string());
        }
        for name in [
            "dbname",
            "user",
            "password",
            "sslmode",
            "sslrootcert",
            "sslcert",
            "sslkey",
            "application_name",
            "options",
        ] {
            if let Some(value) = self.get(name) {
                pairs.append_pair(name, value);
            }
        }
        drop(pairs);
        // What sqlx says of a wrong value repeats it.
        let options = PgConnectOptions::from_url(&url)
            .map_err(|_| "the driver cannot make sense of it".to_owned())?;
        let named = options.get_application_name().is_some();
        let options = if named {
            options
        } else {
            options.application_name("graph-recs")
        };
        // Neither prepared statements nor settings of a session: a pooler may give each transaction another one.
        Ok(options.statement_cache_capacity(0).extra_float_digits(None))
    }
}

const PORT: &str =
    "a port is no number from 1 to 65535 (in user and password, / : @ are written %2F %3A %40)";

/// A text with each `%41` as the byte that it stands for.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next().unwrap_or(b'.')).to_digit(16);
                let digits = digit().zip(digit());
                let (high, low) = digits.ok_or(
                    "a % is not followed by two hexadecimal digits (a % itself is written %25)",
                )?;
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    match text.contains('\0') {
        true => Err("it has a zero byte".to_owned()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, u16)> {
        let servers = servers(text).unwrap();
        let places = servers.options.iter();
        places
            .map(|server| (server.get_host().to_owned(), server.get_port()))
            .collect()
    }

    #[test]
    fn hosts_are_read_as_libpq_reads_them() {
        for (text, wanted) in [
            ("postgres://me:x@[::1]:5433/d", vec![("::1", 5433)]),
            ("postgresql://[2001:db8::1]/d", vec![("2001:db8::1", 5432)]),
            ("postgres://me@a:1,b:2/d", vec![("a", 1), ("b", 2)]),
            ("postgres://me@[::1]:1,b/d", vec![("::1", 1), ("b", 5432)]),
            ("postgres:///d?host=a,b&port=1,2", vec![("a", 1), ("b", 2)]),
            ("postgres://a,b/d?port=7", vec![("a", 7), ("b", 7)]),
            ("postgres://me@/d?host=::1&port=7", vec![("::1", 7)]),
            ("postgres://a:1?host=b", vec![("b", 1)]),
            (
                "postgres://a:1/d?hostaddr=127.0.0.9",
                vec![("127.0.0.9", 1)],
            ),
        ] {
            let found = places(text);
            let found: Vec<(&str, u16)> =
                found.iter().map(|(host, port)| (&**host, *port)).collect();
            assert_eq!(found, wanted, "{text}");
        }
        let socket = servers("postgres://me@%2Frun%2Fpg:7/d").unwrap();
        assert_eq!(
            socket.options[0].get_socket().unwrap().to_str(),
            Some("/run/pg")
        );
    }

    #[test]
    fn user_password_and_parameters_are_read_as_libpq_reads_them() {
        let said = Conninfo::read(
            "postgres://m%40e:a?b#c+%2F@db/n%20m?options=-c%20a%3Db+c&application_name=x",
        )
        .unwrap();
        for (name, value) in [
            ("user", "m@e"),
            ("password", "a?b#c+/"),
            ("dbname", "n m"),
            ("options", "-c a=b+c"),
        ] {
            assert_eq!(said.get(name), Some(value));
        }
        for (tail, seconds) in [
            ("", 10),
            ("?connect_timeout=1", 2),
            ("?connect_timeout=30", 30),
        ] {
            let servers = servers(&format!("postgres://db/x{tail}")).unwrap();
            assert_eq!(servers.patience, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn what_managed_services_put_into_a_url_is_taken() {
        for tail in [
            "sslmode=require&channel_binding=require",
            "sslmode=require&target_session_attrs=read-write&connect_timeout=15",
            "pgbouncer=true&connection_limit=1",
            "gssencmode=disable&sslcompression=0&sslsni=1&sslnegotiation=postgres",
            "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=1000",
            "load_balance_hosts=random&require_auth=scram-sha-256&passfile=/none",
            "ssl=true",
            "sslmode=verify-full&sslrootcert=system",
            "options=endpoint%3Dep-cool-1",
        ] {
            let servers = servers(&format!("postgres://me:x@db/x?{tail}"));
            assert!(servers.is_ok(), "{tail}");
        }
        let mode = |tail: &str| {
            let servers = servers(&format!("postgres://db/x?{tail}")).unwrap();
            format!("{:?}", servers.options[0].get_ssl_mode())
        };
        assert_eq!(mode("ssl=true"), "Require");
        assert_eq!(mode("sslrootcert=system"), "VerifyFull");
        assert_eq!(mode("sslmode=require&sslrootcert=/dev/null"), "VerifyCa");
        assert_eq!(mode("sslmode=allow"), "Prefer");
    }
}
