//! The configuration file: TOML, every key known and checked, so that a slip of the finger is not silently ignored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use etcetera::BaseStrategy;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ALL, Key};
use crate::errors::{nearest, usage};

/// What the file says.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Values by the names of their keys.
    pub values: BTreeMap<&'static str, String>,
}

impl ConfigFile {
    /// The user's: `~/.config/mesos/config.toml`; an absent one is empty.
    ///
    /// # Errors
    /// It can't be read or used.
    pub fn of_user() -> Result<Self> {
        match etcetera::base_strategy::choose_base_strategy() {
            Ok(folders) => Self::read(folders.config_dir().join("mesos/config.toml")),
            // Without a home there is no configuration.
            Err(_) => Ok(Self::default()),
        }
    }

    fn read(path: PathBuf) -> Result<Self> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self { path, values: BTreeMap::new() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Ok(Self { path, values: BTreeMap::new() })
            }
            Err(error) => Err(usage(format!("{}: cannot be read: {error}", path.display()))),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Names the line, the key, and what is wrong with it.
    pub fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let root = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or(String::new(), |span| format!(", line {}", line(text, &span)));
            usage(format!("{}{place}: {}", path.display(), error.message().lines().collect::<Vec<_>>().join("; ")))
        })?;
        let mut reader = Reader { path: &path, text, values: BTreeMap::new() };
        reader.table("", root.get_ref())?;
        let values = reader.values;
        Ok(Self { path, values })
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    values: BTreeMap<&'static str, String>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<()> {
        for (name, value) in table {
            let full =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let key = ALL.iter().find(|key| key.name == full);
            match (key, value.get_ref()) {
                (Some(key), value_here) => {
                    let text = self.value(key, value_here, &value.span())?;
                    self.values.insert(key.name, text);
                }
                (None, DeValue::Table(inner)) if is_table(&full) => self.table(&full, inner)?,
                (None, _) => return Err(self.unknown(&full, &name.span())),
            }
        }
        Ok(())
    }

    fn value(&self, key: &Key, value: &DeValue<'_>, span: &Range<usize>) -> Result<String> {
        let text = match (value, key.separator) {
            (DeValue::Array(items), Some(separator)) => {
                let items: Option<Vec<String>> = items.iter().map(|item| self.scalar(item)).collect();
                items.map(|items| items.join(&separator.to_string()))
            }
            _ => self.scalar_at(value, span),
        };
        let text = text.ok_or_else(|| {
            let wanted = if key.separator.is_some() { "a text or a list of texts" } else { "a text or a number" };
            self.problem(span, &format!("{} wants {wanted}", key.name))
        })?;
        (key.check)(&text).map_err(|problem| self.problem(span, &format!("{}: {problem}", key.name)))?;
        Ok(text)
    }

    fn scalar(&self, item: &Spanned<DeValue<'_>>) -> Option<String> {
        self.scalar_at(item.get_ref(), &item.span())
    }

    fn scalar_at(&self, value: &DeValue<'_>, span: &Range<usize>) -> Option<String> {
        match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(_) | DeValue::Float(_) => Some(self.text[span.clone()].replace('_', "")),
            _ => None,
        }
    }

    fn unknown(&self, name: &str, span: &Range<usize>) -> anyhow::Error {
        let near = nearest(name, ALL.iter().map(|key| key.name))
            .or_else(|| {
                let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
                ALL.iter().map(|key| key.name).find(|key| last(key) == name)
            })
            .map_or_else(|| "'mesos config' lists all keys".to_string(), |near| format!("did you mean '{near}'?"));
        self.problem(span, &format!("there is no key '{name}'; {near}"))
    }

    fn problem(&self, span: &Range<usize>, problem: &str) -> anyhow::Error {
        usage(format!("{}, line {}: {problem}", self.path.display(), line(self.text, span)))
    }
}

fn is_table(name: &str) -> bool {
    ALL.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn line(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}
