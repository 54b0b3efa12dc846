//! One command of a test: started in a process group of its own, with its output in files, and never waited for without a limit.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::unistd::{Pid, User, sethostname};

use crate::network::Machine;
use crate::poll;

/// How long a command may take where a test says nothing else. Generous: the machine that runs the tests may be slow and busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long a daemon may take to end after it was asked to.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// A command that is yet to be started.
pub struct Cmd {
    command: Command,
    shown: String,
    outputs: PathBuf,
    input: Input,
    limit: Duration,
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Pipe,
}

impl Cmd {
    /// `program` with nothing in its environment; stdout and stderr go to new files in the folder `outputs`.
    pub fn new(program: impl AsRef<OsStr>, outputs: &Path) -> Cmd {
        let mut command = Command::new(program.as_ref());
        command.env_clear();
        let shown = Path::new(program.as_ref()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Cmd { command, shown, outputs: outputs.to_path_buf(), input: Input::Nothing, limit: LIMIT }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(self, args: I) -> Cmd {
        args.into_iter().fold(self, Cmd::arg)
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(name, value);
        self
    }

    /// Runs in that folder.
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Cmd {
        self.command.current_dir(folder);
        self
    }

    /// Reads these bytes on standard input, then its end. Without this, standard input is `/dev/null`.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Reads standard input from a pipe that [`Running::write`] fills and that stays open.
    pub fn stdin_pipe(mut self) -> Cmd {
        self.input = Input::Pipe;
        self
    }

    /// Runs as that user, with no other groups than its own.
    pub fn user(mut self, user: &User) -> Cmd {
        self.command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        self
    }

    /// May take that long.
    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Runs on that machine: in its network namespace, and under its host name.
    pub fn on(mut self, machine: &Machine) -> Cmd {
        let namespace = machine.namespace();
        let hostname = OsString::from(&machine.hostname);
        let enter = move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            unshare(CloneFlags::CLONE_NEWUTS)?;
            Ok(sethostname(&hostname)?)
        };
        // SAFETY: between fork and exec this makes three system calls on values prepared beforehand, and allocates nothing.
        unsafe { self.command.pre_exec(enter) };
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the program can't be started.
    pub fn start(mut self) -> Running {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let stdout = self.outputs.join(format!("{number}.out"));
        let stderr = self.outputs.join(format!("{number}.err"));
        // Files and not pipes: something left running that holds a pipe open would keep the test waiting for its end.
        self.command.stdout(File::create(&stdout).expect("the folder for outputs is writable"));
        self.command.stderr(File::create(&stderr).expect("the folder for outputs is writable"));
        match &self.input {
            Input::Nothing => self.command.stdin(Stdio::null()),
            Input::Pipe => self.command.stdin(Stdio::piped()),
            Input::Bytes(bytes) => {
                let path = self.outputs.join(format!("{number}.in"));
                fs::write(&path, bytes).expect("the folder for outputs is writable");
                self.command.stdin(File::open(&path).expect("it was written just now"))
            }
        };
        // SAFETY: between fork and exec this only sets signals to their defaults.
        unsafe { self.command.pre_exec(heed_signals) };
        let mut child =
            self.command.process_group(0).spawn().unwrap_or_else(|error| panic!("start `{}`: {error}", self.shown));
        let stdin = child.stdin.take();
        Running {
            child,
            shown: self.shown,
            stdout,
            stderr,
            stdin,
            limit: self.limit,
            started: Instant::now(),
            ended: None,
        }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }
}

/// A command that runs. Killed, with its process group, when it goes out of scope.
pub struct Running {
    child: Child,
    shown: String,
    stdout: PathBuf,
    stderr: PathBuf,
    stdin: Option<ChildStdin>,
    limit: Duration,
    started: Instant,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Its process id, which is its process group's too.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Writes to a standard input that is a pipe.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("started with stdin_pipe, and not closed");
        stdin.write_all(bytes).expect("the command reads its standard input");
    }

    /// Closes a standard input that is a pipe.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|error| panic!("signal `{}`: {error}", self.shown));
    }

    /// What a terminal does on Ctrl-C: an interrupt to the whole process group.
    pub fn ctrl_c(&self) {
        killpg(Pid::from_raw(self.pid()), Signal::SIGINT)
            .unwrap_or_else(|error| panic!("Ctrl-C to `{}`: {error}", self.shown));
    }

    /// Waits until stdout holds that many lines for which `wanted` is true, and gives stdout back.
    pub fn wait_for_lines(&mut self, count: usize, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let seen = poll::within(self.limit, || {
            let ended = self.has_ended();
            let text = self.stdout();
            match text.lines().filter(|line| wanted(line)).count() >= count {
                true => Some(Ok(text)),
                // What was written last is read after its end was seen.
                false => ended.then_some(Err(())),
            }
        });
        match seen {
            Some(Ok(text)) => text,
            _ => self.give_up(self.limit, &format!("{count} lines of {what} on stdout")),
        }
    }

