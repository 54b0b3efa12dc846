//! The terminal: one thread writes to it, so that bytes, labelled lines and bars don't tear each other.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mesos_plugin_api::framework::Progress;
use tokio::sync::{Notify, mpsc, oneshot};

use super::bar_line;

/// Words that wait to be shown; then whoever has more waits.
const WORDS_MAX: usize = 256;
/// How often a bar without news moves, so that one sees that it lives.
const TICK: Duration = Duration::from_millis(120);

/// Something for the terminal.
#[derive(Debug)]
pub enum Word {
    /// Bytes, to standard error if so.
    Bytes(bool, Vec<u8>),
    /// A bar.
    Progress(Progress),
    /// A line of our own for standard error.
    Remark(String),
    /// All before it is written.
    Flush(oneshot::Sender<()>),
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub struct Screen {
    words: mpsc::Sender<Word>,
    out_gone: Arc<Notify>,
}

impl Screen {
    /// Starts it; with `quiet` it shows no bars.
    pub fn start(quiet: bool) -> Self {
        let bars = !quiet && io::stderr().is_terminal();
        Self::start_on(Writer::new(io::stdout(), io::stderr(), bars))
    }

    /// Starts it on other writers than the process's.
    pub fn start_on<O: Write + Send + 'static, E: Write + Send + 'static>(mut writer: Writer<O, E>) -> Self {
        let (words, mut inbox) = mpsc::channel(WORDS_MAX);
        let out_gone = writer.out_gone_said.clone();
        std::thread::spawn(move || {
            while let Some(word) = inbox.blocking_recv() {
                writer.show(word);
            }
        });
        Self { words, out_gone }
    }

    /// Shows a word after all before it.
    pub async fn show(&self, word: Word) {
        // The thread lives as long as there are senders.
        let _ = self.words.send(word).await;
    }

    /// Says something of our own.
    pub async fn remark(&self, text: &str) {
        self.show(Word::Remark(text.to_string())).await;
    }

    /// Waits until whoever reads our output has left; said once.
    pub async fn out_gone(&self) {
        self.out_gone.notified().await;
    }

    /// Waits until all is written.
    pub async fn end(&self) {
        let (written, wait) = oneshot::channel();
        self.show(Word::Flush(written)).await;
        let _ = wait.await;
    }
}

/// What the thread owns.
pub struct Writer<O, E> {
    out: O,
    err: E,
    /// Whoever read our output has left.
    out_gone: bool,
    out_gone_said: Arc<Notify>,
    /// The last byte was no line feed: a bar would be drawn over the line.
    mid_line: bool,
    multi: MultiProgress,
    shown: bool,
    bars: BTreeMap<String, ProgressBar>,
}

impl<O: Write, E: Write> Writer<O, E> {
    /// Writes to these two; bars go to the process's standard error.
    pub fn new(out: O, err: E, bars: bool) -> Self {
        let target = if bars { bar_line::target() } else { ProgressDrawTarget::hidden() };
        let multi = MultiProgress::with_draw_target(target);
        Self {
            out,
            err,
            out_gone: false,
            out_gone_said: Arc::default(),
            mid_line: false,
            multi,
            shown: bars,
            bars: BTreeMap::new(),
        }
    }

    fn show(&mut self, word: Word) {
        match word {
            Word::Bytes(stderr, data) => self.bytes(stderr, &data),
            Word::Progress(progress) if self.shown => self.progress(progress),
            Word::Progress(_) => {}
            Word::Remark(text) => self.remark(&text),
            Word::Flush(written) => {
                self.bars.values().for_each(ProgressBar::finish_and_clear);
                self.bars.clear();
                let _ = self.out.flush();
                // Nobody waits if the command was aborted.
                let _ = written.send(());
            }
        }
    }

    fn bytes(&mut self, stderr: bool, data: &[u8]) {
        let Some(last) = data.last() else { return };
        self.hide_bars();
        let written = match stderr {
            true => self.err.write_all(data),
            false if self.out_gone => Ok(()),
            false => self.out.write_all(data).and_then(|()| self.out.flush()),
        };
        if written.is_err() && !stderr {
            self.out_gone = true;
            self.out_gone_said.notify_one();
        }
        self.mid_line = *last != b'\n';
        self.draw_bars();
    }

    fn remark(&mut self, text: &str) {
        let line_feed = if self.mid_line { "\n" } else { "" };
        self.bytes(true, format!("{line_feed}mesos: {text}\n").as_bytes());
    }

    fn progress(&mut self, progress: Progress) {
        if progress.end == Some(true) {
            if let Some(bar) = self.bars.remove(&progress.id) {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
            return;
        }
        let bar = self.bars.entry(progress.id).or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::no_length());
            bar.enable_steady_tick(TICK);
            bar
        });
        match (progress.done, progress.total) {
            (Some(done), Some(total)) => {
                bar.set_style(style("{bar:30} {pos}/{len} {msg} {elapsed}"));
                bar.set_length(total);
                bar.set_position(done);
            }
            _ => bar.set_style(style("{spinner} {msg} {elapsed}")),
        }
        if let Some(message) = progress.message {
            bar.set_message(message);
        }
    }

    fn hide_bars(&mut self) {
        if !self.bars.is_empty() {
            // A bar that can't be cleared is ugly, no more.
            let _ = self.multi.clear();
            self.multi.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    fn draw_bars(&mut self) {
        if self.shown && !self.mid_line && !self.bars.is_empty() {
            self.multi.set_draw_target(bar_line::target());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well formed")
}
