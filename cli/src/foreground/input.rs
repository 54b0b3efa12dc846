//! Signals and standard input on their way to the framework.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::Stdin;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::signal_event;

/// Bytes that are read from standard input at once.
const STDIN_BYTES: usize = 64 << 10;
/// Pieces of standard input that wait for the framework; then whoever writes to us waits.
const STDIN_PIECES_MAX: usize = 4;
/// Signals that wait for the framework.
const SIGNALS_MAX: usize = 64;
/// So many times TERM or INT, and we end without the framework.
const PRESSES_TO_ABORT: u32 = 3;
/// A framework that passes a stop on has so long to say so before we stand still ourselves.
const BEFORE_STOP: Duration = Duration::from_millis(100);

/// How often a command in the background looks whether it is in front again, while input waits that may be its own.
const BACKGROUND: Duration = Duration::from_millis(200);

/// What a person who presses Ctrl-C wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Press {
    /// The framework was asked to end, by this signal.
    Ask(i32),
    /// It was asked often enough.
    Abort(i32),
}

/// Catches what the terminal sends, from now on: the signals for the framework, and what they mean for us.
///
/// # Errors
/// A signal can't be caught.
pub fn signals() -> Result<(mpsc::Receiver<i32>, mpsc::Receiver<Press>)> {
    let (to_framework, signals) = mpsc::channel(SIGNALS_MAX);
    let (press, presses) = mpsc::channel(SIGNALS_MAX);
    let (all, mut caught) = mpsc::channel::<Signal>(SIGNALS_MAX);
    let ignored = ignored();
    use Signal::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
    // What our starter ignores for us, as nohup does, stays ignored.
    for number in
        [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT].into_iter().filter(|s| !is_in(*s, ignored))
    {
        let mut stream =
            signal(SignalKind::from_raw(number as i32)).with_context(|| format!("{number} can't be caught"))?;
        let all = all.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && all.send(number).await.is_ok() {} });
    }
    tokio::spawn(async move {
        let mut pressed = 0;
        while let Some(number) = caught.recv().await {
            // A framework that doesn't listen must not keep us from counting.
            let _ = to_framework.try_send(number as i32);
            if matches!(number, SIGINT | SIGTERM | SIGHUP) {
                pressed += 1;
                let meaning = if pressed >= PRESSES_TO_ABORT { Press::Abort } else { Press::Ask };
                let _ = press.try_send(meaning(number as i32));
            }
            if number == SIGTSTP {
                tokio::time::sleep(BEFORE_STOP).await;
                // As if we hadn't caught it: the shell sees us stopped. All threads stand still.
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
            }
        }
    });
    Ok((signals, presses))
}

/// Gives signals, and with `paused` standard input too, to the framework until it has ended.
pub async fn forward(
    mut signals: mpsc::Receiver<i32>,
    paused: Option<watch::Receiver<bool>>,
    events: mpsc::Sender<HalfEvent>,
) {
    let reads_stdin = paused.is_some();
    let mut paused = paused.unwrap_or_else(|| watch::channel(true).1);
    let mut stdin = if reads_stdin { read_stdin() } else { mpsc::channel(1).1 };
    let mut open = reads_stdin;
    loop {
        let wanted = open && !*paused.borrow_and_update();
        let event = tokio::select! {
            Some(number) = signals.recv() => signal_event(number),
            piece = stdin.recv(), if wanted => {
                let data = piece.unwrap_or_default();
                open = !data.is_empty();
                HalfEvent::Stdin(Stdin { end: data.is_empty().then_some(true), data })
            }
            Ok(()) = paused.changed(), if open => continue,
            else => return,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// A thread reads, because a read from a terminal can't be taken back; it ends with the process.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel(STDIN_PIECES_MAX);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; STDIN_BYTES];
        loop {
            await_input();
            match stdin.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // An error is the end, too: a terminal that went away.
                _ => return,
            }
        }
    });
    pieces
}

/// In the background of a terminal a read would stop this process, and all it has to do with it: what is typed there is for others.
fn await_input() {
    let stdin = std::io::stdin();
    loop {
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::NONE) == Err(Errno::EINTR) {
            continue;
        }
        // No terminal, or not ours: reading says what is wrong with it.
        match nix::unistd::tcgetpgrp(&stdin) {
            Ok(group) if group != nix::unistd::getpgrp() => std::thread::sleep(BACKGROUND),
            _ => return,
        }
    }
}

/// The mask of signals that this process was started to ignore.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(signal: Signal, mask: u64) -> bool {
    mask >> (signal as i32 - 1) & 1 == 1
}
