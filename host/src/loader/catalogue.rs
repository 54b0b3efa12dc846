//! All plugins of the search path, and which of them a command word means.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mesos_plugin_api::declaration::{Command, Version};

use super::{Folder, Machine, PluginFile, SearchPath};

/// What stands in the plugins folders.
#[derive(Debug, Default)]
pub struct Catalogue {
    entries: Vec<Entry>,
    words: BTreeMap<String, Word>,
}

/// One file, or a folder that should be there and isn't.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// The plugin, or what is wrong with it, in one line that names the path.
    pub plugin: Result<PluginFile, String>,
    /// The file of the same plugin and version that counts instead: the first in the search path.
    pub shadowed_by: Option<PathBuf>,
}

/// A command of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The plugin that brings it.
    pub plugin: &'a PluginFile,
    /// What it declares.
    pub command: &'a Command,
}

/// A word that no plugin gets, and why, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedWord {
    /// The word.
    pub word: String,
    /// Who claims it, and what to do.
    pub reason: String,
}

/// Why a word leads to no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No plugin claims it.
    #[error("no plugin has a command `{word}`{}", broken_note(*broken))]
    Unknown {
        /// The word, without its version.
        word: String,
        /// How many files of the plugins folders could not be used.
        broken: usize,
    },
    /// It is claimed, but not by a plugin of this version.
    #[error("no plugin with a command `{word}` has the version {wanted}; there is {}", present.join(", "))]
    NoSuchVersion {
        /// The word.
        word: String,
        /// What stood after the `@`.
        wanted: String,
        /// The versions that there are, `hadoop 0.1.0`.
        present: Vec<String>,
    },
    /// It is claimed by two plugins, or it is the host's own.
    #[error("{reason}")]
    Refused {
        /// Who claims it, and what to do.
        reason: String,
    },
}

fn broken_note(broken: usize) -> String {
    match broken {
        0 => String::new(),
        1 => "; one file did not load: see `mesos plugins`".to_owned(),
        count => format!("; {count} files did not load: see `mesos plugins`"),
    }
}

/// Who gets a word: indexes of entries, the newest version first; or why nobody does.
type Word = Result<Vec<usize>, String>;

impl Catalogue {
    /// Reads the folders of `path`. `verbs` are the host's own commands, which no plugin may claim.
    pub fn scan(path: &SearchPath, verbs: &[&str]) -> Self {
        Self::scan_for(path, verbs, &Machine::this())
    }

    /// The same for a machine of the caller's choice.
    pub fn scan_for(path: &SearchPath, verbs: &[&str], machine: &Machine) -> Self {
        let mut entries: Vec<_> = path.folders.iter().flat_map(|folder| folder_entries(folder, machine)).collect();
        shadow(&mut entries);
        let words = words(&entries, verbs);
        Self { entries, words }
    }

    /// Everything that was found, in the order of the search path and of the files' names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The plugins among them.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginFile> {
        self.entries.iter().filter_map(|entry| entry.plugin.as_ref().ok())
    }

    /// Every command that can be typed, in the order of the words.
    pub fn commands(&self) -> impl Iterator<Item = Found<'_>> {
        let given = self.words.iter().filter_map(|(word, owners)| Some((word, owners.as_ref().ok()?)));
        given.map(|(word, owners)| self.found(owners[0], word))
    }

    /// The words that are refused.
    pub fn refused(&self) -> impl Iterator<Item = RefusedWord> {
        let refused = self.words.iter().filter_map(|(word, owners)| Some((word, owners.as_ref().err()?)));
        refused.map(|(word, reason)| RefusedWord { word: word.clone(), reason: reason.clone() })
    }

    /// Finds the command that `word` means: `hadoop`, in the newest plugin that has it, or `hadoop@0.1`, in the newest
    /// one of that version.
    ///
    /// # Errors
    /// When there is none, or the word is refused.
    pub fn find(&self, word: &str) -> Result<Found<'_>, FindError> {
        let (word, wanted) = word.split_once('@').map_or((word, None), |(word, version)| (word, Some(version)));
        let owners = match self.words.get(word) {
            None => return Err(FindError::Unknown { word: word.to_owned(), broken: self.broken() }),
            Some(Err(reason)) => return Err(FindError::Refused { reason: reason.clone() }),
            Some(Ok(owners)) => owners,
        };
        let Some(wanted) = wanted else { return Ok(self.found(owners[0], word)) };
        let mut found = owners.iter().map(|owner| self.found(*owner, word));
        found.find(|found| found.plugin.declaration.version.matches(wanted)).ok_or_else(|| FindError::NoSuchVersion {
            word: word.to_owned(),
            wanted: wanted.to_owned(),
            present: owners.iter().map(|owner| self.found(*owner, word).plugin.name_and_version()).collect(),
        })
    }

    fn broken(&self) -> usize {
        self.entries.iter().filter(|entry| entry.plugin.is_err()).count()
    }

    fn found(&self, entry: usize, word: &str) -> Found<'_> {
        let plugin = self.entries[entry].plugin.as_ref().expect("only plugins own words");
        let command = plugin.declaration.commands.iter().find(|command| command.name == word);
        Found { plugin, command: command.expect("a word's owner declares it") }
    }
}

