//! What the figures were measured on, in a line.

use std::fs;

use super::{Bench, Options};

/// Cores, memory, kernel, load, and how it was measured.
pub fn describe(bench: &Bench, options: &Options) -> String {
    format!(
        "{} × {}, {} GB, Linux {}; load {} at the start; {} pairs or rounds, {} tasks; {}.",
        bench.cores,
        processor().unwrap_or_else(|| "an unknown processor".to_string()),
        memory_gb(),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        options.pairs,
        options.tasks,
        bench.group.note(),
    )
}

fn processor() -> Option<String> {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn memory_gb() -> u64 {
    let text = read("/proc/meminfo");
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| (kilobytes + (1 << 19)) >> 20)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
