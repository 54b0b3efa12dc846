//! What clients ask for. An agent may ask for everything; an executor for what is below its own container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;

use super::channel::Role;
use super::connection::{AgentLoss, CHANNEL_VARIABLE};
use super::containers::{CONTAINERS_MAX, Container, NAME_BYTES_MAX, State, launched, pidfd};
use super::failure::Failure;
use super::log::log;
use super::plan::{Inherited, Job, within};
use super::processes;
use super::proto::{self, Step, event::Event as Wire, request::Request};
use super::server::Server;
use super::{PROTOCOL_VERSION, wire};

/// Bytes and descriptors of a part of a listing, at most.
const LISTING_BYTES_MAX: usize = 32 * 1024;
const LISTING_FDS_MAX: usize = 100;

type Fds = Vec<Option<OwnedFd>>;

impl Server {
    pub(super) fn on_packet(&mut self, id: u64, bytes: &[u8], fds: Vec<OwnedFd>) {
        let mut fds: Fds = fds.into_iter().map(Some).collect();
        let requests = match proto::Requests::decode(Bytes::copy_from_slice(bytes)) {
            Ok(requests) => requests.requests,
            Err(error) => return self.lose(id, &format!("sent what is no request: {error}")),
        };
        for request in requests {
            let Some(role) = self.channels.get(&id).map(|channel| channel.role) else { return };
            match (role, request.request) {
                (Role::Stranger, Some(Request::Hello(hello))) => self.on_new_agent(id, hello),
                (Role::Stranger, _) => return self.lose(id, "said something before hello"),
                (Role::Agent, Some(Request::Hello(hello))) => self.on_hello(id, hello),
                (Role::Agent, Some(Request::Shutdown(_))) => self.stop("asked to by the agent"),
                (Role::Agent, Some(Request::Adopt(adopt))) => self.on_adopt(&adopt),
                (_, Some(Request::Launch(launch))) => self.on_launch(id, role, launch, &mut fds),
                (_, Some(Request::Signal(signal))) => self.on_signal(id, role, signal),
                (_, Some(Request::List(_))) => self.on_list(id, role),
                (_, Some(Request::Release(release))) => self.on_release(id, role, &release.container),
                (Role::Executor(_), Some(Request::Hello(_) | Request::Shutdown(_) | Request::Adopt(_))) => {
                    self.refuse(id, "", "only an agent may ask for that");
                }
                (_, None) => {
                    self.refuse(id, "", "the request is unknown to this launcher, which is older than its client")
                }
            }
        }
    }

    /// The newest agent wins. What the one before it has sent counts, so that the list it asks for is complete.
    fn on_new_agent(&mut self, id: u64, hello: proto::Hello) {
        let before = self.channels.iter().find(|(_, channel)| channel.role == Role::Agent).map(|(&before, _)| before);
        if let Some(before) = before {
            let policy = std::mem::replace(&mut self.on_agent_loss, AgentLoss::Keep(None));
            self.read(before, usize::MAX);
            self.lose(before, "another one came");
            self.on_agent_loss = policy;
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.role = Role::Agent;
            self.alone_since = None;
            self.on_hello(id, hello);
        }
    }

    fn on_hello(&mut self, id: u64, hello: proto::Hello) {
        use proto::agent_loss::Policy;
        match hello.on_agent_loss.and_then(|loss| loss.policy) {
            Some(Policy::Keep(keep)) => {
                self.on_agent_loss = AgentLoss::Keep(keep.timeout_ms.map(std::time::Duration::from_millis));
            }
            Some(Policy::Kill(_)) => self.on_agent_loss = AgentLoss::Kill,
            None => {}
        }
        log(&format!("serving an agent of protocol version {}; on its loss: {:?}", hello.version, self.on_agent_loss));
        let pid = std::process::id() as i32;
        self.say(id, Wire::Welcome(proto::Welcome { version: PROTOCOL_VERSION, pid }), None);
    }