fn folder_entries(folder: &Folder, machine: &Machine) -> Vec<Entry> {
    let files = match libraries(&folder.path) {
        Ok(files) => files,
        Err(_) if !folder.named => return Vec::new(),
        Err(error) => {
            let problem = format!("{}: the plugins folder cannot be read: {error}", folder.path.display());
            return vec![Entry { path: folder.path.clone(), plugin: Err(problem), shadowed_by: None }];
        }
    };
    let entry = |path: PathBuf| {
        let plugin = PluginFile::read_for(&path, machine);
        let plugin = plugin.map_err(|problem| format!("{}: {problem}", path.display()));
        Entry { path, plugin, shadowed_by: None }
    };
    files.into_iter().map(entry).collect()
}

fn libraries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "so") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shadow(entries: &mut [Entry]) {
    let mut first: BTreeMap<(String, Version), PathBuf> = BTreeMap::new();
    for entry in entries {
        let Ok(plugin) = &entry.plugin else { continue };
        let key = (plugin.declaration.name.clone(), plugin.declaration.version.clone());
        match first.get(&key) {
            Some(path) => entry.shadowed_by = Some(path.clone()),
            None => drop(first.insert(key, entry.path.clone())),
        }
    }
}

fn words(entries: &[Entry], verbs: &[&str]) -> BTreeMap<String, Word> {
    let mut claims: BTreeMap<&str, Vec<(usize, &PluginFile)>> = BTreeMap::new();
    let counting = entries.iter().enumerate().filter(|(_, entry)| entry.shadowed_by.is_none());
    for (index, plugin) in counting.filter_map(|(index, entry)| Some((index, entry.plugin.as_ref().ok()?))) {
        for command in &plugin.declaration.commands {
            claims.entry(&command.name).or_default().push((index, plugin));
        }
    }
    let owners = |(word, claims): (&str, Vec<_>)| (word.to_owned(), owners(word, claims, verbs));
    claims.into_iter().map(owners).collect()
}

fn owners(word: &str, mut claims: Vec<(usize, &PluginFile)>, verbs: &[&str]) -> Word {
    let (_, first) = claims[0];
    if verbs.contains(&word) {
        let plugin = first.name_and_version();
        return Err(format!("plugin {plugin} ({}) claims `{word}`, a command of mesos itself", first.path.display()));
    }
    if let Some((_, other)) = claims.iter().find(|(_, plugin)| plugin.declaration.name != first.declaration.name) {
        return Err(format!(
            "two plugins claim the command `{word}`: {} ({}) and {} ({}); remove one of them",
            first.name_and_version(),
            first.path.display(),
            other.name_and_version(),
            other.path.display()
        ));
    }
    claims.sort_by(|(_, a), (_, b)| b.declaration.version.cmp(&a.declaration.version));
    Ok(claims.into_iter().map(|(index, _)| index).collect())
}
