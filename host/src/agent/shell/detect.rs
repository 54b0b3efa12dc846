//! What this machine has, as an agent offers it unless it is told otherwise.

use std::path::Path;

use mesos_plugin_api::v1::{Range, Resources};

/// Left to the system: so many megabytes, or half of a small machine.
const MEM_RESERVE_MB: u64 = 1024;
/// The ports that are offered, as in Mesos.
const PORTS: Range = Range { begin: 31_000, end: 32_000 };

/// This machine's name; `localhost` if it has none.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_string())
}

/// The part of that number, from 0 on, of `shares` equal parts of this machine: cores and memory that this process may use, ports
/// that no other part has.
pub fn resources(number: usize, shares: usize) -> Resources {
    share(number as u64, shares.max(1) as u64, cpus_milli(), mem_mb())
}

fn share(number: u64, shares: u64, cpus_milli: u64, mem_mb: u64) -> Resources {
    let usable_mb = mem_mb - MEM_RESERVE_MB.min(mem_mb / 2);
    let ports = (PORTS.end - PORTS.begin + 1) / shares;
    let begin = PORTS.begin + number * ports;
    Resources::default()
        .with_cpus((cpus_milli / shares) as f64 / 1000.0)
        .with_mem((usable_mb / shares) as f64)
        .with_ports((ports > 0).then_some(Range { begin, end: begin + ports.saturating_sub(1) }))
}

/// Cores that this process may run on, less what a cgroup's quota takes away.
fn cpus_milli() -> u64 {
    // It takes affinity and quotas of cgroups into account.
    std::thread::available_parallelism().map_or(1000, |cores| cores.get() as u64 * 1000)
}

/// The machine's memory, or a cgroup's limit if that is less.
fn mem_mb() -> u64 {
    let total_kb =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total_kb(&text)).unwrap_or(1 << 20);
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().filter_map(|path| limit_bytes(Path::new(path))).min();
    limit.map_or(total_kb >> 10, |limit| (limit >> 20).min(total_kb >> 10))
}

fn meminfo_total_kb(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// `None` where there is no limit or no such file.
fn limit_bytes(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_ports_of_their_own() {
        let shares: Vec<Resources> = (0..4).map(|number| share(number, 4, 2000, 24_000)).collect();
        let ports: u64 = shares.iter().flat_map(|share| share.ports()).map(|range| range.end - range.begin + 1).sum();
        assert_eq!(shares.iter().sum::<Resources>().ports(), [Range { begin: 31_000, end: 31_000 + ports - 1 }]);
        assert_eq!((shares[0].cpus(), shares[0].mem()), (0.5, 5744.0));
    }

    #[test]
    fn a_small_machine_keeps_half() {
        assert_eq!(share(0, 1, 1000, 512).mem(), 256.0);
    }

    #[test]
    fn this_machine_has_something() {
        assert!(resources(0, 1).cpus() >= 1.0 && resources(0, 1).mem() > 0.0);
        assert_eq!(meminfo_total_kb("MemFree: 1 kB\nMemTotal:       24660432 kB\n"), Some(24_660_432));
    }
}
