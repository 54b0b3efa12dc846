//! The plugin's side of the boundary: what `export_plugin!` writes into a cdylib.

use std::{mem::ManuallyDrop, sync::Arc};

use abi_stable::{
    library::{__call_root_module_loader, CheckTypeLayout, RootModuleResult},
    prefix_type::PrefixTypeTrait,
    sabi_trait::TD_Opaque,
    std_types::{RResult, RSlice, RString, RVec},
};

pub use abi_stable::library::LibHeader;

use super::{
    ByteHalf, BytePlugin, Identity,
    guard::guard,
    log,
    module::{Half, Half_TO, HalfObject, HostObject, PluginModule, PluginModuleRef, WriteLog},
};

/// Writes the boundary of a plugin: the root module, the plain symbol and the declaration.
///
/// - `plugin`: an expression that makes the [`Plugin`](crate::Plugin),
/// - `name`: its name, a literal of small letters, digits and hyphens,
/// - `declaration`: the author's part of the declaration, a constant `&str`, mostly `include_str!("plugin.toml")`;
///   see [`Declaration`](crate::declaration::Declaration) for the keys.
///
/// The crate must be a `cdylib`. A test that the declaration is valid is written too.
#[macro_export]
macro_rules! export_plugin {
    (plugin: $plugin:expr, name: $name:expr, declaration: $declaration:expr $(,)?) => {
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        mod mesos_plugin_export {
            // The three arguments may name what stands beside the macro.
            #[allow(unused_imports)]
            use super::*;

            #[cfg(panic = "abort")]
            compile_error!("a plugin must be built with panic = \"unwind\": its panics would end the host's process");

            struct Export;

            impl $crate::abi::export::Exported for Export {
                const WHO: $crate::abi::Identity =
                    $crate::abi::Identity { name: $name, version: ::core::env!("CARGO_PKG_VERSION") };

                fn plugin() -> &'static dyn $crate::abi::BytePlugin {
                    static PLUGIN: ::std::sync::LazyLock<$crate::codec::CodedPlugin> =
                        ::std::sync::LazyLock::new(|| $crate::codec::CodedPlugin::new($plugin));
                    &*PLUGIN
                }
            }

            #[unsafe(no_mangle)]
            static mesos_plugin_module: $crate::abi::export::LibHeader = $crate::abi::export::header::<Export>();

            #[unsafe(no_mangle)]
            extern "C" fn mesos_plugin_abi() -> u32 {
                $crate::abi::GENERATION
            }

            const TEXT: &[&str] = &[
                "name = \"",
                $name,
                "\"\nversion = \"",
                ::core::env!("CARGO_PKG_VERSION"),
                "\"\napi = \"",
                $crate::declaration::API_VERSION,
                "\"\n",
                $declaration,
            ];
            const LENGTH: usize = $crate::abi::export::length(TEXT);

            // Exported, so that neither the linker nor `strip` takes it for unused.
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".mesos.plugin")]
            static mesos_plugin_declaration: [u8; LENGTH] = $crate::abi::export::join(TEXT);

            #[cfg(test)]
            #[test]
            fn the_declaration_is_valid() {
                let text = ::core::str::from_utf8(&mesos_plugin_declaration).expect("joined from strings");
                if let Err(error) = $crate::declaration::Declaration::parse(text) {
                    panic!("{error}");
                }
            }
        }
    };
}

/// What `export_plugin!` says of a plugin.
pub trait Exported: 'static {
    /// The plugin's name and version.
    const WHO: Identity;

    /// The author's plugin, made when it is first asked for.
    fn plugin() -> &'static dyn BytePlugin;
}

/// The header that the host finds by the symbol `mesos_plugin_module`.
pub const fn header<E: Exported>() -> LibHeader {
    // SAFETY: `constructor` returns what `PluginModuleRef` is, erased.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(constructor::<E>, CheckTypeLayout::Yes) }
}

extern "C" fn constructor<E: Exported>() -> RootModuleResult {
    __call_root_module_loader(|| -> PluginModuleRef {
        let module = PluginModule {
            connect_log: connect_log::<E>,
            run_command: run_command::<E>,
            new_framework: new_framework::<E>,
            new_executor: new_executor::<E>,
        };
        module.leak_into_prefix()
    })
}

extern "C" fn connect_log<E: Exported>(max_level: u8, write: WriteLog) {
    let connected = guard(E::WHO, "connect_log", || {
        log::connect(E::WHO, max_level, write);
        Ok(())
    });
    // Nothing to report to: the log is what failed. The plugin works without it.
    drop(connected);
}

extern "C" fn run_command<E: Exported>(host: HostObject, invocation: RSlice<'_, u8>) -> RResult<i32, RString> {
    let run = || E::plugin().run_command(HostHandle::new(host), invocation.as_slice());
    guard(E::WHO, "run_command", run).map_err(RString::from).into()
}

extern "C" fn new_framework<E: Exported>(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString> {
    let new = || E::plugin().new_framework(HostHandle::new(host), config.as_slice());
    guarded_half(E::WHO, guard(E::WHO, "new_framework", new))
}

extern "C" fn new_executor<E: Exported>(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString> {
    let new = || E::plugin().new_executor(HostHandle::new(host), config.as_slice());
    guarded_half(E::WHO, guard(E::WHO, "new_executor", new))
}

pub(super) fn guarded_half(who: Identity, half: Result<Box<dyn ByteHalf>, String>) -> RResult<HalfObject, RString> {
    let object = |half| Half_TO::from_value(GuardedHalf { who, half: ManuallyDrop::new(half) }, TD_Opaque);
    half.map(object).map_err(RString::from).into()
}

/// A half whose panics, also those of its `drop`, stay here.
struct GuardedHalf {
    who: Identity,
    half: ManuallyDrop<Box<dyn ByteHalf>>,
}

impl Half for GuardedHalf {
    fn handle(&mut self, now_ns: u64, event: RSlice<'_, u8>) -> RResult<RVec<u8>, RString> {
        let calls = guard(self.who, "handle", || self.half.handle(now_ns, event.as_slice()));
        calls.map(RVec::from).map_err(RString::from).into()
    }
}

impl Drop for GuardedHalf {
    fn drop(&mut self) {
        let dropped = guard(self.who, "drop", || {
            // SAFETY: `half` is not touched again; this is the owner's only drop.
            unsafe { ManuallyDrop::drop(&mut self.half) };
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::error!("{error}");
        }
    }
}

/// The host, for the threads of a plugin. Cheap to clone.
#[derive(Clone)]
pub struct HostHandle {
    object: Arc<HostObject>,
}

impl HostHandle {
    pub(super) fn new(object: HostObject) -> Self {
        Self { object: Arc::new(object) }
    }

    /// Calls a method of the host by its number; may block.
    ///
    /// # Errors
    /// What the host says, among them that it has no such method.
    pub fn call(&self, method: u32, request: &[u8]) -> Result<Vec<u8>, String> {
        let reply = self.object.call(method, RSlice::from_slice(request));
        reply.into_result().map(RVec::into_vec).map_err(RString::into_string)
    }
}

/// The length of `parts` together.
pub const fn length(parts: &[&str]) -> usize {
    let (mut total, mut part) = (0, 0);
    while part < parts.len() {
        total += parts[part].len();
        part += 1;
    }
    total
}

/// `parts` one after the other, at compile time.
pub const fn join<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut byte = 0;
        while byte < bytes.len() {
            text[at] = bytes[byte];
            at += 1;
            byte += 1;
        }
        part += 1;
    }
    assert!(at == LENGTH, "LENGTH is the length of the parts");
    text
}
