//! Where bars are drawn: standard error, with the cursor right behind the last bar.
//!
//! The library fills the last line with spaces, so that the cursor stands at the terminal's edge. There the `^C` that a terminal shows
//! falls onto the next line, that one is cleared in the bar's place, and the bar stays for ever. A command in the shell's background
//! draws nothing: the line belongs to whoever is in front.

use std::io;

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Drawings a second at the most.
const RATE: u8 = 20;

/// Standard error, for bars.
pub fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Unfilled(Term::buffered_stderr())), RATE)
}

#[derive(Debug)]
struct Unfilled(Term);

impl TermLike for Unfilled {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.in_front(|term| term.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.in_front(|term| term.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.in_front(|term| term.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.in_front(|term| term.move_cursor_left(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.in_front(|term| term.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') { Ok(()) } else { self.in_front(|term| term.write_str(text)) }
    }

    fn clear_line(&self) -> io::Result<()> {
        self.in_front(Term::clear_line)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Unfilled {
    /// Carries it out unless another job has the terminal. One that can't be asked, as from another session, is ours.
    fn in_front(&self, draw: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        let front = tcgetpgrp(io::stderr());
        if front.is_ok_and(|group| group != getpgrp()) { Ok(()) } else { draw(&self.0) }
    }
}
