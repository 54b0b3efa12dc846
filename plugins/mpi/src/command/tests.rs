use std::sync::Mutex;

use mesos_plugin_api::v1::command::{ArgumentValues, Cluster, RunFrameworkResult};
use mesos_plugin_api::v1::{AgentInfo, EnvironmentVariable, Resources, Uri};

use super::*;

/// A host with a cluster that never runs anything.
struct FakeHost {
    cluster: Cluster,
    run: Mutex<Option<RunFramework>>,
    uploads: Mutex<Vec<PathBuf>>,
}

impl CommandHost for FakeHost {
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String> {
        *self.run.lock().unwrap() = Some(run);
        Ok(RunFrameworkResult { exit_code: 7, framework_id: None })
    }

    fn request(&self, _: &str, _: Vec<u8>, _: &mut mesos_plugin_api::command::Pieces<'_>) -> Result<(), String> {
        unreachable!("a job takes no requests")
    }

    fn upload(&self, path: &Path) -> Result<Uri, String> {
        let mut uploads = self.uploads.lock().unwrap();
        uploads.push(path.to_path_buf());
        Ok(Uri { value: format!("blob:{}", uploads.len()), ..Uri::default() })
    }

    fn cluster(&self) -> Result<Cluster, String> {
        Ok(self.cluster.clone())
    }
}

fn host(agents: u32, cpus: f64) -> FakeHost {
    let agent = |number| AgentInfo {
        hostname: format!("n{number}"),
        resources: Resources::new(cpus, 4096.0),
        ..AgentInfo::default()
    };
    let cluster = Cluster { agents: (1..=agents).map(agent).collect(), embedded: Some(false) };
    FakeHost { cluster, run: Mutex::new(None), uploads: Mutex::new(Vec::new()) }
}

fn invocation(folder: &Path, arguments: &[(&str, &str)]) -> Invocation {
    let values =
        |(name, value): &(&str, &str)| ArgumentValues { name: name.to_string(), values: vec![value.to_string()] };
    Invocation {
        arguments: arguments.iter().map(values).collect(),
        trailing: vec![b"./prog".to_vec()],
        working_directory: folder.as_os_str().as_bytes().to_vec(),
        environment: vec![EnvironmentVariable { name: "PATH".into(), value: b"/usr/bin:/bin".to_vec() }],
        ..Invocation::default()
    }
}

fn job_of(host: &FakeHost) -> Job {
    Job::decode(host.run.lock().unwrap().as_ref().unwrap().config.as_slice()).unwrap()
}

#[test]
fn a_job_that_fits_is_run_with_a_share_of_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(2, 4.0);
    assert_eq!(run(&host, &invocation(folder.path(), &[("ntasks", "8")])), Ok(7));
    assert_eq!(job_of(&host).mem_per_rank, 1_016_000);
    let run = host.run.lock().unwrap().clone().unwrap();
    assert_eq!((run.name.as_str(), run.name_is_prefix(), run.stdin()), ("mpi-prog", true, true));
}

#[test]
fn no_two_jobs_share_a_key_value_space() {
    let folder = tempfile::tempdir().unwrap();
    let name = || {
        let host = host(1, 4.0);
        run(&host, &invocation(folder.path(), &[])).unwrap();
        job_of(&host).kvs_name.unwrap()
    };
    let [first, second] = [name(), name()];
    assert_ne!(first, second);
    assert!(first.len() < 64 && first.starts_with("kvs_"), "{first}");
}

#[test]
fn more_ranks_than_the_cluster_can_hold_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&host(2, 4.0), &invocation(folder.path(), &[("ntasks", "9")])).unwrap_err();
    assert_eq!(
        error,
        "9 ranks of cpus:1;mem:1016 asked, the cluster can hold 8: n1 4, n2 4; ask for fewer with -n, or let ranks share \
         cores with --oversubscribe"
    );
    let error = run(&host(2, 4.0), &invocation(folder.path(), &[("nodes", "3")])).unwrap_err();
    assert!(error.starts_with("-N 3: only 2 agents can hold a rank"), "{error}");
    let error = run(&host(2, 4.0), &invocation(folder.path(), &[("nodelist", "n[1-3]")])).unwrap_err();
    assert_eq!(error, "-w \"n3\": no agent has this host name; there are n1, n2");
    let one_out = [("exclude", "n2"), ("ntasks", "5")];
    assert!(run(&host(2, 4.0), &invocation(folder.path(), &one_out)).unwrap_err().contains("can hold 4: n1 4"));
    assert!(run(&host(0, 4.0), &invocation(folder.path(), &[])).unwrap_err().starts_with("the cluster has no agents"));
}

#[test]
fn oversubscribed_ranks_share_cores_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(1, 2.0);
    assert_eq!(run(&host, &invocation(folder.path(), &[("ntasks", "64"), ("oversubscribe", "true")])), Ok(7));
    let job = job_of(&host);
    assert_eq!((job.cpus_per_rank, job.mem_per_rank), (1, 63_000));
}

#[test]
fn program_and_input_are_sent_along() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("prog"), "x").unwrap();
    fs::write(folder.path().join("data"), "x").unwrap();
    let host = host(1, 2.0);
    let arguments = [("bcast", "true"), ("input", "data")];
    assert_eq!(run(&host, &invocation(folder.path(), &arguments)), Ok(7));
    let job = job_of(&host);
    let names: Vec<&str> = job.uris.iter().map(|uri| uri.output_file()).collect();
    assert_eq!(names, ["prog", INPUT_FILE]);
    assert_eq!((job.uris[0].executable(), job.program_in_sandbox()), (true, "prog"));
    assert!(!host.run.lock().unwrap().as_ref().unwrap().stdin());
}

#[test]
fn files_that_are_missing_here_are_said_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let error = |arguments: &[(&str, &str)]| run(&host(1, 2.0), &invocation(folder.path(), arguments)).unwrap_err();
    assert!(error(&[("bcast", "true")]).starts_with("--bcast: there is no program ./prog"));
    assert!(error(&[("input", "data")]).starts_with("--input \"data\": no such file"));
    assert!(error(&[("output", "none/out.%t")]).starts_with("-o \"none/out.%t\": "));
}

#[test]
fn output_files_start_empty() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out.1"), "old").unwrap();
    let arguments = [("ntasks", "2"), ("output", "out.%t")];
    assert_eq!(run(&host(1, 2.0), &invocation(folder.path(), &arguments)), Ok(7));
    assert_eq!(fs::read(folder.path().join("out.1")).unwrap(), b"");
    assert!(folder.path().join("out.0").exists());
}

#[test]
fn a_job_can_t_outlive_a_cluster_that_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = host(1, 2.0);
    host.cluster.embedded = Some(true);
    let error = run(&host, &invocation(folder.path(), &[("detach", "true")])).unwrap_err();
    assert!(error.ends_with("start one that stays with mesos up"), "{error}");
}
