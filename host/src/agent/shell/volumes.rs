//! Volumes on the disk: made and removed so that a crash leaves a whole one or none, found again at the start.
//!
//! ```text
//! volumes/USER/FRAMEWORK/NAME/manifest.json      what it reserves; without it there is no volume
//!                             data/              the owner's alone
//! volumes/.removed-…                             on its way out
//! ```
//!
//! Nothing here removes what it does not understand: that is set aside with a line, and the rest goes on.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use mesos_plugin_api::v1::Reason;
use mesos_plugin_api::volume_name_problem;
use serde_json::{Value, json};

use super::Shell;
use super::sandboxes::refusal;
use super::users::Account;
use crate::agent::event::{Event, LocalId, Refusal};
use crate::agent::volumes::Mount;
use crate::hex::{fresh_random, hex};
use crate::protocol::{VolumeId, VolumeRecord};

const MANIFEST: &str = "manifest.json";
const REMOVED: &str = ".removed-";

/// The folder of all volumes of an agent.
#[derive(Debug, Clone)]
pub(super) struct Volumes {
    root: PathBuf,
}

impl Volumes {
    pub(super) fn new(work_dir: &Path) -> Self {
        Self { root: work_dir.join("volumes") }
    }

    /// All that are whole; what was on its way out is removed now.
    pub(super) fn find(&self) -> Vec<VolumeRecord> {
        let mut found = Vec::new();
        for user in folders(&self.root) {
            if name_of(&user).starts_with(REMOVED) {
                remove_for_good(&user);
                continue;
            }
            for framework in folders(&user) {
                for volume in folders(&framework) {
                    let id = VolumeId { user: name_of(&user), framework: name_of(&framework), name: name_of(&volume) };
                    match read_manifest(&volume, &id) {
                        Ok(record) => found.push(record),
                        Err(_) if was_never_ready(&volume) => remove_for_good(&volume),
                        Err(error) => tracing::warn!("the volume in {} is left alone: {error}", volume.display()),
                    }
                }
                // Not while it has volumes.
                let _ = fs::remove_dir(&framework);
            }
            let _ = fs::remove_dir(&user);
        }
        found
    }

    fn make(&self, record: &VolumeRecord, account: &Account) -> Result<(), String> {
        let folder = self.folder(&record.id)?;
        let made = make_durably(&self.root, &folder, record, account);
        made.map_err(|(path, cause)| {
            // Half a volume would be in the way of the next one of its name.
            if cause.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_dir_all(&folder);
            }
            refusal(Reason::Volume, "make the volume's", &path, &cause).message
        })
    }

    /// Takes a volume away in one step; what is to be deleted then.
    fn take_out(&self, id: &VolumeId) -> Result<PathBuf, String> {
        let folder = self.folder(id)?;
        let out = self.root.join(format!("{REMOVED}{}", hex(&fresh_random::<8>())));
        let moved = fs::rename(&folder, &out);
        let parent = folder.parent().expect("it is below its framework's folder");
        let moved = moved.and_then(|()| sync(parent)).and_then(|()| sync(&self.root));
        moved.map_err(|cause| refusal(Reason::Volume, "remove the volume's", &folder, &cause).message)?;
        Ok(out)
    }

    /// The names come from a master, and become a path here.
    fn folder(&self, id: &VolumeId) -> Result<PathBuf, String> {
        let names = [&id.user, &id.framework, &id.name];
        match names.iter().find_map(|name| Some((name, volume_name_problem(name)?))) {
            Some((name, problem)) => Err(format!("{name:?} names no folder: it {problem}")),
            None => Ok(names.iter().fold(self.root.clone(), |path, name| path.join(name))),
        }
    }

    /// A link in the sandbox. Its user may be at work there already, so nothing in it is followed.
    fn mount(&self, sandbox: &Path, mount: &Mount, account: &Account) -> Result<(), Refusal> {
        let refused = |message| Refusal { reason: Reason::Volume, message };
        let data = self.folder(&mount.volume).map_err(refused)?.join("data");
        let owner = fs::metadata(&data).map_err(|cause| refusal(Reason::Volume, "find the volume's", &data, &cause))?;
        let uid = std::os::unix::fs::MetadataExt::uid(&owner);
        if uid != account.user.uid {
            let (name, user) = (&mount.volume.name, &mount.volume.user);
            return Err(refused(format!("the volume {name} is {user}'s, and the task would run as {}", account.name)));
        }
        let link = sandbox.join(&mount.path);
        match symlink(&data, &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let same = fs::read_link(&link).is_ok_and(|before| before == data);
                let message = format!("the sandbox has another {:?}; mount the volume at another path", mount.path);
                return if same { Ok(()) } else { Err(refused(message)) };
            }
            made => made.and_then(|()| {
                if is_root() { lchown(&link, Some(account.user.uid), Some(account.user.gid)) } else { Ok(()) }
            }),
        }
        .map_err(|cause| refusal(Reason::Volume, "mount a volume at", &link, &cause))
    }
}