    fn on_launch(&mut self, id: u64, role: Role, launch: proto::Launch, fds: &mut Fds) {
        let specs = match launch.specs {
            Some(proto::launch::Specs::Inline(specs)) => Ok(specs),
            Some(proto::launch::Specs::Memfd(position)) => {
                read_memfd(fds.get_mut(position as usize).and_then(Option::take))
            }
            None => Err("there are no specs".to_owned()),
        };
        match specs {
            Ok(specs) => specs.specs.into_iter().for_each(|spec| self.launch(id, role, spec, fds)),
            Err(why) => self.lose(id, &format!("sent a launch that can't be read: {why}")),
        }
    }

    fn launch(&mut self, id: u64, role: Role, spec: proto::LaunchSpec, fds: &mut Fds) {
        if let Err(failure) = self.check_name(&spec.container) {
            let local = spec.container.chars().take(NAME_BYTES_MAX).collect();
            return self.say(id, Wire::LaunchFailed(failure.message(local)), None);
        }
        let name = full_name(self.prefix(role), &spec.container);
        if let Some(known) = self.containers.named(&name) {
            // Asked for again by an agent that doesn't remember: never a second process.
            if let Some((event, pidfd)) = self.containers.get(known).event() {
                self.say(id, event, pidfd);
            }
            return;
        }
        let parent = if let Role::Executor(executor) = role { Some(executor) } else { None };
        let key = self.containers.insert(Container::new(name, parent, spec.keep_orphans));
        if let Err(failure) = self.submit(key, spec, fds) {
            self.on_failed(key, failure);
        }
    }

