//! Files for sandboxes: what `--uri` names, and files of this machine on their way to the agents.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use mesos_host::loader::ContentHash;
use mesos_host::protocol::client::MasterClient;
use mesos_plugin_api::v1::Uri;

use crate::errors::usage;

/// A `--uri`.
#[derive(Debug, PartialEq)]
pub struct InSandbox {
    uri: Uri,
    /// The value is a path here.
    upload: bool,
}

impl InSandbox {
    /// Reads what was typed.
    ///
    /// # Errors
    /// It can't be used, or leads out of the sandbox.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let value = parts.next().unwrap_or_default().to_string();
        if value.is_empty() {
            return Err(usage(format!("--uri {text:?} names no file")));
        }
        let upload = !value.contains("://");
        if !upload && !["http://", "https://", "file:///"].iter().any(|scheme| value.starts_with(scheme)) {
            return Err(usage(format!("--uri {value}: only http://, https://, file:///path and paths here are known")));
        }
        let mut uri = Uri { value, ..Uri::default() };
        for part in parts {
            match part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value))) {
                ("sha256", Some(hex)) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    uri.sha256 = Some(hex.to_ascii_lowercase());
                }
                ("name", Some(name))
                    if !name.is_empty() && !name.starts_with('/') && !name.split('/').any(|p| p == "..") =>
                {
                    uri.output_file = Some(name.to_string());
                }
                ("extract", None) => uri.extract = Some(true),
                ("executable", None) => uri.executable = Some(true),
                ("cache", None) => uri.cache = Some(true),
                _ => {
                    let known =
                        "sha256=64 hexadecimal digits, name=FILE within the sandbox, extract, executable, cache";
                    return Err(usage(format!("--uri: {part:?} can't be used; after a comma there may be {known}")));
                }
            }
        }
        Ok(Self { uri, upload })
    }

    /// The URI for the agents, after an upload where it is a file of ours.
    ///
    /// # Errors
    /// The file isn't what was promised, or can't be uploaded.
    pub async fn uri(self, client: &MasterClient) -> Result<Uri> {
        if !self.upload {
            return Ok(self.uri);
        }
        let path = Path::new(&self.uri.value);
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            bail!("--uri {}: not a file; upload a folder as an archive, with ,extract", path.display());
        }
        let file = LocalFile::read(path)?;
        if let Some(wanted) = self.uri.sha256.filter(|wanted| *wanted != file.hash) {
            bail!("--uri {}: its SHA-256 is {}, not {wanted}", path.display(), file.hash);
        }
        let stored = file.upload(client).await?;
        Ok(Uri {
            executable: self.uri.executable.or(stored.executable),
            output_file: self.uri.output_file.or(stored.output_file),
            extract: self.uri.extract,
            cache: self.uri.cache,
            ..stored
        })
    }
}

/// A file of ours that agents shall have.
struct LocalFile<'a> {
    path: &'a Path,
    hash: String,
    executable: bool,
}

impl<'a> LocalFile<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let problem = || format!("{} can't be read", path.display());
        let mut file = File::open(path).with_context(problem)?;
        let executable = file.metadata().with_context(problem)?.permissions().mode() & 0o111 != 0;
        let hash = ContentHash::of(&mut file).with_context(problem)?.to_string();
        Ok(Self { path, hash, executable })
    }

    async fn upload(self, client: &MasterClient) -> Result<Uri> {
        let stored = client.put_blob(self.path, &self.hash).await;
        stored.with_context(|| format!("{} can't be uploaded", self.path.display()))?;
        Ok(Uri {
            value: format!("blob:{}", self.hash),
            executable: Some(self.executable),
            sha256: Some(self.hash),
            output_file: self.path.file_name().map(|name| name.to_string_lossy().into_owned()),
            ..Uri::default()
        })
    }
}

/// Gives a file of ours to the master, and its URI to whoever sends it on to agents.
///
/// # Errors
/// It can't be read or uploaded.
pub async fn upload(client: &MasterClient, path: &Path) -> Result<Uri> {
    LocalFile::read(path)?.upload(client).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_with_their_extras() {
        let hex = "ab".repeat(32);
        let parsed = InSandbox::parse(&format!("https://h/x.tgz,sha256={hex},extract,name=data/x.tgz")).expect("good");
        assert!(!parsed.upload);
        assert_eq!(parsed.uri.value, "https://h/x.tgz");
        assert_eq!((parsed.uri.sha256, parsed.uri.extract), (Some(hex), Some(true)));
        assert_eq!(parsed.uri.output_file.as_deref(), Some("data/x.tgz"));
        assert!(InSandbox::parse("./prog").expect("good").upload);
        assert!(!InSandbox::parse("file:///etc/hosts").expect("good").upload);
    }

    #[test]
    fn uris_that_lead_nowhere_or_out_of_the_sandbox_are_refused() {
        for bad in
            ["", ",extract", "ftp://h/x", "x,sha256=12", "x,name=/etc/passwd", "x,name=../x", "x,unzip", "file://h/x"]
        {
            let error = InSandbox::parse(bad).expect_err(bad);
            assert!(error.to_string().starts_with("--uri"), "{error}");
        }
    }
}
