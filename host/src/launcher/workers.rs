//! The vforking threads, one a core. A vfork suspends only its own thread, so the others and the main thread go on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::failure::Failure;
use super::plan::{Job, Plan};
use super::processes;
use super::spawn::{Child, ChildStack, spawn};

/// Launches that wait for a thread, at most; beyond it requests are left in the sockets.
pub(super) const QUEUED_JOBS_MAX: usize = 1024;
/// Launches that wait for each thread while it has enough before it.
const BUSY_JOBS_PER_THREAD: usize = 16;
const THREAD_STACK_BYTES: usize = 128 * 1024;

/// A launch that was tried.
pub(super) struct Done {
    pub key: u64,
    pub result: Result<Started, Failure>,
    /// The child that was made, also when it failed before its exec.
    pub pid: Option<i32>,
}

pub(super) struct Started {
    pub pidfd: Option<OwnedFd>,
    pub start_time: u64,
}

pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    done: Mutex<Vec<Done>>,
    wake: OwnedFd,
    /// For each thread the child whose launch is not in `done` yet, or 0. Changed to 0 only under the lock of `done`.
    in_flight: Vec<AtomicI32>,
    /// Limits that the launcher changed for itself and gives back to its children.
    restore: Vec<(u32, [u64; 2])>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
}

impl Workers {
    pub(super) fn new(restore: Vec<(u32, [u64; 2])>) -> io::Result<Self> {
        Self::with_threads(restore, std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// With none, launches are queued and never begun: for tests of what comes before them.
    pub(super) fn with_threads(restore: Vec<(u32, [u64; 2])>, threads_max: usize) -> io::Result<Self> {
        // SAFETY: a system call with numbers only; the descriptor is nobody else's.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        let shared = Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            done: Mutex::default(),
            // SAFETY: made just now.
            wake: unsafe { OwnedFd::from_raw_fd(wake) },
            in_flight: (0..threads_max).map(|_| AtomicI32::new(0)).collect(),
            restore,
        };
        Ok(Self { shared: Arc::new(shared), threads: 0 })
    }

    /// Readable when launches are done.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    /// # Errors
    /// When not even one thread can be had; the launch is lost, and said to be by the caller.
    pub(super) fn submit(&mut self, job: Job) -> io::Result<()> {
        let mut queue = lock(&self.shared.queue);
        if queue.idle <= queue.jobs.len() && self.threads < self.shared.in_flight.len() {
            match self.spawn_thread() {
                Ok(()) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        queue.jobs.push_back(job);
        // A thread that works looks at the queue before it waits; waking nobody is a system call, too.
        if queue.idle > 0 {
            self.shared.ready.notify_one();
        }
        Ok(())
    }

    pub(super) fn queued(&self) -> usize {
        lock(&self.shared.queue).jobs.len()
    }

    /// Whether no thread will be idle for some milliseconds.
    pub(super) fn are_busy(&self) -> bool {
        self.threads > 0 && self.queued() >= BUSY_JOBS_PER_THREAD * self.threads
    }

    /// Takes back what no thread has begun.
    pub(super) fn cancel(&self) -> Vec<Job> {
        lock(&self.shared.queue).jobs.drain(..).collect()
    }

    /// What is done, and the children whose launches are still to come. A child that was reaped before this call is in one
    /// of the two or was told before: its thread moves it from one to the other under the lock.
    pub(super) fn collect(&self) -> (Vec<Done>, Vec<i32>) {
        let mut count = [0u8; 8];
        // Cleared before the list is taken, so that what comes after it wakes us again. Nothing to clear is fine.
        let _ = nix::unistd::read(&self.shared.wake, &mut count);
        let mut done = lock(&self.shared.done);
        let in_flight = self.shared.in_flight.iter().map(|pid| pid.load(Ordering::SeqCst)).filter(|&pid| pid != 0);
        let in_flight = in_flight.collect();
        (std::mem::take(&mut *done), in_flight)
    }

    fn spawn_thread(&self) -> io::Result<()> {
        let (shared, number) = (self.shared.clone(), self.threads);
        let stack = ChildStack::new()?;
        let builder = std::thread::Builder::new().name("launch".into()).stack_size(THREAD_STACK_BYTES);
        builder.spawn(move || shared.work(number, &stack))?;
        Ok(())
    }
}

impl Shared {
    fn work(&self, number: usize, stack: &ChildStack) {
        loop {
            let mut queue = lock(&self.queue);
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                queue.idle += 1;
                queue = self.ready.wait(queue).expect("a thread that panics ends the process");
                queue.idle -= 1;
            };
            drop(queue);
            let pid = &self.in_flight[number];
            let result = self.launch(&job, stack, pid);
            let key = job.key;
            // Closes the descriptors that went to the child, so that it alone holds them when its client hears of it.
            drop(job);
            let mut done = lock(&self.done);
            let pid = Some(pid.swap(0, Ordering::SeqCst)).filter(|&pid| pid != 0);
            done.push(Done { key, result, pid });
            if done.len() == 1 {
                nix::unistd::write(&self.wake, &1u64.to_ne_bytes()).expect("a counter takes small numbers");
            }
        }
    }

    fn launch(&self, job: &Job, stack: &ChildStack, pid: &AtomicI32) -> Result<Started, Failure> {
        let mut plan = Plan::new(job, &self.restore)?;
        let before = processes::boot_ticks();
        match spawn(&mut plan, stack, pid) {
            Ok(Child { pid, pidfd }) => Ok(Started { pidfd, start_time: start_time(pid, before) }),
            Err(refusal) => Err(Failure::new(&refusal, job, &plan)),
        }
    }
}

/// The child was made in the tick of the clock before its clone, unless that has gone on meanwhile: then the kernel is asked,
/// which is dear.
fn start_time(pid: i32, before: u64) -> u64 {
    if processes::boot_ticks() == before { before } else { processes::start_time(pid).unwrap_or(0) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a thread that panics ends the process")
}
