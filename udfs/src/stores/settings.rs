//! Settings of stores, looked at before a library has them: some panic over a value that no request can carry.

use std::ffi::OsStr;

use url::Url;

use super::StoreError;
use crate::text::shown;

/// Those that are URLs. What stands in others may be a secret, and is never shown.
const URLS: [&str; 12] = [
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AZURE_AUTHORITY_HOST",
    "AZURE_ENDPOINT",
    "AZURE_MSI_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "AZURITE_BLOB_STORAGE_URL",
    "GOOGLE_BASE_URL",
];
/// How the names of those end that stay on this machine; others go into URLs and headers.
const LOCAL: [&str; 5] = [
    "_FILE",
    "_PATH",
    "_CREDENTIALS",
    "_PROFILE",
    "SERVICE_ACCOUNT",
];
/// Part of a host's name and of a header.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The path of a URL.
const PATHS: [&str; 1] = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];

/// The environment variables whose names begin with one of `prefixes` and that are set: an empty one is not. White
/// space around a value is nobody's wish; `echo key | base64` puts a line break into a secret.
pub(super) fn variables(prefixes: &[&str]) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if prefixes.iter().any(|prefix| name.starts_with(prefix))
            && let Some(value) = of_variable(name, &value)?
        {
            found.push((name.to_owned(), value));
        }
    }
    Ok(found)
}

/// One environment variable, as [`variables`] gives it.
pub(super) fn variable(name: &str) -> Result<Option<String>, StoreError> {
    match std::env::var_os(name) {
        Some(value) => of_variable(name, &value),
        None => Ok(None),
    }
}

fn of_variable(name: &str, value: &OsStr) -> Result<Option<String>, StoreError> {
    let origin = || format!("the environment variable {name}");
    match value.to_str() {
        Some(value) => checked(name, value, origin),
        None => Err(StoreError::Setting {
            origin: origin(),
            reason: "is not UTF-8".to_owned(),
        }),
    }
}

/// A setting named as its environment variable is, wherever it comes from: `origin` names that.
pub(super) fn checked(
    name: &str,
    value: &str,
    origin: impl Fn() -> String,
) -> Result<Option<String>, StoreError> {
    let refuse = |reason: String| StoreError::Setting {
        origin: origin(),
        reason,
    };
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    let quoted = ['"', '\''].iter().any(|quote| {
        let rest = value.strip_prefix(*quote);
        rest.is_some_and(|rest| rest.ends_with(*quote))
    });
    if quoted {
        return Err(refuse(
            "stands in quotes, which are part of it: leave them out (docker's --env-file keeps them)"
                .to_owned(),
        ));
    }
    // Keys in JSON and certificates have lines.
    let is_text = value.starts_with('{') || value.starts_with("-----BEGIN");
    let travels = !is_text && !LOCAL.iter().any(|ending| name.ends_with(ending));
    let is_url = URLS.contains(&name);
    let odd = |sign: char| match sign.is_control() {
        true => !is_text,
        false => !sign.is_ascii() && travels && !is_url,
    };
    if let Some(sign) = value.chars().find(|sign| odd(*sign)) {
        let what = match sign {
            '\n' | '\r' => "a line break".to_owned(),
            sign => format!("the character U+{:04X}", u32::from(sign)),
        };
        return Err(refuse(format!(
            "has {what} inside, which no request can carry: look at how it is set (its value is not shown here)"
        )));
    }
    if is_url {
        return endpoint(value).map(Some).map_err(refuse);
    }
    let is_region_sign = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
    if REGIONS.contains(&name) && !value.chars().all(is_region_sign) {
        return Err(refuse(format!(
            "is {value:?}: a region is a name like eu-central-1"
        )));
    }
    if PATHS.contains(&name) && (!value.starts_with('/') || value.contains([' ', '\\'])) {
        return Err(refuse("is no path like /v2/credentials".to_owned()));
    }
    Ok(Some(value.to_owned()))
}

/// The URL of a server, in the form in which requests can be made of it.
fn endpoint(value: &str) -> Result<String, String> {
    // What stands before an @ may be a password.
    let told = match value.contains('@') {
        true => "no such URL".to_owned(),
        false => format!("\"{}\"", shown(value)),
    };
    let wanted = || {
        format!(
            "is {told}: it must begin with http:// or https://, like https://minio.example:9000"
        )
    };
    let url = Url::parse(value).map_err(|_| wanted())?;
    let is_server = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if !is_server || value.contains([' ', '\\']) {
        return Err(wanted());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("is {told}: neither ? nor # may stand in it"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<Option<String>, String> {
        checked(name, value, || name.to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_a_value_is_taken_off_and_nothing_is_no_value() {
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
            for value in ["eu-1", "eu-1\n", "\teu-1 \r\n", "\u{a0}eu-1"] {
                assert_eq!(of(name, value), Ok(Some("eu-1".into())), "{name} {value:?}");
            }
            assert_eq!(of(name, " \n"), Ok(None));
        }
    }

    #[test]
    fn what_no_request_can_carry_is_refused_without_being_repeated() {
        for value in [
            "hu\nsh",
            "hu\u{0}sh",
            "hush\u{200b}x",
            "\"hush\"",
            "'hush'",
            "hüsh",
        ] {
            for name in [
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "AZURE_STORAGE_ACCOUNT_KEY",
            ] {
                let told = of(name, value).unwrap_err();
                assert!(told.contains(name), "{told}");
                assert!(!told.contains("hush") && !told.contains("hü"), "{told}");
            }
        }
        let json = "{\n \"client_email\": \"ü\"\n}";
        assert_eq!(
            of("GOOGLE_SERVICE_ACCOUNT_KEY", json),
            Ok(Some(json.into()))
        );
        assert!(of("AWS_WEB_IDENTITY_TOKEN_FILE", "/schlüssel").is_ok());
    }

    #[test]
    fn an_endpoint_is_the_url_of_a_server() {
        for (value, url) in [
            ("http://127.0.0.1:9\n", "http://127.0.0.1:9"),
            ("HTTPS://Minio:9000/", "https://minio:9000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:9000/s3/", "http://[::1]:9000/s3"),
        ] {
            assert_eq!(of("AWS_ENDPOINT_URL", value), Ok(Some(url.to_owned())));
        }
        for value in [
            "minio:9000",
            "minio",
            "//minio",
            "http:/",
            "http://",
            "http://a b",
            "http://a%zz",
            "http://a:99999",
            "ftp://a",
            "http://a?b",
            "http://a#b",
            "http:\\\\a",
        ] {
            let told = of("AWS_ENDPOINT_URL", value).unwrap_err();
            assert!(
                told.contains(value.trim_end_matches('\\')) || told.contains("\\"),
                "{told}"
            );
        }
        let told = of("AWS_ENDPOINT_URL", "user:hush@minio").unwrap_err();
        assert!(!told.contains("hush"), "{told}");
        assert!(of("AWS_REGION", "eu west").is_err());
        assert!(of("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "v2").is_err());
    }
}
