//! Where plugins are looked for, in this order: `--plugin-dir`, `MESOS_PLUGIN_DIR`, the user's folder, the folder
//! beside the binary.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The environment variable with more folders, separated by colons.
pub const PLUGIN_DIR_VARIABLE: &str = "MESOS_PLUGIN_DIR";

/// The folders with plugins, in the order in which they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// No folder stands here twice.
    pub folders: Vec<Folder>,
}

/// One folder of the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Whether someone named it, so that its absence is worth a word.
    pub named: bool,
}

impl SearchPath {
    /// The search path of this process, with the folders of `--plugin-dir` first.
    pub fn of_process(plugin_dirs: &[PathBuf]) -> Self {
        let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let data = data.or_else(|| env::home_dir().map(|home| home.join(".local/share")));
        // The real path: the binary may be a symbolic link in /usr/local/bin, and plugins/ stands beside the file.
        let binary = env::current_exe().and_then(|path| path.canonicalize()).ok();
        Self::new(plugin_dirs, env::var_os(PLUGIN_DIR_VARIABLE).as_deref(), data.as_deref(), binary.as_deref())
    }

    /// The search path made of its four parts.
    pub fn new(plugin_dirs: &[PathBuf], variable: Option<&OsStr>, data: Option<&Path>, binary: Option<&Path>) -> Self {
        let mut path = Self::default();
        for folder in plugin_dirs {
            path.add(folder.clone(), true);
        }
        for folder in variable.iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty()) {
            path.add(folder, true);
        }
        if let Some(data) = data {
            path.add(data.join("mesos/plugins"), false);
        }
        if let Some(beside) = binary.and_then(Path::parent) {
            path.add(beside.join("plugins"), false);
        }
        path
    }

    fn add(&mut self, path: PathBuf, named: bool) {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.folders.iter().any(|folder| real(&folder.path) == real(&path)) {
            self.folders.push(Folder { path, named });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(path: &SearchPath) -> Vec<(&str, bool)> {
        path.folders.iter().map(|folder| (folder.path.to_str().expect("text"), folder.named)).collect()
    }

    #[test]
    fn the_four_sources_stand_in_their_order() {
        let dirs = [PathBuf::from("/flag")];
        let (data, binary) = (Path::new("/home/u/.local/share"), Path::new("/opt/mesos/mesos"));
        let path = SearchPath::new(&dirs, Some(OsStr::new("/one::/two")), Some(data), Some(binary));
        let expected = [
            ("/flag", true),
            ("/one", true),
            ("/two", true),
            ("/home/u/.local/share/mesos/plugins", false),
            ("/opt/mesos/plugins", false),
        ];
        assert_eq!(folders(&path), expected);
    }

    #[test]
    fn a_folder_named_twice_counts_once_also_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("a link");
        let path = SearchPath::new(&[dir.path().to_owned(), link], Some(dir.path().as_os_str()), None, None);
        assert_eq!(path.folders, [Folder { path: dir.path().to_owned(), named: true }]);
    }
}
