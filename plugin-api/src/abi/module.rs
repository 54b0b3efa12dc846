//! The types that cross the boundary. What may change later: functions added after the last one of a struct or trait
//! below, each with `missing_field(option)` or a default body; nothing else without a new [`super::GENERATION`].

// The attribute macros of abi_stable want these.
#![allow(non_local_definitions, non_camel_case_types, missing_docs, clippy::undocumented_unsafe_blocks)]

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RSlice, RStr, RString, RVec},
};

/// What a plugin exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
pub struct PluginModule {
    /// Tells the plugin, once, where its log lines go. A function and not a method of `Host`, because the plugin's
    /// subscriber lives as long as the process and must not keep a command's or a framework's host alive.
    pub connect_log: extern "C" fn(max_level: u8, write: WriteLog),
    pub run_command: extern "C" fn(host: HostObject, invocation: RSlice<'_, u8>) -> RResult<i32, RString>,
    pub new_framework: extern "C" fn(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString>,
    #[sabi(last_prefix_field)]
    pub new_executor: extern "C" fn(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString>,
}

/// Takes one log line: level (1 error to 5 trace), plugin, target, message.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct WriteLog {
    pub line: extern "C" fn(level: u8, plugin: RStr<'_>, target: RStr<'_>, message: RStr<'_>),
}

pub type HalfObject = Half_TO<'static, RBox<()>>;
pub type HostObject = Host_TO<'static, RBox<()>>;

/// A framework or executor half.
#[sabi_trait]
pub trait Half: Send {
    #[sabi(last_prefix_field)]
    fn handle(&mut self, now_ns: u64, event: RSlice<'_, u8>) -> RResult<RVec<u8>, RString>;
}

/// The host, as a plugin's command or half sees it.
#[sabi_trait]
pub trait Host: Send + Sync {
    #[sabi(last_prefix_field)]
    fn call(&self, method: u32, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RString>;
}

impl RootModule for PluginModuleRef {
    declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "mesos_plugin";
    const NAME: &'static str = "mesos_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
