//! Everything a child needs between clone and exec, laid out beforehand: there it may neither allocate nor ask.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, c_char};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::connection::CHANNEL_VARIABLE;
use super::failure::Failure;
use super::proto::{LaunchSpec, Rlimit, User};

/// The environment variable that names a process's container; descendants inherit it.
pub const CONTAINER_VARIABLE: &str = "MESOS_CONTAINER_ID";
/// Set in containers whose orphans are kept.
pub(super) const KEEP_VARIABLE: &str = "MESOS_KEEP_ORPHANS";
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const UMASK_DEFAULT: u32 = 0o022;
/// The first descriptor after stdin, stdout and stderr.
pub(super) const FIRST_EXTRA_FD: RawFd = 3;

/// What an executor's children get, whatever they ask for.
#[derive(Debug)]
pub(super) struct Inherited {
    pub user: Option<User>,
    pub rlimits: Vec<Rlimit>,
    pub no_new_privs: bool,
    pub sandbox: PathBuf,
}

/// One launch, as it comes to a worker.
#[derive(Debug)]
pub(super) struct Job {
    pub key: u64,
    /// The full name of the container.
    pub container: String,
    pub spec: LaunchSpec,
    pub fds: Vec<(String, OwnedFd)>,
    pub stdio: [Option<OwnedFd>; 3],
    /// From the executor that asks.
    pub inherited: Option<Arc<Inherited>>,
}

/// A launch as the kernel wants it. The pointers lead into `strings`, which is not touched after they are made.
pub(super) struct Plan {
    strings: Vec<u8>,
    pub argv: Vec<*const c_char>,
    pub env: Vec<*const c_char>,
    /// Where the program may be, in the order of `PATH`; ends with null.
    pub programs: Vec<*const c_char>,
    pub cwd: *const c_char,
    /// stdin, stdout, stderr; null is /dev/null.
    pub stdio: [*const c_char; 3],
    /// The extra ones, then those of `stdio_fds`.
    pub fds: Vec<RawFd>,
    /// Which of the first three descriptors each of the last of `fds` becomes.
    pub stdio_fds: Vec<RawFd>,
    /// stdin becomes the controlling terminal.
    pub terminal: bool,
    pub wants_pidfd: bool,
    /// Set by the launcher's own privileges,
    pub rlimits: Vec<(u32, [u64; 2])>,
    /// and by those of the user.
    pub rlimits_as_user: Vec<(u32, [u64; 2])>,
    pub user: Option<User>,
    pub umask: u32,
    pub new_session: bool,
    pub no_new_privs: bool,
}

