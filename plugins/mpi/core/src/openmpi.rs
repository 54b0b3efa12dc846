//! How Open MPI's `mpirun` is made to launch its daemons through us, for 4.x and 5.x.
//!
//! ```text
//! node 0:  mpirun ──launch agent: knock program──▶ executor ──▶ framework ──▶ executor of node k ──▶ sh -c 'orted …'
//!                                                                                                       └─▶ ranks
//! ```
//! Nodes bear synthetic names, so that several agents on one machine are several nodes to `mpirun`, which then also launches a
//! daemon on its own one. A shell stands around each rank: it tells the executor how the rank ended, since `mpirun` 5 says 14
//! for every signal and sometimes 0.

use std::net::Ipv4Addr;

use mesos_plugin_api::v1::CommandInfo;

use crate::messages::input::From;
use crate::messages::{Distribution, Input, OpenMpi, Start};

/// First word of a knock by the shell around a rank; then rank and exit code as the shell gives it.
pub const RANK_ENDED: &str = "mesos-rank-ended";
/// First word of a knock by the shell around a node's first rank, before the rank.
pub const RANKS_STARTED: &str = "mesos-ranks-started";
/// Names the folder of a node in its ranks' environment.
pub const SANDBOX_VARIABLE: &str = "MESOS_MPI_SANDBOX";
/// Names the program that a rank's shell knocks with.
pub const KNOCK_VARIABLE: &str = "MESOS_MPI_KNOCK";

/// The name of a node for `mpirun`.
pub fn node_name(node: u32) -> String {
    format!("mesos-node-{node}")
}

/// The node of that name.
pub fn node_of_name(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name).ok()?.strip_prefix("mesos-node-")?.parse().ok()
}

/// The smallest network that all addresses lie in; none if one is no IPv4 address or they have too little in common. Open MPI
/// would try every interface otherwise, and hang on a bridge that has the same address on every machine.
pub fn subnet(addresses: &[&str]) -> Option<String> {
    let addresses: Vec<u32> =
        addresses.iter().map(|address| address.parse::<Ipv4Addr>().ok().map(u32::from)).collect::<Option<_>>()?;
    let first = *addresses.first()?;
    if addresses.iter().all(|address| Ipv4Addr::from(*address).is_loopback()) {
        return Some("127.0.0.0/8".into());
    }
    let differing = addresses.iter().fold(0, |bits, address| bits | (address ^ first));
    let length = differing.leading_zeros();
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    (length >= SUBNET_BITS_MIN).then(|| format!("{}/{length}", Ipv4Addr::from(first & mask)))
}

/// A network larger than that is likely to hold bridges and the like.
const SUBNET_BITS_MIN: u32 = 8;

/// The command line of `mpirun`, from its own path to the program's arguments. It has no part in standard input: 5.0 never
/// passes the end of a pipe on.
pub fn mpirun_argv(mpirun: &str, program: &[u8], start: &Start, openmpi: &OpenMpi) -> Vec<Vec<u8>> {
    let hosts: Vec<String> =
        (0..).zip(&openmpi.slots).map(|(node, slots)| format!("{}:{slots}", node_name(node))).collect();
    let mapping = match openmpi.distribution() {
        Distribution::Block => "slot",
        Distribution::Cyclic => "node",
    };
    let (size, hosts) = (start.size.to_string(), hosts.join(","));
    let mut words = vec![mpirun, "-np", &size, "--host", &hosts, "--map-by", mapping, "--bind-to", "none"];
    words.extend(["--stdin", "none"]);
    if openmpi.major >= 5 {
        // The variables for these two are ignored.
        words.extend(["--leave-session-attached", "--prtemca", "plm_ssh_no_tree_spawn", "1"]);
    }
    let shell = rank_shell(start.input.as_ref());
    words.extend(["/bin/sh", "-c", &shell, "sh"]);
    let mut argv: Vec<Vec<u8>> = words.into_iter().map(|word| word.as_bytes().to_vec()).collect();
    argv.push(program.to_vec());
    argv.extend(start.argv.iter().skip(1).cloned());
    argv
}