    /// A name that nothing can be remembered under.
    pub(super) fn check_name(&self, name: &str) -> Result<(), Failure> {
        let is_odd = |c: char| c == '/' || c.is_control();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_odd) {
            let name: String = name.chars().take(60).collect();
            return Err(Failure::spec(format!("`{name}` is no name for a container: 1 to 255 bytes without `/`")));
        }
        if self.containers.by_key.len() >= CONTAINERS_MAX {
            let why = format!("{CONTAINERS_MAX} containers are not released; release those that have ended");
            return Err(Failure::spec(why));
        }
        Ok(())
    }

    fn submit(&mut self, key: u64, spec: proto::LaunchSpec, fds: &mut Fds) -> Result<(), Failure> {
        if spec.version_min > PROTOCOL_VERSION {
            return Err(Failure::spec(format!(
                "the launcher (protocol {PROTOCOL_VERSION}) is older than the task needs ({}); drain this agent and restart it",
                spec.version_min
            )));
        }
        if self.stopping.is_some() {
            return Err(Failure::spec("the launcher is ending"));
        }
        let parent = self.containers.get(key).parent;
        let inherited = parent.and_then(|executor| self.containers.get(executor).inherit.clone());
        let mut extra = take_extra(&spec, fds)?;
        let stdio = take_stdio(&spec, fds)?;
        if spec.launch_channel {
            let inherit = Arc::new(to_inherit(&spec, inherited.as_deref())?);
            extra.push((CHANNEL_VARIABLE.to_owned(), self.open_channel_for(key)?));
            self.containers.get_mut(key).inherit = Some(inherit);
        }
        let container = self.containers.get(key).name.clone();
        self.workers.submit(Job { key, container, spec, fds: extra, stdio, inherited }).map_err(|error| Failure {
            step: Step::Clone,
            errno: error.raw_os_error().unwrap_or(0),
            message: format!("the launcher can't start a thread: {error}; look at the limits of processes and memory"),
        })
    }

    /// The executor's end of a new channel.
    fn open_channel_for(&mut self, key: u64) -> Result<OwnedFd, Failure> {
        let (ours, theirs) = wire::pair().map_err(|error| Failure {
            step: Step::Descriptors,
            errno: error.raw_os_error().unwrap_or(0),
            message: format!("no channel for the executor: {error}"),
        })?;
        self.add_channel(ours, Role::Executor(key));
        Ok(theirs)
    }

    fn on_signal(&mut self, id: u64, role: Role, signal: proto::Signal) {
        let name = full_name(self.prefix(role), &signal.container);
        let Some(key) = self.containers.named(&name) else {
            return self.refuse(id, &signal.container, "there is no such container");
        };
        if !(1..=64).contains(&signal.signal) {
            return self.refuse(id, &signal.container, "there is no such signal");
        }
        self.signal(key, signal.signal, signal.scope());
    }

    /// Signals what runs, and what is about to as soon as it does.
    pub(super) fn signal(&mut self, key: u64, signal: i32, scope: proto::Scope) {
        let keys = match scope {
            proto::Scope::MainProcess => vec![key],
            proto::Scope::WholeContainer => self.containers.subtree(key),
        };
        let mut roots = Vec::new();
        for &key in &keys {
            let container = self.containers.get_mut(key);
            if let State::Launching { signal: pending } = &mut container.state {
                *pending = Some((signal, scope));
            }
            roots.extend(container.main_process());
        }
        match (scope, signal) {
            (proto::Scope::MainProcess, _) => roots.into_iter().for_each(|pid| processes::send(pid, signal)),
            (proto::Scope::WholeContainer, _) => {
                self.look_for_orphans();
                roots.extend(self.orphans.of(&keys));
                roots.extend(self.strays_of(&keys));
                match signal {
                    libc::SIGKILL => processes::kill_trees(&roots),
                    _ => processes::signal_trees(&roots, signal),
                }
            }
        }
    }

    fn on_list(&mut self, id: u64, role: Role) {
        if matches!(role, Role::Executor(_)) && self.channels[&id].is_slow() {
            return self.lose(id, "asked for lists and doesn't read them");
        }
        let seen: Vec<(proto::Listed, Option<OwnedFd>)> = self
            .containers
            .by_key
            .values()
            .filter_map(|container| {
                let name = match role {
                    Role::Executor(key) if container.parent == Some(key) => container.local_name(),
                    Role::Executor(_) => return None,
                    Role::Agent | Role::Stranger => container.name.clone(),
                };
                let fd = if let State::Running { pid, .. } = container.state { pidfd(pid) } else { None };
                Some((container.listed(name), fd))
            })
            .collect();
        let mut part = ListingPart::default();
        for (mut listed, fd) in seen {
            if part.is_full() {
                let full = std::mem::take(&mut part);
                self.say_listing(id, full, false);
            }
            part.add(&mut listed, fd);
        }
        self.say_listing(id, part, true);
    }

    fn say_listing(&mut self, id: u64, part: ListingPart, last: bool) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.push(Wire::Listing(proto::Listing { containers: part.containers, last }), part.fds);
            // At once, so that the descriptors of a long list don't wait here; who is gone is noticed by the next look.
            let _ = channel.flush();
        }
    }

    fn on_release(&mut self, id: u64, role: Role, container: &str) {
        let Some(key) = self.containers.named(&full_name(self.prefix(role), container)) else { return };
        if self.containers.get(key).is_live() {
            return self.refuse(id, container, "the container has not ended");
        }
        self.containers.remove(key);
    }

    /// To whoever launched the container, if it is there.
    pub(super) fn tell(&mut self, key: u64, event: Wire, pidfd: Option<OwnedFd>) {
        let role = self.containers.get(key).parent.map_or(Role::Agent, Role::Executor);
        if let Some(channel) = self.channels.values_mut().find(|channel| channel.role == role) {
            channel.push(event, pidfd);
        }
    }

    pub(super) fn tell_launched(&mut self, key: u64, pid: i32, start_time: u64, pidfd: Option<OwnedFd>) {
        let name = self.containers.get(key).local_name();
        self.tell(key, Wire::Launched(launched(name, pid, start_time)), pidfd);
    }

    fn say(&mut self, id: u64, event: Wire, pidfd: Option<OwnedFd>) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.push(event, pidfd);
        }
    }

    fn refuse(&mut self, id: u64, container: &str, message: &str) {
        let container = container.chars().take(NAME_BYTES_MAX).collect();
        self.say(id, Wire::Refused(proto::Refused { container, message: message.to_owned() }), None);
    }

    fn prefix(&self, role: Role) -> Option<&str> {
        match role {
            Role::Executor(key) => Some(&self.containers.get(key).name),
            Role::Agent | Role::Stranger => None,
        }
    }
}

