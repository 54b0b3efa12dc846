//! Why a launch failed, for the person who asked for it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::plan::{Job, Plan, search_path};
use super::proto::{LaunchSpec, Step};
use super::spawn::Refusal;

/// A launch that did not happen.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub step: Step,
    pub errno: i32,
    pub message: String,
}

/// Bytes of one argument or variable, as the kernel bounds them (MAX_ARG_STRLEN).
const STRING_BYTES_MAX: usize = 32 * 4096;

impl Failure {
    pub(super) fn spec(message: impl Into<String>) -> Self {
        Self { step: Step::Spec, errno: libc::EINVAL, message: message.into() }
    }

    pub(super) fn new(refusal: &Refusal, job: &Job, plan: &Plan) -> Self {
        let (step, errno) = (refusal.step, refusal.errno);
        Self { step, errno, message: message(step, errno, job, plan) }
    }
}

fn message(step: Step, errno: i32, job: &Job, plan: &Plan) -> String {
    let spec = &job.spec;
    let why = io::Error::from_raw_os_error(errno);
    match step {
        Step::Directory => directory(errno, &text(&spec.cwd)),
        Step::Exec => exec(errno, spec, plan),
        Step::Stdin => file("stdin", &spec.stdin, &why),
        Step::Stdout => file("stdout", &spec.stdout, &why),
        Step::Stderr => file("stderr", &spec.stderr, &why),
        Step::User => {
            let user = plan.user.as_ref().map_or(0, |user| user.uid);
            format!(
                "the agent may not run tasks as user {user}: {why}; run the agent as root or submit as its own user"
            )
        }
        Step::Limits => format!("a limit (rlimit) of the task can't be set: {why}; ask for no more than the agent has"),
        Step::Clone => format!("no new process on this agent: {why}; look at its limits of processes and memory"),
        Step::Descriptors => format!("could not pass {} descriptors on: {why}", plan.fds.len()),
        Step::Session => format!("could not start a session: {why}"),
        Step::Privileges => format!("could not give up new privileges: {why}"),
        Step::Spec | Step::Unknown => why.to_string(),
    }
}

fn directory(errno: i32, cwd: &str) -> String {
    match errno {
        libc::ENOENT => {
            format!("working directory `{cwd}` does not exist on this agent; create it there or choose another")
        }
        libc::EACCES => format!("working directory `{cwd}` may not be entered by the task's user; choose another"),
        libc::ENOTDIR => format!("working directory `{cwd}` is not a directory; choose another"),
        _ => format!("working directory `{cwd}` can't be entered: {}", io::Error::from_raw_os_error(errno)),
    }
}

fn file(name: &str, path: &Option<prost::bytes::Bytes>, why: &io::Error) -> String {
    let path = path.as_deref().map(text).unwrap_or_default();
    format!("{name} `{path}` can't be opened by the task's user: {why}")
}

fn exec(errno: i32, spec: &LaunchSpec, plan: &Plan) -> String {
    let program = text(&spec.argv[0]);
    match errno {
        libc::E2BIG => too_big(spec, plan),
        libc::ENOEXEC => {
            format!("`{program}` is neither a program for this machine nor a script that starts with #!; add the line")
        }
        libc::ENOENT if found(spec, plan, |_| true) => {
            format!("`{program}` exists, but the interpreter that it names does not; install it on this agent")
        }
        libc::ENOENT if program.contains('/') => {
            format!("program `{program}` does not exist on this agent; install it there or send it along")
        }
        libc::ENOENT => {
            let path = text(search_path(spec));
            format!(
                "program `{program}` was not found in PATH ({path}); give its full path or install it on this agent"
            )
        }
        libc::EACCES if found(spec, plan, Path::is_dir) => format!("`{program}` is a directory; name a program in it"),
        libc::EACCES if !found(spec, plan, executable) => format!("`{program}` is not executable; chmod +x it"),
        libc::EACCES => format!("`{program}` may not be executed by the task's user, or lies on a noexec file system"),
        _ => format!("`{program}` can't be executed: {}", io::Error::from_raw_os_error(errno)),
    }
}

fn found(spec: &LaunchSpec, plan: &Plan, test: impl Fn(&Path) -> bool) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let cwd = Path::new(std::ffi::OsStr::from_bytes(&spec.cwd));
    plan.program_paths().map(|place| cwd.join(place)).any(|place| place.exists() && test(&place))
}

fn executable(path: &Path) -> bool {
    path.is_file() && path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

fn too_big(spec: &LaunchSpec, plan: &Plan) -> String {
    let longest = spec.env.iter().chain(&spec.argv).max_by_key(|string| string.len());
    if let Some(string) = longest.filter(|string| string.len() >= STRING_BYTES_MAX) {
        let name: Vec<u8> = string.iter().copied().take(40).take_while(|&byte| byte != b'=').collect();
        let (name, len) = (text(&name), string.len());
        return format!(
            "`{name}` has {len} bytes; one argument or variable may have {STRING_BYTES_MAX}: pass it in a file"
        );
    }
    let (env, argv) = (bytes(&spec.env), bytes(&spec.argv));
    let total = plan.exec_bytes();
    format!(
        "the environment ({env} bytes) and arguments ({argv} bytes) take {total} bytes, more than the kernel allows here \
         (a quarter of the stack limit, at most 6 MB); make them smaller or raise `ulimit -s`"
    )
}

fn bytes(strings: &[prost::bytes::Bytes]) -> usize {
    strings.iter().map(|string| string.len() + 1).sum()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
