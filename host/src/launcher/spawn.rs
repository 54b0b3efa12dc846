//! From a plan to a running program: one clone3 that shares memory and waits for the exec, and the child's straight list of steps.

use std::ffi::{c_long, c_void};
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicI32;

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::plan::{FIRST_EXTRA_FD, Plan};
use super::proto::Step;

/// A process between its clone and its end.
pub(super) struct Child {
    pub pid: i32,
    pub pidfd: Option<OwnedFd>,
}

/// A step that the kernel refused. When there was a child already, it has ended and waits to be reaped.
#[derive(Debug)]
pub(super) struct Refusal {
    pub step: Step,
    pub errno: i32,
}

/// Starts a program and waits until it was executed or a step before that failed. Only the calling thread waits.
///
/// `pid` gets the child's number before it runs, so that who reaps it first can tell whose it is. The caller has every signal
/// blocked, or a handler could run in the child, in memory that is the launcher's.
pub(super) fn spawn(plan: &mut Plan, stack: &ChildStack, pid: &AtomicI32) -> Result<Child, Refusal> {
    let mut pidfd: RawFd = -1;
    let wants_pidfd = if plan.wants_pidfd { libc::CLONE_PIDFD } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | wants_pidfd;
    let args = CloneArgs {
        flags: flags as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        parent_tid: pid.as_ptr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.base as u64,
        stack_size: STACK_BYTES as u64,
        ..CloneArgs::default()
    };
    let mut steps = Steps { plan, refusal: None };
    // SAFETY: the child runs `enter` on a stack of its own and never returns here; this thread is suspended until it has
    // executed its program or ended, so that nothing is touched by both.
    let child = unsafe { clone3(&args, enter, (&raw mut steps).cast()) };
    if child < 0 {
        return Err(Refusal { step: Step::Clone, errno: -child as i32 });
    }
    // SAFETY: the kernel has just made this descriptor for us, if it was asked to.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    match steps.refusal {
        Some(refusal) => {
            // It lets go of us a little before its files and folder: whoever hears of the failure finds nothing left. The
            // main thread reaps it, and may have done so already: then there is no pidfd to be had.
            if let Some(pidfd) = pidfd.or_else(|| super::containers::pidfd(child as i32)) {
                let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            }
            Err(refusal)
        }
        None => Ok(Child { pid: child as i32, pidfd }),
    }
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const STACK_BYTES: usize = 64 * 1024;

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The stack that a child uses until its exec.
pub(super) struct ChildStack {
    base: *mut c_void,
}

impl ChildStack {
    pub(super) fn new() -> io::Result<Self> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK);
        // SAFETY: a new mapping wherever the kernel likes.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), STACK_BYTES, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { base }) }
    }
}

// SAFETY: plain memory that one thread uses at a time.
unsafe impl Send for ChildStack {}

impl Drop for ChildStack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no child runs any more: `spawn` borrows the stack until it is done with it.
        unsafe { libc::munmap(self.base, STACK_BYTES) };
    }
}

type Entry = extern "C" fn(*mut c_void) -> !;

/// clone3(2) whose child goes on in `entry(arg)`; libc has no such function. Returns the pid or minus the error.
///
/// # Safety
/// `args` names a stack for the child, and what `arg` leads to outlives the child's use of it.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: &CloneArgs, entry: Entry, arg: *mut c_void) -> c_long {
    let mut result = libc::SYS_clone3;
    // SAFETY: the child has its own registers and stack, never passes `ud2`, and leaves ours as they are.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") entry,
            in("r13") arg,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: &CloneArgs, entry: Entry, arg: *mut c_void) -> c_long {
    let mut result = args as *const CloneArgs as c_long;
    // SAFETY: as above; the child never passes `brk`.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            inlateout("x0") result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") entry,
            in("x21") arg,
        );
    }
    result
}

struct Steps<'a> {
    plan: &'a mut Plan,
    refusal: Option<Refusal>,
}

extern "C" fn enter(arg: *mut c_void) -> ! {
    // SAFETY: `spawn` passes its `Steps` and is suspended while they are used.
    let steps = unsafe { &mut *arg.cast::<Steps>() };
    // SAFETY: the raw system calls of `run` get pointers into the plan only, which lives in the suspended `spawn`.
    if let Err(step) = unsafe { run(steps.plan) } {
        // SAFETY: the C library keeps this thread's errno at a fixed place.
        steps.refusal = Some(Refusal { step, errno: unsafe { *libc::__errno_location() } });
    }
    // SAFETY: ends this process at once, running nothing of the launcher's.
    unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    unreachable!("exit_group doesn't return")
}