impl Plan {
    /// # Errors
    /// What is wrong with the spec, for the person who wrote it.
    pub(super) fn new(job: &Job, restore: &[(u32, [u64; 2])]) -> Result<Self, Failure> {
        let spec = &job.spec;
        if spec.argv.is_empty() || spec.argv[0].is_empty() {
            return Err(Failure::spec("no program is given"));
        }
        if spec.cwd.is_empty() {
            return Err(Failure::spec("no working directory is given"));
        }
        let inherited = job.inherited.as_deref();
        let paths = [&spec.stdin, &spec.stdout, &spec.stderr]
            .map(|path| path.as_ref().map(|path| stdio(path, spec, inherited)));
        let mut text = Strings::default();
        let argv = spec.argv.iter().map(|arg| text.add(&[arg])).collect::<Result<Vec<_>, _>>()?;
        let env = environment(job, &mut text)?;
        let programs = programs(spec, &mut text)?;
        let cwd = text.add(&[&spec.cwd])?;
        let mut stdio = [None; 3];
        for (at, path) in stdio.iter_mut().zip(paths) {
            *at = path.transpose()?.map(|path| text.add(&[path.as_os_str().as_bytes()])).transpose()?;
        }
        let strings = text.0;
        let at = |offset: usize| strings[offset..].as_ptr().cast::<c_char>();
        let list = |offsets: Vec<usize>| offsets.into_iter().map(at).chain([std::ptr::null()]).collect::<Vec<_>>();
        let own = spec.rlimits.iter().map(limit);
        let (mut rlimits, mut rlimits_as_user) = (restore.to_vec(), Vec::new());
        match inherited {
            Some(inherited) => {
                rlimits.extend(inherited.rlimits.iter().map(limit));
                rlimits_as_user.extend(own);
            }
            None => rlimits.extend(own),
        }
        Ok(Self {
            argv: list(argv),
            env: list(env),
            programs: list(programs),
            cwd: at(cwd),
            stdio: stdio.map(|offset| offset.map_or(std::ptr::null(), at)),
            fds: job.fds.iter().map(|(_, fd)| fd).chain(job.stdio.iter().flatten()).map(AsRawFd::as_raw_fd).collect(),
            stdio_fds: (0..).zip(&job.stdio).filter(|(_, fd)| fd.is_some()).map(|(number, _)| number).collect(),
            terminal: spec.terminal,
            wants_pidfd: spec.wants_pidfd,
            rlimits,
            rlimits_as_user,
            user: needed_user(inherited.map_or(&spec.user, |inherited| &inherited.user)),
            umask: spec.umask.unwrap_or(UMASK_DEFAULT) & 0o777,
            new_session: spec.new_session,
            no_new_privs: spec.no_new_privs || inherited.is_some_and(|inherited| inherited.no_new_privs),
            strings,
        })
    }

    /// The places where the program was looked for.
    pub(super) fn program_paths(&self) -> impl Iterator<Item = PathBuf> {
        let places = self.programs.iter().take_while(|place| !place.is_null());
        // SAFETY: each leads to a string of `strings` that ends with NUL.
        places.map(|&place| PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(place) }.to_bytes())))
    }

    /// What the child relies on, which can't check anything itself.
    ///
    /// # Panics
    /// If it doesn't hold.
    pub(super) fn sanity_check(&self) {
        let range = self.strings.as_ptr_range();
        let is_string = |text: &*const c_char| range.contains(&text.cast::<u8>());
        for list in [&self.argv, &self.env, &self.programs] {
            let (last, strings) = list.split_last().expect("a list has an end");
            assert!(last.is_null() && strings.iter().all(is_string), "a list of strings ends with null");
        }
        assert!(is_string(&self.cwd) && self.stdio.iter().all(|path| path.is_null() || is_string(path)), "paths");
        assert_eq!(self.strings.last(), Some(&0), "each string ends");
        assert!(self.stdio_fds.len() <= self.fds.len() && self.stdio_fds.iter().all(|number| (0..3).contains(number)));
    }

    /// Bytes that arguments and environment take in the new process: strings and a pointer for each.
    pub(super) fn exec_bytes(&self) -> usize {
        self.strings.len() + (self.argv.len() + self.env.len()) * size_of::<usize>()
    }
}

/// Strings that end with NUL, one after the other, named by their offset.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, parts: &[&[u8]]) -> Result<usize, Failure> {
        let start = self.0.len();
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        if let Some(at) = self.0[start..].iter().position(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(&self.0[start..start + at.min(60)]);
            return Err(Failure::spec(format!("`{text}` goes on after a zero byte; remove it")));
        }
        self.0.push(0);
        Ok(start)
    }
}

/// The environment as asked for, but for what only the launcher knows.
fn environment(job: &Job, text: &mut Strings) -> Result<Vec<usize>, Failure> {
    let own = |name: &[u8]| {
        [CONTAINER_VARIABLE, KEEP_VARIABLE, CHANNEL_VARIABLE].iter().any(|own| own.as_bytes() == name)
            || job.fds.iter().any(|(env, _)| env.as_bytes() == name)
    };
    let mut env = Vec::with_capacity(job.spec.env.len() + job.fds.len() + 3);
    for pair in &job.spec.env {
        let name = pair.iter().position(|&byte| byte == b'=').map_or(&pair[..], |equals| &pair[..equals]);
        if !own(name) {
            env.push(text.add(&[pair])?);
        }
    }
    env.push(text.add(&[CONTAINER_VARIABLE.as_bytes(), b"=", job.container.as_bytes()])?);
    if job.spec.keep_orphans {
        env.push(text.add(&[KEEP_VARIABLE.as_bytes(), b"=1"])?);
    }
    for (number, (name, _)) in (FIRST_EXTRA_FD..).zip(&job.fds) {
        env.push(text.add(&[name.as_bytes(), b"=", number.to_string().as_bytes()])?);
    }
    Ok(env)
}