    /// Waits until stderr holds that text.
    pub fn wait_for_remark(&mut self, text: &str) {
        let seen = poll::within(self.limit, || {
            let ended = self.has_ended();
            if self.stderr().contains(text) { Some(true) } else { ended.then_some(false) }
        });
        if seen != Some(true) {
            self.give_up(self.limit, &format!("{text:?} on stderr"));
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is a child of this process");
        }
        self.ended.is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended within its limit; it is killed then.
    pub fn wait(self) -> Finished {
        let rest = self.limit.saturating_sub(self.started.elapsed()).max(Duration::from_secs(1));
        self.wait_within(rest)
    }

    /// Asks a daemon to end, and waits for its end.
    ///
    /// # Panics
    /// When it has not ended soon; it is killed then.
    pub fn stop(self) -> Finished {
        self.signal(Signal::SIGTERM);
        self.wait_within(STOPS_WITHIN)
    }

    fn wait_within(mut self, limit: Duration) -> Finished {
        if poll::within(limit, || self.has_ended().then_some(())).is_none() {
            self.give_up(limit, "its end");
        }
        let status = self.ended.expect("it has ended");
        Finished {
            code: status.code(),
            signal: status.signal(),
            took: self.started.elapsed(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            shown: self.shown.clone(),
        }
    }

    fn give_up(&self, limit: Duration, what: &str) -> ! {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let (stdout, stderr) = (shortened(&stdout), shortened(&stderr));
        panic!("`{}`: waited {limit:?} in vain for {what}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.shown)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            // It may end by itself in between: then there is nobody left to signal.
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// From start to end.
    pub took: Duration,
    /// Everything that it wrote to stdout.
    pub stdout: String,
    /// Everything that it wrote to stderr.
    pub stderr: String,
    shown: String,
}

impl Finished {
    /// Asserts the exit code, showing all output where it differs.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn expect_success(self) -> Finished {
        self.expect_code(0)
    }

    /// Asserts that it failed with a message for people on stderr that holds each of these, in any order, and with no panic.
    #[track_caller]
    pub fn expect_error(self, parts: &[&str]) -> Finished {
        assert!(self.code.is_some_and(|code| code != 0), "it should fail by itself\n{self}");
        assert!(!self.stderr.contains("panicked at"), "{self}");
        for part in parts {
            assert!(self.stderr.to_lowercase().contains(&part.to_lowercase()), "stderr should name {part:?}\n{self}");
        }
        self
    }

    /// The lines of stdout in alphabetical order: ranks may write in any.
    pub fn sorted_lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.stdout.lines().collect();
        lines.sort_unstable();
        lines
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finished { code, signal, took, stdout, stderr, shown } = self;
        writeln!(f, "`{shown}` ended with code {code:?}, signal {signal:?} after {took:?}")?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}", shortened(stdout), shortened(stderr))
    }
}

/// A long output's head and tail; the middle rarely says why a test failed.
fn shortened(text: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= 2 * LINES {
        return text.to_string();
    }
    let (head, tail) = (&lines[..LINES], &lines[lines.len() - LINES..]);
    format!("{}\n… {} lines …\n{}", head.join("\n"), lines.len() - 2 * LINES, tail.join("\n"))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// As from a terminal: what a script starts with `&`, such as a whole test run, ignores interrupts, and would pass that on.
fn heed_signals() -> std::io::Result<()> {
    for heeded in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(heeded, SigHandler::SigDfl) }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, outputs: &Path) -> Cmd {
        Cmd::new("/bin/sh", outputs).args(["-c", script])
    }

    #[test]
    fn output_status_and_input_are_captured() {
        let folder = tempfile::tempdir().unwrap();
        let finished = shell("cat; echo oops >&2; exit 7", folder.path()).stdin("hello").run().expect_code(7);
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("hello", "oops\n"));

        let killed = shell("kill -TERM $$", folder.path()).run();
        assert_eq!((killed.code, killed.signal), (None, Some(15)));
    }

    #[test]
    fn a_command_that_never_ends_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut running = shell("sleep 600 & echo $!; wait", folder.path()).start();
        let grandchild: i32 = running.wait_for_lines(1, "the pid", |_| true).trim().parse().unwrap();
        drop(running);
        let gone = || (!Path::new(&format!("/proc/{grandchild}/exe")).exists()).then_some(());
        poll::until(Duration::from_secs(5), "the grandchild's end", gone);
    }
}