/// The shell around a rank. It catches what `mpirun` sends to the rank's group, and does nothing with it: it must outlive the
/// rank to tell its end. A trap is not inherited by the rank, as an ignored signal would be.
fn rank_shell(input: Option<&Input>) -> String {
    let rank = "$OMPI_COMM_WORLD_RANK";
    let stdin = match input.and_then(|input| input.from.as_ref()) {
        Some(From::Rank(reader)) => {
            format!("[ \"{rank}\" != {reader} ] || exec <\"${SANDBOX_VARIABLE}/{}\"; ", stdin_fifo(rank))
        }
        Some(From::All(_)) => format!("exec <\"${SANDBOX_VARIABLE}/{}\"; ", stdin_fifo(rank)),
        Some(From::File(file)) => format!("exec <\"${SANDBOX_VARIABLE}/{file}\"; "),
        Some(From::None(_)) | None => String::new(),
    };
    let output = format!("exec >>\"${SANDBOX_VARIABLE}/stdout.{rank}\" 2>>\"${SANDBOX_VARIABLE}/stderr.{rank}\"; ");
    format!(
        "trap : HUP INT TERM USR1 USR2; \
         [ \"$OMPI_COMM_WORLD_LOCAL_RANK\" != 0 ] || \"${KNOCK_VARIABLE}\" {RANKS_STARTED}; \
         {stdin}{output}\"$@\"; s=$?; \
         [ $s -eq 0 ] || \"${KNOCK_VARIABLE}\" {RANK_ENDED} \"{rank}\" $s; exit $s"
    )
}

/// The pipe in the sandbox that a rank reads, fed by [`feeder_line`].
fn stdin_fifo(rank: &str) -> String {
    format!("stdin.{rank}")
}

/// For a shell: makes the pipe of a rank. The feeder and the node's daemon both do, since neither knows which is first.
pub fn fifo_line(sandbox: &str, rank: u32) -> String {
    format!("mkfifo -m 600 '{}/{}' 2>/dev/null", sandbox.replace('\'', "'\\''"), stdin_fifo(&rank.to_string()))
}

/// For a shell: passes its own standard input on to a rank.
pub fn feeder_line(sandbox: &str, rank: u32) -> String {
    let fifo = format!("{}/{}", sandbox.replace('\'', "'\\''"), stdin_fifo(&rank.to_string()));
    format!("{}; exec cat >'{fifo}'", fifo_line(sandbox, rank))
}

/// What a node's executor tells `mpirun` and the daemons that it launches, by their environment.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The node's folder.
    pub sandbox: &'a str,
    /// Plugs a process into the executor.
    pub knock_program: &'a str,
    /// Versions, interfaces and the like.
    pub openmpi: &'a OpenMpi,
    /// Whether a rank that exits with another code than 0 ends the others.
    pub keep_on_bad_exit: bool,
}

