//! A plugin that was built by an older Rust (`tests/golden`), opened by a host whose boundary has gained functions since.

use std::path::PathBuf;
use std::sync::Mutex;

use abi_stable::{
    StableAbi,
    sabi_trait::TD_Opaque,
    std_types::{RResult, RSlice, RString, RVec},
};
use prost::Message;

use super::{layout, open};
use crate::v1::framework::{Calls, Event, Started, call::Call, event::Event as Kind};

/// The boundary with a function or method more wherever one may be added.
mod newer {
    #![allow(non_local_definitions, non_camel_case_types, dead_code, missing_docs, clippy::undocumented_unsafe_blocks)]
    use abi_stable::{
        StableAbi, declare_root_module_statics,
        library::RootModule,
        package_version_strings, sabi_trait,
        sabi_types::VersionStrings,
        std_types::{RBox, RResult, RSlice, RString, RVec},
    };

    use super::super::module::WriteLog;

    #[repr(C)]
    #[derive(StableAbi)]
    #[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
    pub struct PluginModule {
        pub connect_log: extern "C" fn(max_level: u8, write: WriteLog),
        pub run_command: extern "C" fn(host: HostObject, invocation: RSlice<'_, u8>) -> RResult<i32, RString>,
        pub new_framework: extern "C" fn(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString>,
        #[sabi(last_prefix_field)]
        pub new_executor: extern "C" fn(host: HostObject, config: RSlice<'_, u8>) -> RResult<HalfObject, RString>,
        #[sabi(missing_field(option))]
        pub more: extern "C" fn(u64) -> u64,
    }

    pub type HalfObject = Half_TO<'static, RBox<()>>;
    pub type HostObject = Host_TO<'static, RBox<()>>;

    #[sabi_trait]
    pub trait Half: Send {
        #[sabi(last_prefix_field)]
        fn handle(&mut self, now_ns: u64, event: RSlice<'_, u8>) -> RResult<RVec<u8>, RString>;
        fn more(&self, number: u64) -> u64 {
            number
        }
    }

    #[sabi_trait]
    pub trait Host: Send + Sync {
        #[sabi(last_prefix_field)]
        fn call(&self, method: u32, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RString>;
        fn more(&self, number: u64) -> u64 {
            number
        }
    }

    impl RootModule for PluginModuleRef {
        declare_root_module_statics! {PluginModuleRef}
        const BASE_NAME: &'static str = "mesos_plugin";
        const NAME: &'static str = "mesos_plugin";
        const VERSION_STRINGS: VersionStrings = package_version_strings!();
    }
}

/// Keeps what the plugin calls.
struct Keeps;

static CALLED: Mutex<Vec<(u32, Vec<u8>)>> = Mutex::new(Vec::new());

impl newer::Host for Keeps {
    fn call(&self, method: u32, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RString> {
        CALLED.lock().expect("not poisoned").push((method, request.to_vec()));
        RResult::ROk(RVec::new())
    }
}

#[test]
fn an_older_plugin_works_in_a_host_whose_boundary_has_more() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/golden-now.so");
    let header = open::header(&path).expect("it is committed");
    let plugin = header.layout().expect("the boundary's library is the same");
    assert_eq!(layout::compatible(newer::PluginModuleRef::LAYOUT, plugin), Ok(()));
    // SAFETY: the layouts are compatible, as `Module::open` checks.
    let module = unsafe { header.unchecked_layout::<newer::PluginModuleRef>() }.expect("a module");
    assert!(module.more().is_none(), "it has nothing there");

    let host = newer::Host_TO::from_value(Keeps, TD_Opaque);
    let half = (module.new_framework())(host, RSlice::from_slice(b"words")).into_result();
    let mut half = half.map_err(RString::into_string).expect("a half");
    assert_eq!(*CALLED.lock().expect("not poisoned"), [(6, b"ready".to_vec())], "it has injected");
    let event = Event { event: Some(Kind::Started(Started::default())) }.encode_to_vec();
    let calls = half.handle(5, RSlice::from_slice(&event)).into_result().map_err(RString::into_string);
    let calls = Calls::decode(calls.expect("calls").as_slice()).expect("calls").calls;
    let [Some(Call::SetTimer(timer)), Some(Call::PutState(_))] = [&calls[0].call, &calls[1].call] else {
        panic!("a timer and a write: {calls:?}")
    };
    assert_eq!((timer.at_ns, half.more(7)), (5, 7), "a method that it lacks has its default");
}