impl Shell {
    /// On a thread of its own: it waits for the disk.
    pub(super) fn make_volume(&mut self, record: VolumeRecord) -> Option<Event> {
        let (volumes, events) = (self.volumes.clone(), self.events.clone());
        let id = record.id.clone();
        let account = match self.users.account(&id.user) {
            Ok(account) => account,
            Err(message) => return Some(Event::VolumeMade { id, outcome: Err(message) }),
        };
        tokio::task::spawn_blocking(move || {
            let outcome = volumes.make(&record, &account);
            // The one who waits for it ends after the shell.
            let _ = events.blocking_send(Event::VolumeMade { id, outcome });
        });
        None
    }

    pub(super) fn remove_volume(&mut self, id: VolumeId) {
        let (volumes, events) = (self.volumes.clone(), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let removed = volumes.take_out(&id);
            let (outcome, out) = (removed.as_ref().map(|_| ()).map_err(Clone::clone), removed.ok());
            let _ = events.blocking_send(Event::VolumeRemoved { id, outcome });
            if let Some(out) = out {
                remove_for_good(&out);
            }
        });
    }

    pub(super) fn mount(&mut self, id: LocalId, process: LocalId, sandbox: &Path, mounts: &[Mount]) -> Event {
        let outcome = match self.account_of(process) {
            Some(account) => mounts.iter().try_for_each(|mount| self.volumes.mount(sandbox, mount, account)),
            None => Err(Refusal { reason: Reason::Volume, message: "its process has ended".to_string() }),
        };
        Event::Mounted { id, outcome }
    }
}

/// Each step is on the disk before the next; the manifest, which makes it a volume, is the last.
fn make_durably(
    root: &Path,
    folder: &Path,
    record: &VolumeRecord,
    account: &Account,
) -> Result<(), (PathBuf, io::Error)> {
    let framework = folder.parent().expect("it is below its framework's folder");
    let user = framework.parent().expect("that is below its user's");
    for (path, above) in [(user, root), (framework, user)] {
        step(path, make_passage(path))?;
        step(above, sync(above))?;
    }
    step(folder, fs::create_dir(folder))?;
    step(folder, fs::set_permissions(folder, Permissions::from_mode(0o711)))?;
    let data = folder.join("data");
    step(&data, fs::create_dir(&data))?;
    step(&data, fs::set_permissions(&data, Permissions::from_mode(0o700)))?;
    if is_root() {
        step(&data, chown(&data, Some(account.user.uid), Some(account.user.gid)))?;
    }
    step(&data, sync(&data))?;
    let (new, manifest) = (folder.join("manifest.new"), folder.join(MANIFEST));
    step(&new, write_synced(&new, manifest_of(record).to_string().as_bytes()))?;
    step(&manifest, fs::rename(&new, &manifest))?;
    step(folder, sync(folder))?;
    step(framework, sync(framework))
}

fn step(path: &Path, done: io::Result<()>) -> Result<(), (PathBuf, io::Error)> {
    done.map_err(|error| (path.to_owned(), error))
}

/// Everyone may pass, nobody may look around.
fn make_passage(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::set_permissions(path, Permissions::from_mode(0o711)),
    }
}

fn write_synced(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn manifest_of(record: &VolumeRecord) -> Value {
    let VolumeId { user, framework, name } = &record.id;
    json!({ "user": user, "framework": framework, "name": name, "reserved": record.reserved.to_string() })
}

fn read_manifest(folder: &Path, id: &VolumeId) -> Result<VolumeRecord, String> {
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let manifest: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is no manifest: {error}", path.display()))?;
    let field = |name: &str| manifest[name].as_str().unwrap_or_default().to_string();
    let said = VolumeId { user: field("user"), framework: field("framework"), name: field("name") };
    if said != *id {
        return Err(format!("{} speaks of {said:?}", path.display()));
    }
    let reserved = field("reserved").parse();
    let reserved =
        reserved.map_err(|error| format!("{} reserves nothing that makes sense: {error}", path.display()))?;
    Ok(VolumeRecord { id: said, reserved })
}

/// A crash came before the manifest, so nobody has used it.
fn was_never_ready(folder: &Path) -> bool {
    let empty = match fs::read_dir(folder.join("data")) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    empty && matches!(fs::exists(folder.join(MANIFEST)), Ok(false))
}

fn remove_for_good(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("cannot remove {}: {error}", folder.display());
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut folders: Vec<PathBuf> = entries.filter(is_folder).map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