impl Surroundings<'_> {
    /// Sets the variables; those of the user's stay where they only tune.
    pub fn tell(&self, command: &mut CommandInfo) {
        let common = [
            (SANDBOX_VARIABLE, self.sandbox),
            (KNOCK_VARIABLE, self.knock_program),
            // Or session directories stay in /tmp.
            ("TMPDIR", self.sandbox),
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ];
        common.into_iter().for_each(|(name, value)| command.set_env(name, value));
        let version = if self.openmpi.major >= 5 { self.version_5() } else { self.version_4() };
        version.into_iter().for_each(|(name, value)| command.set_env(name, value));
        for (name, value) in self.tuning() {
            if command.environment.iter().all(|variable| variable.name != name) {
                command.set_env(name, value);
            }
        }
    }

    fn tuning(&self) -> Vec<(&'static str, &str)> {
        let mut tuning = Vec::new();
        tuning.extend(self.openmpi.subnet.as_deref().map(|subnet| ("OMPI_MCA_btl_tcp_if_include", subnet)));
        if self.openmpi.shared_machine() {
            // Segments of shared memory bear the machine's name and the local rank: those of two nodes would meet, and the
            // ranks crash. Such a cluster is for trying things out: it may be slow, but not wrong.
            tuning.push(("OMPI_MCA_pml", "ob1"));
            tuning.push(("OMPI_MCA_btl", "self,tcp"));
            // Groups ranks by the machine's name in one place and by node in another, and waits without end.
            tuning.push(("OMPI_MCA_coll", "^han"));
        }
        tuning
    }

    /// Flat and blocking: without `leave_session_attached` daemons escape into the background.
    fn version_4(&self) -> Vec<(&'static str, &str)> {
        let mut variables = vec![
            ("OMPI_MCA_plm", "rsh"),
            ("OMPI_MCA_plm_rsh_agent", self.knock_program),
            ("OMPI_MCA_plm_rsh_no_tree_spawn", "1"),
            ("OMPI_MCA_plm_rsh_num_concurrent", CONCURRENT),
            ("OMPI_MCA_orte_leave_session_attached", "1"),
        ];
        variables.extend(self.daemons_subnet().map(|subnet| ("OMPI_MCA_oob_tcp_if_include", subnet)));
        if self.keep_on_bad_exit {
            variables.push(("OMPI_MCA_orte_abort_on_non_zero_status", "0"));
        }
        variables
    }

    fn version_5(&self) -> Vec<(&'static str, &str)> {
        let mut variables = vec![
            ("PRTE_ALLOW_RUN_AS_ROOT", "1"),
            ("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("PRTE_MCA_plm", "ssh"),
            ("PRTE_MCA_plm_ssh_agent", self.knock_program),
            ("PRTE_MCA_plm_ssh_num_concurrent", CONCURRENT),
        ];
        variables.extend(self.daemons_subnet().map(|subnet| ("PRTE_MCA_prte_if_include", subnet)));
        variables
    }

    fn daemons_subnet(&self) -> Option<&str> {
        self.openmpi.subnet.as_deref().filter(|_| self.openmpi.subnet_for_daemons())
    }
}

/// Whether the daemons' own connections can be held to the subnet. Version 5 doesn't find it on an interface that has an IPv6
/// address too, never takes the loopback interface, and refuses a network of one address.
pub fn subnet_suits_daemons(major: u32, subnet: &str, has_ipv6: bool) -> bool {
    major < 5 || !(has_ipv6 || subnet.starts_with("127.") || subnet.ends_with("/32"))
}

/// More than any job has nodes: `mpirun` waits otherwise for daemons that it has launched before it launches more, and ours
/// don't return.
const CONCURRENT: &str = "100000";

