//! The host's side of the boundary: a plugin's file becomes a [`Module`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use abi_stable::{
    StableAbi,
    library::{AbiHeaderRef, LibHeader, LibraryError, RawLibrary},
    sabi_trait::TD_Opaque,
    std_types::{RResult, RSlice, RString, RVec},
};

use super::{
    ByteHost, layout, log,
    module::{HalfObject, Host, Host_TO, HostObject, PluginModuleRef, WriteLog},
};

/// A plugin in this process. It stays until the process ends: its code may be on any thread's stack.
#[derive(Clone, Copy)]
pub struct Module {
    module: PluginModuleRef,
}

/// Why a file did not become a [`Module`]; the path is the caller's to say.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The dynamic linker refused it, or it has no root module.
    #[error("cannot be loaded: {0}")]
    Refused(String),
    /// It was built with another version of the boundary's library.
    #[error("was built with a boundary that this mesos does not know; build it again with its plugin API")]
    OtherBoundary,
    /// The types that cross the boundary differ.
    #[error("does not fit this mesos: {0}; build it again with its plugin API")]
    OtherLayout(String),
}

impl Module {
    /// Loads the plugin at `path`, for good. Look at its declaration and at [`super::GENERATION_SYMBOL`] first: here a
    /// damaged file may end the process.
    ///
    /// # Errors
    /// When it can't be loaded or doesn't fit; the library stays in the process even so.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let header = header(path)?;
        let plugin = header.layout().ok_or(OpenError::OtherBoundary)?;
        layout::compatible(PluginModuleRef::LAYOUT, plugin).map_err(OpenError::OtherLayout)?;
        // SAFETY: the layouts were found compatible one line above. The stock check is left out because it refuses
        // plugins that are older than the host.
        let module = unsafe { header.unchecked_layout::<PluginModuleRef>() };
        let module = module.map_err(|error| OpenError::Refused(format!("its root module failed: {error:?}")))?;
        (module.connect_log())(log::max_level_here(), WriteLog { line: log::write_to_host });
        Ok(Self { module })
    }

    /// Runs a command of the plugin to its end; blocks, and talks to the terminal.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked.
    pub fn run_command(&self, host: Arc<dyn ByteHost>, invocation: &[u8]) -> Result<i32, String> {
        let exit_code = (self.module.run_command())(host_object(host), RSlice::from_slice(invocation));
        exit_code.into_result().map_err(RString::into_string)
    }

    /// Makes a framework half.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked.
    pub fn new_framework(&self, host: Arc<dyn ByteHost>, config: &[u8]) -> Result<Half, String> {
        Half::new((self.module.new_framework())(host_object(host), RSlice::from_slice(config)))
    }

    /// Makes an executor half.
    ///
    /// # Errors
    /// What the plugin says, or that it panicked.
    pub fn new_executor(&self, host: Arc<dyn ByteHost>, config: &[u8]) -> Result<Half, String> {
        Half::new((self.module.new_executor())(host_object(host), RSlice::from_slice(config)))
    }
}

/// A framework or executor half of a plugin. After an error it is dead: what it holds may be half changed.
pub struct Half {
    object: HalfObject,
    dead: Option<String>,
}

impl Half {
    pub(super) fn new(object: RResult<HalfObject, RString>) -> Result<Self, String> {
        object.into_result().map(|object| Self { object, dead: None }).map_err(RString::into_string)
    }

    /// Gives the half an event and returns the calls that it answers with.
    ///
    /// # Errors
    /// What went wrong in the plugin, mostly that it panicked; every later call returns the same error.
    pub fn handle(&mut self, now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(error) = &self.dead {
            return Err(error.clone());
        }
        let calls = self.object.handle(now_ns, RSlice::from_slice(event)).into_result();
        calls.map(RVec::into_vec).map_err(|error| self.kill(error.into_string()))
    }

    /// Makes `error` the answer to every later call, and returns it.
    pub fn kill(&mut self, error: String) -> String {
        self.dead.insert(error).clone()
    }
}

pub(super) fn header(path: &Path) -> Result<&'static LibHeader, OpenError> {
    let refused = |error: LibraryError| OpenError::Refused(one_line(&error.to_string()));
    let library = RawLibrary::load_at(path).map_err(refused)?;
    // SAFETY: only `export_plugin!` writes this symbol, and it is an `AbiHeader` at the head of a `LibHeader` then.
    let symbol = unsafe { library.get::<AbiHeaderRef>(b"mesos_plugin_module\0") };
    let header = symbol.map(|symbol| *symbol).map_err(refused);
    // Never unloaded: threads and panic hooks of the plugin outlive every handle.
    std::mem::forget(library);
    header?.upgrade().map_err(|_| OpenError::OtherBoundary)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn host_object(host: Arc<dyn ByteHost>) -> HostObject {
    Host_TO::from_value(GuardedHost(host), TD_Opaque)
}

/// A host whose panics don't reach the plugin: at the boundary they would end the process.
struct GuardedHost(Arc<dyn ByteHost>);

impl Host for GuardedHost {
    fn call(&self, method: u32, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RString> {
        let reply = catch_unwind(AssertUnwindSafe(|| self.0.call(method, request.as_slice())));
        let reply = reply.unwrap_or_else(|_| Err(format!("the host panicked in method {method}; see its log")));
        reply.map(RVec::from).map_err(RString::from).into()
    }
}
