//! The command half: from the command line to a running framework.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mesos_mpi_core::arguments::{INPUT_FILE, Plan, plan};
use mesos_mpi_core::capacity;
use mesos_mpi_core::inspect::{Entry, Files};
use mesos_mpi_core::messages::Job;
use mesos_mpi_core::output::{self, Letters};
use mesos_plugin_api::command::RunFramework;
use mesos_plugin_api::{CommandHost, Invocation};
use prost::Message;

use crate::files::AgentFiles;

/// A dropped connection doesn't end a job; a command that is gone for so long does.
const FAILOVER_TIMEOUT_MS: u64 = 60_000;

/// Runs a job and returns its exit code.
pub(crate) fn run(host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
    let mut plan = plan(invocation).map_err(|error| error.to_string())?;
    check_cluster(host, &mut plan.job)?;
    upload(host, &mut plan)?;
    prepare_output(&plan.job)?;
    plan.job.kvs_name = Some(new_kvs_name()?);
    let detach = plan.job.detached();
    let run = RunFramework {
        name: plan.job.name.clone(),
        name_is_prefix: Some(!plan.named),
        config: plan.job.encode_to_vec(),
        role: None,
        failover_timeout_ms: Some(FAILOVER_TIMEOUT_MS),
        stdin: Some(plan.job.is_input_read()),
        detach: detach.then_some(true),
    };
    host.run_framework(run).map(|result| result.exit_code)
}

/// At once, and not after a long wait for a gang that can never form.
fn check_cluster(host: &dyn CommandHost, job: &mut Job) -> Result<(), String> {
    let cluster = host.cluster()?;
    if job.detached() && cluster.embedded() {
        return Err("--detach: this cluster ends with the command; start one that stays with mesos up".into());
    }
    capacity::set_default_memory(job, &cluster);
    capacity::check(job, &cluster).map_err(|error| error.to_string())
}

/// Another one each time: jobs of several clusters may share a machine, and its shared memory, and one that was killed may have
/// left some behind.
fn new_kvs_name() -> Result<String, String> {
    const SOURCE: &str = "/proc/sys/kernel/random/uuid";
    let uuid = fs::read_to_string(SOURCE).map_err(|error| format!("cannot read {SOURCE}: {error}; mount /proc"))?;
    Ok(format!("kvs_{}", uuid.trim().replace('-', "")))
}

fn upload(host: &dyn CommandHost, plan: &mut Plan) -> Result<(), String> {
    let folder = PathBuf::from(OsStr::from_bytes(&plan.job.working_directory));
    if plan.bcast {
        let program = find_program(&plan.job, &folder)?;
        let name = program.file_name().unwrap_or(OsStr::new("program")).to_string_lossy().into_owned();
        let mut uri = host.upload(&program)?;
        uri.executable = Some(true);
        uri.output_file = Some(name.clone());
        plan.job.uris.push(uri);
        plan.job.program_in_sandbox = Some(name);
    }
    if let Some(file) = &plan.input_file {
        let path = folder.join(file);
        if AgentFiles.entry(&path) == Entry::Missing {
            return Err(format!("--input {file:?}: no such file, and no rank, all or none"));
        }
        let mut uri = host.upload(&path)?;
        uri.output_file = Some(INPUT_FILE.into());
        plan.job.uris.push(uri);
    }
    Ok(())
}

/// The program on this machine, for `--bcast`.
fn find_program(job: &Job, folder: &Path) -> Result<PathBuf, String> {
    let name = Path::new(OsStr::from_bytes(&job.argv[0]));
    let candidates: Vec<PathBuf> = if job.argv[0].contains(&b'/') {
        vec![folder.join(name)]
    } else {
        let path = job.environment.iter().find(|variable| variable.name == "PATH");
        let list = path.map(|path| OsStr::from_bytes(&path.value)).unwrap_or_default();
        std::env::split_paths(list).map(|folder| folder.join(name)).collect()
    };
    let is_file = |path: &PathBuf| matches!(AgentFiles.entry(path), Entry::Program | Entry::File);
    candidates
        .into_iter()
        .find(is_file)
        .ok_or_else(|| format!("--bcast: there is no program {} on this machine to send along", name.display()))
}

/// A later run starts with empty files, as with srun; and a folder that isn't there is said before anything runs. A pattern
/// with the job's name can't be known yet, and is new each time anyway.
fn prepare_output(job: &Job) -> Result<(), String> {
    for (flag, pattern) in output::patterns(job).filter(|(_, pattern)| *pattern != "none" && !pattern.contains("%j")) {
        // %n is known only when the gang stands.
        let by_node = pattern.contains("%n");
        let ranks = if pattern.contains("%t") && !by_node { job.ranks } else { 1 };
        for rank in 0..ranks {
            let name = output::expand(pattern, Letters { rank, node: 0, job: "" }).expect("patterns were checked");
            let path =
                PathBuf::from(OsStr::from_bytes(&output::absolute(&job.working_directory, &name)).to_os_string());
            let emptied = if by_node { check_folder(&path) } else { File::create(&path).map(drop) };
            emptied.map_err(|error| format!("{flag} {pattern:?}: {} can't be written: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn check_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::metadata(folder).map(drop))
}

#[cfg(test)]
mod tests;
