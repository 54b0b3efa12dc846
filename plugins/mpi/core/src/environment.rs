//! What of the command's environment a rank gets, and what is added.

use mesos_plugin_api::v1::{CommandInfo, EnvironmentVariable};

/// Set by other launchers for the processes that they start: a rank that saw them would call home there. PMI and PMIx
/// variables must never stand together.
const FOREIGN_PREFIXES: [&str; 15] = [
    "PMI_",
    "PMI2_",
    "PMIX_",
    "PRTE_MCA_prte_",
    "OMPI_COMM_",
    "OMPI_UNIVERSE_",
    "OMPI_MCA_orte_",
    "OMPI_MCA_ess",
    "OMPI_MCA_pmix",
    "HYDRA_",
    "HYDI_",
    "MPIEXEC_",
    "SLURM",
    "PBS_",
    "LSB_",
];

/// Single ones of the same kind.
const FOREIGN_NAMES: [&str; 18] = [
    "PMI",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "OMPI_APP_CTX_NUM_PROCS",
    "OMPI_ARGV",
    "OMPI_COMMAND",
    "OMPI_FILE_LOCATION",
    "OMPI_FIRST_RANKS",
    "OMPI_NUM_APP_CTX",
    "OMPI_MCA_initial_wdir",
    "OMPI_MCA_plm",
    "OMPI_MCA_plm_rsh_agent",
    "OMPI_MCA_shmem_RUNTIME_QUERY_hint",
    "PRTE_MCA_plm",
    "PRTE_MCA_plm_ssh_agent",
    "PRTE_LAUNCHED",
    "I_MPI_PMI_LIBRARY",
    "I_MPI_HYDRA_BOOTSTRAP",
];

/// The environment without what another launcher left in it, and without the host's own variables, which each agent sets.
pub fn scrubbed(environment: &[EnvironmentVariable]) -> Vec<EnvironmentVariable> {
    environment.iter().filter(|variable| !is_foreign(&variable.name)).cloned().collect()
}

fn is_foreign(name: &str) -> bool {
    name.starts_with("MESOS_")
        || FOREIGN_NAMES.contains(&name)
        || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Where a rank stands in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the job.
    pub rank: u32,
    /// Of the job.
    pub size: u32,
    /// Among the ranks of its node.
    pub local_rank: u32,
    /// Of its node.
    pub local_size: u32,
    /// Its node.
    pub node: u32,
    /// Of the job.
    pub nodes: u32,
}

impl Place {
    /// Tells a process its place: what MPICH reads, what Intel MPI reads, and words of our own for programs and scripts.
    pub fn tell(&self, command: &mut CommandInfo) {
        let words = [
            ("PMI_RANK", self.rank),
            ("PMI_SIZE", self.size),
            ("MPI_LOCALRANKID", self.local_rank),
            ("MPI_LOCALNRANKS", self.local_size),
            ("MESOS_RANK", self.rank),
            ("MESOS_RANKS", self.size),
            ("MESOS_LOCAL_RANK", self.local_rank),
            ("MESOS_LOCAL_RANKS", self.local_size),
            ("MESOS_NODE", self.node),
            ("MESOS_NODES", self.nodes),
        ];
        for (name, value) in words {
            command.set_env(name, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> EnvironmentVariable {
        EnvironmentVariable { name: name.into(), value: b"x".to_vec() }
    }

    #[test]
    fn other_launchers_variables_are_left_out_and_the_users_stay() {
        let gone = ["PMI_FD", "PMIX_RANK", "SLURM_JOB_ID", "OMPI_COMM_WORLD_RANK", "HYDI_CONTROL_FD", "MESOS_KNOCK"];
        let kept = ["PATH", "OMP_NUM_THREADS", "OMPI_MCA_btl", "OPAL_PREFIX", "MPICH_ASYNC_PROGRESS", "FI_PROVIDER"];
        let all: Vec<_> = gone.iter().chain(&kept).map(|name| variable(name)).collect();
        let names: Vec<_> = scrubbed(&all).into_iter().map(|variable| variable.name).collect();
        assert_eq!(names, kept);
    }
}
