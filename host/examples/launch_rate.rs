//! How many `/bin/true` a second go through the launcher: `launch_rate TASKS [WINDOW]`. The window is the number of tasks that
//! are asked for and have not ended.

use std::time::{Duration, Instant};

use mesos_host::launcher::{AgentLoss, Event, LaunchSpec, Request, start};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mesos_host::init();
    let numbers: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let tasks = numbers.first().copied().unwrap_or(5000);
    let window = numbers.get(1).copied().unwrap_or(64);
    let dir = std::env::temp_dir().join(format!("launch-rate-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let mut launcher = start(&dir, AgentLoss::Kill)?;
    let env: Vec<_> = std::env::vars_os().collect();
    let spec = |i: usize| {
        let mut spec = LaunchSpec::new(format!("task-{i}"), ["/bin/true"]);
        spec.env = env.clone();
        spec.cwd.clone_from(&dir);
        Request::Launch(Box::new(spec))
    };
    let begin = Instant::now();
    let (mut asked, mut ended) = (0, 0);
    let mut requests = Vec::new();
    while ended < tasks {
        while asked < tasks && asked - ended < window {
            requests.push(spec(asked));
            asked += 1;
        }
        launcher.send(requests.drain(..))?;
        let mut event = launcher.next(Duration::from_secs(10))?;
        while let Some(now) = event {
            match now {
                Event::Exited(exited) => {
                    requests.push(Request::Release { container: exited.container });
                    ended += 1;
                }
                Event::LaunchFailed(failed) => return Err(failed.message.into()),
                _ => {}
            }
            event = launcher.next(Duration::ZERO)?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let pid = std::fs::read_to_string(dir.join("launcher.lock"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory: Vec<&str> =
        status.lines().filter(|line| line.starts_with("Rss") || line.starts_with("VmHWM")).collect();
    let (launcher_ms, client_ms) = (cpu_ms(pid.parse()?)? / tasks as f64, cpu_ms(std::process::id())? / tasks as f64);
    println!(
        "{tasks} tasks, window {window}: {:.0}/s; CPU a task: launcher {launcher_ms:.3} ms, client {client_ms:.3} ms",
        tasks as f64 / seconds
    );
    println!("launcher: {}", memory.join(", "));
    launcher.send([Request::Shutdown])?;
    while launcher.next(Duration::from_secs(10)).is_ok() {}
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// CPU time of all threads of a process.
fn cpu_ms(pid: u32) -> std::io::Result<f64> {
    let mut nanos = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(nanos / 1e6)
}