/// The child tries them in turn, with the rights of its user and from its own working directory.
fn programs(spec: &LaunchSpec, text: &mut Strings) -> Result<Vec<usize>, Failure> {
    let program = &spec.argv[0];
    if program.contains(&b'/') {
        return Ok(vec![text.add(&[program])?]);
    }
    search_path(spec)
        .split(|&byte| byte == b':')
        .map(|folder| text.add(&[if folder.is_empty() { b"." } else { folder }, b"/", program]))
        .collect()
}

/// The `PATH` of the child.
pub(super) fn search_path(spec: &LaunchSpec) -> &[u8] {
    spec.env.iter().find_map(|pair| pair.strip_prefix(b"PATH=")).unwrap_or(PATH_DEFAULT)
}

fn stdio(path: &[u8], spec: &LaunchSpec, inherited: Option<&Inherited>) -> Result<PathBuf, Failure> {
    let path = Path::new(OsStr::from_bytes(path));
    let own = Path::new(OsStr::from_bytes(spec.sandbox.as_deref().unwrap_or(&spec.cwd)));
    let Some(inherited) = inherited else {
        // The child is there already when it opens them: a shorter way.
        let is_there = own.as_os_str().as_bytes() == &spec.cwd[..];
        return Ok(if is_there { path.to_owned() } else { own.join(path) });
    };
    let path = inherited.sandbox.join(path);
    within(&path, &inherited.sandbox).then_some(path.clone()).ok_or_else(|| {
        let sandbox = inherited.sandbox.display();
        Failure::spec(format!("file `{}` is outside the executor's sandbox {sandbox}; name one inside", path.display()))
    })
}

/// Whether a path stays below a folder by its words alone; links are the kernel's and the user's affair.
pub(super) fn within(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) && !path.components().any(|part| part == Component::ParentDir)
}

fn limit(limit: &Rlimit) -> (u32, [u64; 2]) {
    (limit.resource, [limit.soft, limit.hard])
}

/// There is nothing to change when the launcher is that user already; without root, whatever its groups are.
fn needed_user(user: &Option<User>) -> Option<User> {
    let own = own_user();
    let set = |user: &User| user.groups.iter().copied().collect::<BTreeSet<u32>>();
    let is_own = |user: &User| (user.uid, user.gid) == (own.uid, own.gid) && (own.uid != 0 || set(user) == set(own));
    user.as_ref().filter(|user| !is_own(user)).cloned()
}

/// The launcher's own, which never changes.
fn own_user() -> &'static User {
    static OWN: OnceLock<User> = OnceLock::new();
    OWN.get_or_init(|| {
        let ids = nix::unistd::getresuid().ok().zip(nix::unistd::getresgid().ok());
        // One that has several ids at once is nobody's equal: its tasks get theirs from the kernel.
        let is_one = |(user, group): &(nix::unistd::ResUid, nix::unistd::ResGid)| {
            user.real == user.effective
                && user.saved == user.effective
                && group.real == group.effective
                && group.saved == group.effective
        };
        let groups = nix::unistd::getgroups().unwrap_or_default().into_iter().map(nix::unistd::Gid::as_raw).collect();
        match ids.filter(is_one) {
            Some((user, group)) => User { uid: user.effective.as_raw(), gid: group.effective.as_raw(), groups },
            None => User { uid: u32::MAX, gid: u32::MAX, groups },
        }
    })
}
