//! Both sides of the boundary in one process, without a library to load: for the tests of the layers above.

use std::sync::Arc;

use super::{ByteHost, BytePlugin, Half, HostHandle, Identity, export::guarded_half, guard::guard, open::host_object};

const WHO: Identity = Identity { name: "test", version: "0.1.0" };

/// A host as a plugin sees it.
pub(crate) fn host(host: Arc<dyn ByteHost>) -> HostHandle {
    HostHandle::new(host_object(host))
}

/// Runs a command as if the plugin had been loaded.
pub(crate) fn run_command(plugin: &dyn BytePlugin, host: Arc<dyn ByteHost>, bytes: &[u8]) -> Result<i32, String> {
    guard(WHO, "run_command", || plugin.run_command(self::host(host), bytes))
}

/// Makes a framework half as if the plugin had been loaded.
pub(crate) fn framework(plugin: &dyn BytePlugin, host: Arc<dyn ByteHost>, config: &[u8]) -> Result<Half, String> {
    Half::new(guarded_half(WHO, guard(WHO, "new_framework", || plugin.new_framework(self::host(host), config))))
}

/// Makes an executor half as if the plugin had been loaded.
pub(crate) fn executor(plugin: &dyn BytePlugin, host: Arc<dyn ByteHost>, config: &[u8]) -> Result<Half, String> {
    Half::new(guarded_half(WHO, guard(WHO, "new_executor", || plugin.new_executor(self::host(host), config))))
}
