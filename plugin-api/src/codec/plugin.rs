//! The plugin's side: bytes in, typed traits called, bytes out.

use std::{os::unix::ffi::OsStrExt, path::Path};

use prost::Message;

use super::{decode, method};
use crate::{
    Calls, CommandHost, Executor, ExecutorCalls, Framework, Injector, Invocation, Plugin, Time,
    abi::{ByteHalf, BytePlugin, HostHandle},
    command::{Cluster, Pieces, RunFramework, RunFrameworkResult},
    v1::{Uri, command, executor, framework},
};

/// A [`Plugin`] as the boundary wants it; made by `export_plugin!`.
pub struct CodedPlugin {
    plugin: Box<dyn Plugin>,
}

impl CodedPlugin {
    /// Wraps the author's plugin.
    pub fn new(plugin: impl Plugin) -> Self {
        Self { plugin: Box::new(plugin) }
    }
}

impl BytePlugin for CodedPlugin {
    fn run_command(&self, host: HostHandle, invocation: &[u8]) -> Result<i32, String> {
        let invocation: Invocation = decode("the invocation", invocation)?;
        self.plugin.command(&CommandClient { host }, &invocation)
    }

    fn new_framework(&self, host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        let framework = self.plugin.framework(config, injector(host))?;
        Ok(Box::new(CodedFramework { framework }))
    }

    fn new_executor(&self, host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        let executor = self.plugin.executor(config, injector(host))?;
        Ok(Box::new(CodedExecutor { executor }))
    }
}

struct CodedFramework {
    framework: Box<dyn Framework>,
}

impl ByteHalf for CodedFramework {
    fn handle(&mut self, now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String> {
        let event: framework::Event = decode("the event", event)?;
        let mut calls = Calls::default();
        // An event without content is one that a newer host has and this plugin doesn't know.
        if let Some(event) = event.event {
            self.framework.on_event(Time(now_ns), event, &mut calls);
        }
        let calls = calls.take().into_iter().map(|call| framework::Call { call: Some(call) });
        Ok(framework::Calls { calls: calls.collect() }.encode_to_vec())
    }
}

struct CodedExecutor {
    executor: Box<dyn Executor>,
}

impl ByteHalf for CodedExecutor {
    fn handle(&mut self, now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String> {
        let event: executor::Event = decode("the event", event)?;
        let mut calls = ExecutorCalls::default();
        if let Some(event) = event.event {
            self.executor.on_event(Time(now_ns), event, &mut calls);
        }
        let calls = calls.take().into_iter().map(|call| executor::Call { call: Some(call) });
        Ok(executor::Calls { calls: calls.collect() }.encode_to_vec())
    }
}

fn injector(host: HostHandle) -> Injector {
    Injector::new(move |data| {
        // The one way to fail is a half that has ended, whose bytes are dropped by contract.
        let _ = host.call(method::INJECT, &data);
    })
}

/// The host of a command.
struct CommandClient {
    host: HostHandle,
}

impl CommandClient {
    fn call<M: Message + Default>(&self, method: u32, request: &impl Message) -> Result<M, String> {
        decode("the host's answer", &self.host.call(method, &request.encode_to_vec())?)
    }
}

impl CommandHost for CommandClient {
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String> {
        self.call(method::RUN_FRAMEWORK, &run)
    }

    fn request(&self, framework: &str, data: Vec<u8>, piece: &mut Pieces<'_>) -> Result<(), String> {
        let request = command::RequestFramework { framework: framework.to_owned(), data };
        let handle: command::RequestHandle = self.call(method::REQUEST, &request)?;
        loop {
            let reply: command::ReplyPiece = self.call(method::NEXT_REPLY, &handle)?;
            if reply.data.as_ref().is_some_and(|data| piece(data).is_break()) {
                return self.host.call(method::LEAVE_REPLY, &handle.encode_to_vec()).map(drop);
            }
            if reply.done() {
                return Ok(());
            }
        }
    }

    fn upload(&self, path: &Path) -> Result<Uri, String> {
        let upload = command::Upload { path: path.as_os_str().as_bytes().to_owned() };
        self.call::<command::Uploaded>(method::UPLOAD, &upload).map(|uploaded| uploaded.uri)
    }

    fn cluster(&self) -> Result<Cluster, String> {
        self.call(method::CLUSTER, &command::ClusterRequest {})
    }
}