/// What is given to a shell to run a daemon: all after the node's name, joined as ssh would.
pub fn daemon_line(argv: &[Vec<u8>]) -> Vec<u8> {
    argv.iter().skip(1).map(Vec::as_slice).collect::<Vec<_>>().join(b" ".as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnet_is_what_all_addresses_share() {
        let table: [(&[&str], Option<&str>); 6] = [
            (&["10.0.0.1", "10.0.0.2", "10.0.0.4"], Some("10.0.0.0/29")),
            (&["10.0.0.7"], Some("10.0.0.7/32")),
            (&["127.0.0.1", "127.0.0.1"], Some("127.0.0.0/8")),
            (&["10.1.0.1", "192.168.0.1"], None),
            (&["fd00::1"], None),
            (&[], None),
        ];
        for (addresses, expected) in table {
            assert_eq!(subnet(addresses).as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn names_of_nodes_lead_back_to_them() {
        assert_eq!(node_of_name(node_name(17).as_bytes()), Some(17));
        assert_eq!(node_of_name(b"some-host"), None);
    }

    #[test]
    fn a_daemons_line_keeps_the_quotes_for_the_shell() {
        let argv = [&b"mesos-node-1"[..], b" orted", b"-mca", b"ess", b"\"env\""].map(<[u8]>::to_vec);
        assert_eq!(daemon_line(&argv), b" orted -mca ess \"env\"");
    }

    fn words(major: u32, from: From) -> String {
        let input = Some(Input { from: Some(from) });
        let start = Start { size: 5, argv: vec![b"prog".to_vec(), b"-x".to_vec()], input, ..Start::default() };
        let openmpi = OpenMpi { major, slots: vec![2, 3], ..OpenMpi::default() };
        let argv = mpirun_argv("/usr/bin/mpirun", b"/opt/prog", &start, &openmpi);
        argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn mpirun_gets_the_slots_and_the_program_untouched() {
        let line = words(4, From::None(true));
        assert!(line.starts_with(
            "/usr/bin/mpirun -np 5 --host mesos-node-0:2,mesos-node-1:3 --map-by slot --bind-to none --stdin none /bin/sh -c"
        ));
        assert!(line.ends_with("exit $s sh /opt/prog -x"), "{line}");
        assert!(
            words(5, From::None(true)).contains("--leave-session-attached --prtemca plm_ssh_no_tree_spawn 1 /bin/sh")
        );
    }

    #[test]
    fn readers_open_their_own_pipe_or_file() {
        let open = "exec <\"$MESOS_MPI_SANDBOX/stdin.$OMPI_COMM_WORLD_RANK\"";
        assert!(words(4, From::Rank(3)).contains(&format!("[ \"$OMPI_COMM_WORLD_RANK\" != 3 ] || {open}")));
        assert!(words(4, From::All(true)).contains(open));
        assert!(words(5, From::File("in".into())).contains("exec <\"$MESOS_MPI_SANDBOX/in\""));
        assert!(!words(5, From::None(true)).contains("exec <"));
        assert_eq!(feeder_line("/s'b", 3), r"mkfifo -m 600 '/s'\''b/stdin.3' 2>/dev/null; exec cat >'/s'\''b/stdin.3'");
    }

    #[test]
    fn version_5_takes_a_subnet_only_where_it_finds_it() {
        let table = [
            (4, "127.0.0.0/8", true, true),
            (5, "10.0.0.0/24", false, true),
            (5, "10.0.0.0/24", true, false),
            (5, "127.0.0.0/8", false, false),
            (5, "10.0.0.7/32", false, false),
        ];
        for (major, subnet, has_ipv6, suits) in table {
            assert_eq!(subnet_suits_daemons(major, subnet, has_ipv6), suits, "{major} {subnet}");
        }
    }

    fn told(openmpi: &OpenMpi, name: &str) -> Option<String> {
        let around = Surroundings { sandbox: "/sb", knock_program: "/k", openmpi, keep_on_bad_exit: false };
        let mut command = CommandInfo::argv(["x"]).with_env("OMPI_MCA_btl_tcp_if_include", "ib0");
        around.tell(&mut command);
        let variable = command.environment.iter().find(|variable| variable.name == name);
        variable.map(|variable| String::from_utf8_lossy(&variable.value).into_owned())
    }

    #[test]
    fn a_users_choice_of_interfaces_stays() {
        let subnet = Some("10.0.0.0/24".to_string());
        let openmpi = OpenMpi { major: 4, subnet, subnet_for_daemons: Some(true), ..OpenMpi::default() };
        assert_eq!(told(&openmpi, "OMPI_MCA_btl_tcp_if_include").as_deref(), Some("ib0"));
        assert_eq!(told(&openmpi, "OMPI_MCA_oob_tcp_if_include").as_deref(), Some("10.0.0.0/24"));
        assert_eq!(told(&openmpi, "OMPI_MCA_plm_rsh_agent").as_deref(), Some("/k"));
        assert_eq!(told(&openmpi, "PRTE_MCA_plm_ssh_agent"), None);
        assert_eq!(told(&openmpi, "OMPI_MCA_coll"), None);
    }

    #[test]
    fn nodes_that_share_a_machine_share_no_memory() {
        let openmpi = OpenMpi { major: 5, shared_machine: Some(true), ..OpenMpi::default() };
        assert_eq!(told(&openmpi, "OMPI_MCA_btl").as_deref(), Some("self,tcp"));
        assert_eq!(told(&openmpi, "OMPI_MCA_coll").as_deref(), Some("^han"));
    }
}
