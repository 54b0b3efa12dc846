//! Loads a plugin into this process, for good.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use mesos_plugin_api::{
    CommandHost, Injector, Invocation,
    abi::{GENERATION, GENERATION_SYMBOL, Module, OpenError},
    codec::{CommandServer, ExecutorHalf, FrameworkHalf, InjectServer},
};
use prost::Message;

use super::file::{Identity, PluginFile};

/// A plugin in this process.
#[derive(Clone)]
pub struct LoadedPlugin {
    file: PluginFile,
    module: Module,
}

/// Why a plugin that is in the catalogue could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadProblem {
    /// Another file stands at its path now, or none.
    #[error("plugin {}: the file has changed since it was listed; run the command again", path.display())]
    Changed {
        /// Its path.
        path: PathBuf,
    },
    /// This process has loaded another file from this path, and the dynamic linker would give that one again.
    #[error("plugin {}: the file was replaced after this process had loaded it; restart the process", path.display())]
    Replaced {
        /// Its path.
        path: PathBuf,
    },
    /// The dynamic linker refused it.
    #[error("plugin {}: cannot be loaded: {problem}", path.display())]
    Refused {
        /// Its path.
        path: PathBuf,
        /// What the linker says.
        problem: String,
    },
    /// It has a declaration, but was not made by `export_plugin!`.
    #[error("plugin {}: has no symbol {GENERATION_SYMBOL}; build it with export_plugin!", path.display())]
    NoSymbol {
        /// Its path.
        path: PathBuf,
    },
    /// Its boundary is of another kind.
    #[error(
        "plugin {}: has boundary generation {theirs}, this mesos {GENERATION}; build it again with its plugin API",
        path.display()
    )]
    OtherGeneration {
        /// Its path.
        path: PathBuf,
        /// What its symbol returned.
        theirs: u32,
    },
    /// Its root module doesn't fit.
    #[error("plugin {}: {problem}", path.display())]
    Boundary {
        /// Its path.
        path: PathBuf,
        /// Why not.
        problem: OpenError,
    },
}

/// Loads `file` into this process, or gives what was loaded before. It is never unloaded. Set the log up first: a plugin
/// is told once how detailed its lines may be.
///
/// # Errors
/// When it has changed or doesn't fit.
pub fn load(file: &PluginFile) -> Result<LoadedPlugin, LoadProblem> {
    /// Which file was loaded from which path. Held while loading: a second thread waits and gets the same module.
    static LOADED: Mutex<BTreeMap<PathBuf, Identity>> = Mutex::new(BTreeMap::new());
    let path = || file.path.clone();
    // The linker's cache goes by this path too.
    let real = file.path.canonicalize().map_err(|_| LoadProblem::Changed { path: path() })?;
    let metadata = fs::metadata(&real).map_err(|_| LoadProblem::Changed { path: path() })?;
    if Identity::of(&metadata) != file.identity {
        return Err(LoadProblem::Changed { path: path() });
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if loaded.get(&real).is_some_and(|identity| *identity != file.identity) {
        return Err(LoadProblem::Replaced { path: path() });
    }
    loaded.insert(real.clone(), file.identity);
    match generation(&real)? {
        GENERATION => {}
        theirs => return Err(LoadProblem::OtherGeneration { path: path(), theirs }),
    }
    let module = Module::open(&real).map_err(|problem| LoadProblem::Boundary { path: path(), problem })?;
    Ok(LoadedPlugin { file: file.clone(), module })
}

/// What the plain symbol of the library at `path` returns.
fn generation(path: &Path) -> Result<u32, LoadProblem> {
    let refused = |error: libloading::Error| LoadProblem::Refused { path: path.to_owned(), problem: one_line(&error) };
    // SAFETY: this runs the library's initialisers. Its headers were checked, and it declares to be a plugin: running
    // its code is what the user asked for.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(refused)?;
    let symbol = CString::new(GENERATION_SYMBOL).expect("a name without zeros");
    // SAFETY: only `export_plugin!` writes this symbol, with this type.
    let function = unsafe { library.get::<extern "C" fn() -> u32>(symbol.as_c_str()) };
    let generation = function.map(|function| function());
    // Never unloaded: its threads and thread-local destructors would run on unmapped memory.
    std::mem::forget(library);
    generation.map_err(|_| LoadProblem::NoSymbol { path: path.to_owned() })
}

fn one_line(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = source.to_string();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl LoadedPlugin {
    /// What was loaded.
    pub fn file(&self) -> &PluginFile {
        &self.file
    }

    /// Runs a command to its end and returns its exit code. Blocks: call it on a thread of its own.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked, in one line.
    pub fn run_command(&self, host: Arc<dyn CommandHost>, invocation: &Invocation) -> Result<i32, String> {
        self.module.run_command(Arc::new(CommandServer::new(host)), &invocation.encode_to_vec())
    }

    /// Makes a framework half; what threads of the plugin inject goes to `injector`.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked, in one line.
    pub fn new_framework(&self, config: &[u8], injector: Injector) -> Result<FrameworkHalf, String> {
        self.module.new_framework(Arc::new(InjectServer(injector)), config).map(FrameworkHalf::new)
    }

    /// Makes an executor half; what threads of the plugin inject goes to `injector`.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked, in one line.
    pub fn new_executor(&self, config: &[u8], injector: Injector) -> Result<ExecutorHalf, String> {
        self.module.new_executor(Arc::new(InjectServer(injector)), config).map(ExecutorHalf::new)
    }
}
