//! Profiles of the AWS tools: `~/.aws/config` and `~/.aws/credentials`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use object_store::aws::AmazonS3ConfigKey;

use super::StoreError;
use super::settings::{checked, variable};

/// What a profile may ask for that only the AWS tools can do.
const ONLY_AWS_TOOLS: [&str; 5] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "role_arn",
    "credential_source",
];

/// The settings of the profile that `AWS_PROFILE` names, or of the default one; none when there is none.
pub(super) fn read() -> Result<Vec<(AmazonS3ConfigKey, String)>, StoreError> {
    let named = match variable("AWS_PROFILE")? {
        Some(named) => Some(named),
        None => variable("AWS_DEFAULT_PROFILE")?,
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let file = |name: &str, beside: &str| -> Result<Option<PathBuf>, StoreError> {
        let named = variable(name)?.map(PathBuf::from);
        Ok(named.or_else(|| Some(home.as_ref()?.join(".aws").join(beside))))
    };
    let profile = named.as_deref().unwrap_or("default");
    let config = file("AWS_CONFIG_FILE", "config")?;
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    let of = |file: &Option<PathBuf>, is: &dyn Fn(&str) -> bool| match file {
        Some(file) => section(file, is).map_err(|error| StoreError::Profile {
            profile: profile.to_owned(),
            reason: format!("{} cannot be read: {error}", file.display()),
        }),
        None => Ok(None),
    };
    let config = of(&config, &|name| {
        name.strip_prefix("profile").unwrap_or(name).trim() == profile
    })?;
    let credentials = of(&credentials, &|name| name == profile)?;
    if config.is_none() && credentials.is_none() {
        return match named {
            Some(profile) => Err(StoreError::Profile {
                profile,
                reason: "is neither in ~/.aws/config nor in ~/.aws/credentials".to_owned(),
            }),
            None => Ok(Vec::new()),
        };
    }
    let mut values = config.unwrap_or_default();
    values.extend(credentials.unwrap_or_default());
    let own_keys = variable("AWS_ACCESS_KEY_ID")?.is_some();
    let has_own = values.contains_key("aws_access_key_id") || own_keys;
    if let Some(foreign) = ONLY_AWS_TOOLS.iter().find(|key| values.contains_key(**key))
        && !has_own
    {
        return Err(StoreError::Profile {
            profile: profile.to_owned(),
            reason: format!(
                "its {foreign} is something that only the AWS tools can follow; get plain credentials by \
                 `eval \"$(aws configure export-credentials --profile {profile} --format env)\"`"
            ),
        });
    }
    let virtual_style = values
        .get("s3.addressing_style")
        .map(|style| (style == "virtual").to_string());
    let known = [
        (
            "aws_access_key_id",
            "AWS_ACCESS_KEY_ID",
            AmazonS3ConfigKey::AccessKeyId,
        ),
        (
            "aws_secret_access_key",
            "AWS_SECRET_ACCESS_KEY",
            AmazonS3ConfigKey::SecretAccessKey,
        ),
        (
            "aws_session_token",
            "AWS_SESSION_TOKEN",
            AmazonS3ConfigKey::Token,
        ),
        ("region", "AWS_REGION", AmazonS3ConfigKey::Region),
        (
            "endpoint_url",
            "AWS_ENDPOINT_URL",
            AmazonS3ConfigKey::Endpoint,
        ),
    ];
    let mut settings = Vec::new();
    for (name, variable, key) in known {
        let origin = || format!("AWS profile {profile}: its {name}");
        if let Some(value) = values.remove(name)
            && let Some(value) = checked(variable, &value, origin)?
        {
            settings.push((key, value));
        }
    }
    settings
        .extend(virtual_style.map(|style| (AmazonS3ConfigKey::VirtualHostedStyleRequest, style)));
    Ok(settings)
}

/// The values of the section whose name `is` it; `None` when file or section is not there. An indented value belongs
/// to the name above it: `s3.addressing_style`.
fn section(file: &Path, is: impl Fn(&str) -> bool) -> io::Result<Option<HashMap<String, String>>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found: Option<HashMap<String, String>> = None;
    let (mut inside, mut above) = (false, String::new());
    for line in text.trim_start_matches('\u{feff}').lines() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = plain.strip_prefix('[') {
            inside = is(name.trim_end_matches(']').trim());
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && let Some((name, value)) = plain.split_once('=') {
            let (name, value) = (name.trim(), value.trim().to_owned());
            let nested = line.starts_with([' ', '\t']);
            if !nested {
                above = name.to_owned();
            }
            let name = if nested {
                format!("{above}.{name}")
            } else {
                name.to_owned()
            };
            found.get_or_insert_default().insert(name, value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_with_what_is_nested_in_it() {
        let file = std::env::temp_dir().join(format!("graph-recs-profile-{}", std::process::id()));
        let text = "# of the team\n[default]\nregion = eu-west-1\n\n[profile nightly]\nregion=eu-central-1\n\
                    s3 =\n  addressing_style = virtual\nendpoint_url = http://minio:9000\n";
        std::fs::write(&file, text).unwrap();
        let nightly = section(&file, |name| name == "profile nightly");
        let nightly = nightly.unwrap().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(nightly["region"], "eu-central-1");
        assert_eq!(nightly["s3.addressing_style"], "virtual");
        assert_eq!(nightly["endpoint_url"], "http://minio:9000");
        assert!(section(&file, |_| true).unwrap().is_none());
    }
}
