//! A disk that is soon full.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{Skip, processes};

/// A file system of a few megabytes; unmounted when this is dropped, after everything that still uses it was ended.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of that size.
    ///
    /// # Errors
    /// The reason, where nothing can be mounted.
    ///
    /// # Panics
    /// When root can't mount it.
    pub fn new(megabytes: u32) -> Result<SmallDisk, Skip> {
        Skip::unless_root("mounting a small disk")?;
        let prefix = format!("mesos-test-disk-{}-", std::process::id());
        let folder =
            tempfile::Builder::new().prefix(&prefix).tempdir().expect("the folder for temporary files is writable");
        let size = format!("size={megabytes}m");
        let mounted = mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()));
        mounted.unwrap_or_else(|error| panic!("mount a disk at {}: {error}", folder.path().display()));
        Ok(SmallDisk { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let name =
            self.folder.path().file_name().and_then(|name| name.to_str()).expect("the name was made of ASCII letters");
        processes::end_all_naming(name);
        // Detached even if something should still hold it: the name is gone at once, the rest with the last user.
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::or_skip;

    #[test]
    fn a_small_disk_gets_full_and_goes_away() {
        let disk = or_skip!(SmallDisk::new(1));
        let path = disk.path().to_path_buf();
        let full = fs::write(path.join("large"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        drop(disk);
        assert!(!path.exists());
    }
}
