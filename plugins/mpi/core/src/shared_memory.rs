//! The names of a node's shared memory: MPICH removes it at its end, and leaves it behind when its ranks are killed.
//!
//! They follow from the job's key-value space (`MPIR_pmi_init`, `MPIDI_POSIX_init_local` of MPICH 4 and 5), which is another one
//! for each job; so nothing that lives is ever removed.

/// How often a program may start MPI anew, with sessions, before what it leaves behind isn't found.
const STARTS_MAX: u32 = 4;
const MARKER_PREFIX: &str = "mesos-mpi-";

/// The shared memory of one node of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    kvs_name: String,
    node: u32,
}

impl Segments {
    /// Of the node of that number in the job with that key-value space; none where the name can't be part of a file's.
    pub fn new(kvs_name: &str, node: u32) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let usable = !kvs_name.is_empty() && kvs_name.len() < 100 && kvs_name.chars().all(plain);
        usable.then(|| Self { kvs_name: kvs_name.to_string(), node })
    }

    /// All that the node's ranks may have made.
    pub fn names(&self) -> Vec<String> {
        let worlds = (1..=STARTS_MAX).map(|start| format!("{}-{start}", self.kvs_name));
        // 4.0 to 4.3 don't count.
        let worlds = worlds.chain([self.kvs_name.clone()]).map(|world| fnv1a(world.as_bytes()));
        worlds.flat_map(|world| ["shm", "vci"].map(|kind| format!("mpich_{kind}_{world:x}_{}", self.node))).collect()
    }

    /// The name of a file that stands for all of them, while they may be there.
    pub fn marker(&self) -> String {
        format!("{MARKER_PREFIX}{}-{}", self.kvs_name, self.node)
    }

    /// What such a file stands for.
    pub fn of_marker(name: &str) -> Option<Self> {
        let (kvs_name, node) = name.strip_prefix(MARKER_PREFIX)?.rsplit_once('-')?;
        Self::new(kvs_name, node.parse().ok()?)
    }
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_marker_leads_back_to_what_it_stands_for() {
        let segments = Segments::new("kvs_12ab", 3).unwrap();
        assert_eq!(Segments::of_marker(&segments.marker()), Some(segments.clone()));
        assert!(segments.names().contains(&format!("mpich_shm_{:x}_3", fnv1a(b"kvs_12ab-1"))));
        assert!(segments.names().contains(&format!("mpich_vci_{:x}_3", fnv1a(b"kvs_12ab"))));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["", "..", "a/b", "a-b"] {
            assert_eq!(Segments::new(name, 0), None, "{name:?}");
        }
        for marker in ["mesos-mpi-", "mesos-mpi-a", "mesos-mpi-../x-0", "other-a-0", "mesos-mpi-a-x"] {
            assert_eq!(Segments::of_marker(marker), None, "{marker:?}");
        }
    }
}
