//! What this machine has to give.

use mesos_plugin_api::v1::Resources;

/// Megabytes that the system itself keeps.
const SYSTEM_MEM_MB: f64 = 512.0;

/// Cores and memory of one of so many agents on this machine.
pub fn resources(agents: usize) -> Resources {
    let share = agents.max(1) as f64;
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let memory = memory_mb().unwrap_or(1024.0);
    let free = (memory - SYSTEM_MEM_MB).max(memory / 2.0);
    Resources::new((cores / share * 1000.0).floor() / 1000.0, (free / share).floor())
}

fn memory_mb() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