fn full_name(prefix: Option<&str>, local: &str) -> String {
    prefix.map_or_else(|| local.to_owned(), |prefix| format!("{prefix}/{local}"))
}

fn read_memfd(memfd: Option<OwnedFd>) -> Result<proto::LaunchSpecs, String> {
    let memfd = memfd.ok_or("its memfd is missing")?;
    let bytes = wire::unseal(&memfd).map_err(|error| error.to_string())?;
    proto::LaunchSpecs::decode(Bytes::from(bytes)).map_err(|error| error.to_string())
}

fn take_stdio(spec: &proto::LaunchSpec, fds: &mut Fds) -> Result<[Option<OwnedFd>; 3], Failure> {
    let mut stdio = [None, None, None];
    for wanted in &spec.stdio_fds {
        let place = stdio.get_mut(wanted.number as usize);
        let place = place.ok_or_else(|| Failure::spec("only descriptors 0, 1 and 2 are standard ones"))?;
        let fd = fds.get_mut(wanted.position as usize).and_then(Option::take);
        let missing = "a standard descriptor of the task did not arrive; raise the agent's limit of open files";
        *place = Some(fd.ok_or_else(|| Failure::spec(missing))?);
    }
    Ok(stdio)
}

fn take_extra(spec: &proto::LaunchSpec, fds: &mut Fds) -> Result<Vec<(String, OwnedFd)>, Failure> {
    let mut take = |extra: &proto::ExtraFd| {
        let fd = fds.get_mut(extra.position as usize).and_then(Option::take);
        fd.map(|fd| (extra.env.clone(), fd)).ok_or_else(|| {
            Failure::spec(format!(
                "descriptor {} of the task did not arrive; raise the agent's limit of open files",
                extra.env
            ))
        })
    };
    spec.fds.iter().map(&mut take).collect()
}

/// What the children of an executor will get. Its own executors' children are no freer than itself.
fn to_inherit(spec: &proto::LaunchSpec, from: Option<&Inherited>) -> Result<Inherited, Failure> {
    use std::os::unix::ffi::OsStrExt;
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let sandbox = path(spec.sandbox.as_deref().unwrap_or(&spec.cwd));
    if !sandbox.is_absolute() || !within(&sandbox, from.map_or(Path::new("/"), |from| &from.sandbox)) {
        return Err(Failure::spec(format!(
            "`{}` can't be an executor's sandbox; name a whole path",
            sandbox.display()
        )));
    }
    let mut rlimits = from.map_or_else(Vec::new, |from| from.rlimits.clone());
    if from.is_none() {
        rlimits.extend(&spec.rlimits);
    }
    Ok(Inherited {
        user: from.map_or_else(|| spec.user.clone(), |from| from.user.clone()),
        rlimits,
        no_new_privs: spec.no_new_privs || from.is_some_and(|from| from.no_new_privs),
        sandbox,
    })
}

#[derive(Default)]
struct ListingPart {
    containers: Vec<proto::Listed>,
    fds: Vec<OwnedFd>,
    bytes: usize,
}

impl ListingPart {
    fn is_full(&self) -> bool {
        self.bytes >= LISTING_BYTES_MAX || self.fds.len() >= LISTING_FDS_MAX
    }

    fn add(&mut self, listed: &mut proto::Listed, fd: Option<OwnedFd>) {
        if let (Some(proto::listed::State::Running(launched)), Some(fd)) = (&mut listed.state, fd) {
            launched.pidfd = Some(self.fds.len() as u32);
            self.fds.push(fd);
        }
        self.bytes += listed.encoded_len();
        self.containers.push(std::mem::take(listed));
    }
}
