//! The host's side: typed traits served to a plugin as methods, and its halves as typed traits.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use prost::Message;

use super::{decode, method, unknown_method};
use crate::{
    Calls, CommandHost, Executor, ExecutorCalls, Framework, Injector, Time,
    abi::{ByteHost, Half},
    v1::{command, executor, framework},
};

/// Pieces of an answer that wait for the plugin; then whoever answers waits, too.
const PIECES_WAITING_MAX: usize = 16;

/// A framework half that lives in a plugin. Once it has failed it is dead and gives the same error for ever.
pub struct FrameworkHalf {
    half: Half,
}

impl FrameworkHalf {
    /// Wraps what the plugin made.
    pub fn new(half: Half) -> Self {
        Self { half }
    }

    /// Gives the half an event and returns the calls that it answers with.
    ///
    /// # Errors
    /// What went wrong in the plugin, mostly that it panicked, in one line.
    pub fn handle(&mut self, now: Time, event: framework::event::Event) -> Result<Vec<framework::call::Call>, String> {
        let event = framework::Event { event: Some(event) }.encode_to_vec();
        let calls = self.half.handle(now.as_nanos(), &event)?;
        let calls: framework::Calls = decode("the framework's calls", &calls).map_err(|error| self.half.kill(error))?;
        Ok(calls.calls.into_iter().filter_map(|call| call.call).collect())
    }
}

impl Framework for FrameworkHalf {
    /// A half that fails ends its framework with exit code 1 and the error.
    fn on_event(&mut self, now: Time, event: framework::event::Event, calls: &mut Calls) {
        match self.handle(now, event) {
            Ok(made) => made.into_iter().for_each(|call| calls.push(call)),
            Err(error) => calls.finish(1, Some(error)),
        }
    }
}

/// An executor half that lives in a plugin. Once it has failed it is dead and gives the same error for ever.
pub struct ExecutorHalf {
    half: Half,
}

impl ExecutorHalf {
    /// Wraps what the plugin made.
    pub fn new(half: Half) -> Self {
        Self { half }
    }

    /// Gives the half an event and returns the calls that it answers with.
    ///
    /// # Errors
    /// What went wrong in the plugin, mostly that it panicked, in one line.
    pub fn handle(&mut self, now: Time, event: executor::event::Event) -> Result<Vec<executor::call::Call>, String> {
        let event = executor::Event { event: Some(event) }.encode_to_vec();
        let calls = self.half.handle(now.as_nanos(), &event)?;
        let calls: executor::Calls = decode("the executor's calls", &calls).map_err(|error| self.half.kill(error))?;
        Ok(calls.calls.into_iter().filter_map(|call| call.call).collect())
    }
}

impl Executor for ExecutorHalf {
    /// A half that fails ends its process, and all that it launched, with the error.
    fn on_event(&mut self, now: Time, event: executor::event::Event, calls: &mut ExecutorCalls) {
        match self.handle(now, event) {
            Ok(made) => made.into_iter().for_each(|call| calls.push(call)),
            Err(error) => calls.exit(Some(error)),
        }
    }
}

/// Serves an [`Injector`] to the threads of a half.
pub struct InjectServer(pub Injector);

impl ByteHost for InjectServer {
    fn call(&self, method: u32, request: &[u8]) -> Result<Vec<u8>, String> {
        match method {
            method::INJECT => {
                self.0.inject(request.to_owned());
                Ok(Vec::new())
            }
            unknown => Err(unknown_method(unknown)),
        }
    }
}

/// Serves a [`CommandHost`] to the command half of a plugin.
pub struct CommandServer {
    host: Arc<dyn CommandHost>,
    answers: Mutex<Answers>,
}

/// The requests whose answers the plugin has not read to the end.
#[derive(Default)]
struct Answers {
    last_handle: u64,
    open: BTreeMap<u64, Receiver<Piece>>,
}

enum Piece {
    Data(Vec<u8>),
    End(Result<(), String>),
}

impl CommandServer {
    /// Serves `host`.
    pub fn new(host: Arc<dyn CommandHost>) -> Self {
        Self { host, answers: Mutex::default() }
    }

    /// The trait hands the pieces in and the boundary asks for them, so a thread stands between the two.
    fn request(&self, request: command::RequestFramework) -> command::RequestHandle {
        let (sender, receiver) = sync_channel(PIECES_WAITING_MAX);
        let host = self.host.clone();
        thread::spawn(move || answer(host.as_ref(), request, &sender));
        let mut answers = self.answers();
        answers.last_handle += 1;
        let handle = answers.last_handle;
        answers.open.insert(handle, receiver);
        command::RequestHandle { handle }
    }

    fn next_reply(&self, handle: u64) -> Result<command::ReplyPiece, String> {
        let unknown = || format!("the answer {handle} is not open");
        // Taken out while it is waited for, so that other threads' answers go on.
        let pieces = self.answers().open.remove(&handle).ok_or_else(unknown)?;
        match pieces.recv() {
            Ok(Piece::Data(data)) => {
                self.answers().open.insert(handle, pieces);
                Ok(command::ReplyPiece { data: Some(data), done: None })
            }
            Ok(Piece::End(end)) => end.map(|()| command::ReplyPiece { data: None, done: Some(true) }),
            Err(_) => Err("the host panicked while it fetched the answer; see its log".to_owned()),
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(host: &dyn CommandHost, request: command::RequestFramework, pieces: &SyncSender<Piece>) {
    // A receiver that is gone belongs to a command that has ended, or has seen enough.
    let mut piece = |data: &[u8]| match pieces.send(Piece::Data(data.to_owned())) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let end = host.request(&request.framework, request.data, &mut piece);
    drop(pieces.send(Piece::End(end)));
}

impl ByteHost for CommandServer {
    fn call(&self, method: u32, request: &[u8]) -> Result<Vec<u8>, String> {
        match method {
            method::RUN_FRAMEWORK => Ok(self.host.run_framework(decode("RunFramework", request)?)?.encode_to_vec()),
            method::REQUEST => Ok(self.request(decode("RequestFramework", request)?).encode_to_vec()),
            method::NEXT_REPLY => {
                let handle: command::RequestHandle = decode("RequestHandle", request)?;
                Ok(self.next_reply(handle.handle)?.encode_to_vec())
            }
            method::LEAVE_REPLY => {
                let handle: command::RequestHandle = decode("RequestHandle", request)?;
                self.answers().open.remove(&handle.handle);
                Ok(Vec::new())
            }
            method::UPLOAD => {
                let upload: command::Upload = decode("Upload", request)?;
                let uri = self.host.upload(Path::new(OsStr::from_bytes(&upload.path)))?;
                Ok(command::Uploaded { uri }.encode_to_vec())
            }
            method::CLUSTER => Ok(self.host.cluster()?.encode_to_vec()),
            unknown => Err(unknown_method(unknown)),
        }
    }
}