/// The child's life before its program. Raw system calls only: the C library's wrappers for users and groups would
/// act on every thread of the launcher. Returns the step that failed; errno says why.
unsafe fn run(plan: &mut Plan) -> Result<(), Step> {
    // SAFETY: see `enter`; each call gets numbers, or pointers into the plan that are valid for as long as it runs.
    unsafe {
        if plan.new_session {
            call(Step::Session, libc::syscall(libc::SYS_setsid))?;
        }
        // Before limits, which may leave room for few descriptors; before the user's paths, which get the lowest numbers.
        take_descriptors(&mut plan.fds)?;
        set_limits(&plan.rlimits)?;
        if let Some(user) = &plan.user {
            call(Step::User, libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()))?;
            call(Step::User, libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid))?;
            call(Step::User, libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid))?;
        }
        set_limits(&plan.rlimits_as_user)?;
        if plan.no_new_privs {
            call(Step::Privileges, libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
        libc::syscall(libc::SYS_umask, plan.umask);
        // As the user: what it may not enter or write, the launcher's privileges must not open for it.
        call(Step::Directory, libc::syscall(libc::SYS_chdir, plan.cwd))?;
        open_stdio(&plan.stdio)?;
        take_stdio(&plan.stdio_fds, plan.fds.len())?;
        if plan.terminal {
            call(Step::Session, libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSCTTY, 0))?;
        }
        let none = 0u64;
        let mask = (libc::SIG_SETMASK, &raw const none, std::ptr::null::<u64>(), size_of::<u64>());
        call(Step::Exec, libc::syscall(libc::SYS_rt_sigprocmask, mask.0, mask.1, mask.2, mask.3))?;
        execute(plan)
    }
}

unsafe fn take_descriptors(fds: &mut [RawFd]) -> Result<(), Step> {
    let end = FIRST_EXTRA_FD + fds.len() as RawFd;
    // SAFETY: numbers only; the child's table of descriptors is its own.
    unsafe {
        // Those in the way of the numbers to be given move up first.
        for fd in fds.iter_mut().filter(|fd| **fd < end) {
            *fd = call(Step::Descriptors, libc::syscall(libc::SYS_fcntl, *fd, libc::F_DUPFD, end))? as RawFd;
        }
        for (number, fd) in (FIRST_EXTRA_FD..).zip(fds.iter()) {
            call(Step::Descriptors, libc::syscall(libc::SYS_dup3, *fd, number, 0))?;
        }
        call(Step::Descriptors, libc::syscall(libc::SYS_close_range, end, u32::MAX, 0))?;
    }
    Ok(())
}

unsafe fn set_limits(limits: &[(u32, [u64; 2])]) -> Result<(), Step> {
    for (resource, limit) in limits {
        // SAFETY: a pointer to a pair that the plan owns.
        let set = unsafe { libc::syscall(libc::SYS_prlimit64, 0, *resource, limit.as_ptr(), std::ptr::null::<u64>()) };
        call(Step::Limits, set)?;
    }
    Ok(())
}

/// The launcher's own first three descriptors are /dev/null and stay where nothing else is asked for. A named pipe must not
/// keep the launcher waiting for its other end, so files are opened without waiting and then made to.
unsafe fn open_stdio(stdio: &[*const std::ffi::c_char; 3]) -> Result<(), Step> {
    let append = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    let how = [(Step::Stdin, libc::O_RDONLY), (Step::Stdout, append), (Step::Stderr, append)];
    for ((number, path), (step, flags)) in (0..).zip(stdio).zip(how) {
        if path.is_null() {
            continue;
        }
        let status = flags & libc::O_APPEND;
        let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
        // SAFETY: a string that the plan owns, and descriptors of the child's own.
        unsafe {
            let fd = call(step, libc::syscall(libc::SYS_openat, libc::AT_FDCWD, *path, flags, 0o666))?;
            call(step, libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, status))?;
            call(step, libc::syscall(libc::SYS_dup3, fd, number, 0))?;
            libc::syscall(libc::SYS_close, fd);
        }
    }
    Ok(())
}

/// The last of the descriptors that were taken move to where the child expects its standard ones.
unsafe fn take_stdio(numbers: &[RawFd], taken: usize) -> Result<(), Step> {
    let first = FIRST_EXTRA_FD + (taken - numbers.len()) as RawFd;
    for (fd, number) in (first..).zip(numbers) {
        // SAFETY: numbers only; the child's table of descriptors is its own.
        unsafe {
            call(Step::Descriptors, libc::syscall(libc::SYS_dup3, fd, *number, 0))?;
            libc::syscall(libc::SYS_close, fd);
        }
    }
    Ok(())
}

/// Tries the places in turn as a shell does: one that may not be executed is passed over, and told if nothing else is found.
unsafe fn execute(plan: &Plan) -> Result<(), Step> {
    let mut denied = false;
    for &program in plan.programs.iter().take_while(|program| !program.is_null()) {
        // SAFETY: strings and lists that end with null, owned by the plan.
        let errno = unsafe {
            libc::syscall(libc::SYS_execve, program, plan.argv.as_ptr(), plan.env.as_ptr());
            *libc::__errno_location()
        };
        match errno {
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ENOTDIR => {}
            _ => return Err(Step::Exec),
        }
    }
    if denied {
        // SAFETY: this thread's own.
        unsafe { *libc::__errno_location() = libc::EACCES };
    }
    Err(Step::Exec)
}

fn call(step: Step, result: c_long) -> Result<c_long, Step> {
    if result < 0 { Err(step) } else { Ok(result) }
}
