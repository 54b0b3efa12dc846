//! Which folders serve a second task, and that nobody is shown another's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attic::Attic;
use super::folder::Look;
use super::*;
use crate::agent::shell::config::Bounds;
use crate::launcher::User;

const UNTOUCHED: Look = Look { output_bytes: Some(0), is_untouched: true };

type Leave = &'static dyn Fn(&Path);

fn user() -> User {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    User { uid, gid, groups: vec![gid] }
}

/// A sandbox whose task has written nothing.
fn silent(root: &Path, name: &str) -> PathBuf {
    let path = root.join("f").join(name);
    make(&path, None, &user()).unwrap();
    for output in ["stdout", "stderr"] {
        fs::write(path.join(output), "").unwrap();
        fs::set_permissions(path.join(output), fs::Permissions::from_mode(0o644)).unwrap();
    }
    path
}

fn key(name: &str) -> Key {
    ("f".into(), name.into())
}

fn attic(root: &Path, sandboxes_max: usize) -> Attic {
    Attic::open(&root.join("nothing"), Bounds { sandboxes_max, ..Bounds::default() })
}

#[test]
fn what_a_task_has_left_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let path = silent(root.path(), "t");
    assert_eq!(look(&path, &user()), UNTOUCHED);
    let traces: [(&str, Leave); 8] = [
        ("a file", &|path| fs::write(path.join("file"), "").unwrap()),
        ("a folder", &|path| fs::create_dir(path.join("folder")).unwrap()),
        ("a link", &|path| symlink("stdout", path.join("link")).unwrap()),
        ("another name for an output", &|path| fs::hard_link(path.join("stderr"), path.join("../kept")).unwrap()),
        ("an output of another mode", &|path| set_mode(&path.join("stdout"), 0o600)),
        ("a folder of another mode", &|path| set_mode(path, 0o755)),
        ("an output less", &|path| fs::remove_file(path.join("stderr")).unwrap()),
        ("another kind of output", &|path| {
            fs::remove_file(path.join("stdout")).unwrap();
            symlink("stderr", path.join("stdout")).unwrap();
        }),
    ];
    for (number, (what, leave)) in traces.into_iter().enumerate() {
        let path = silent(root.path(), &format!("t{number}"));
        leave(&path);
        assert!(!look(&path, &user()).is_untouched, "{what}");
        let _ = fs::remove_file(path.join("../kept"));
    }
    fs::write(path.join("stdout"), "12345").unwrap();
    fs::write(path.join("stderr"), "67").unwrap();
    assert_eq!(look(&path, &user()), Look { output_bytes: Some(7), is_untouched: false });
    assert_eq!(look(&root.path().join("f/never"), &user()), Look::default());
    let other = User { uid: user().uid + 1, ..user() };
    assert!(!look(&silent(root.path(), "other"), &other).is_untouched, "it belongs to another user");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_spare_folder_takes_the_next_tasks_name_but_never_an_existing_folders_place() {
    let root = tempfile::tempdir().unwrap();
    let spare = silent(root.path(), "first");
    let inode = fs::metadata(&spare).unwrap().ino();
    let next = root.path().join("f/next");
    assert!(!make(&next, Some(&spare), &user()).unwrap());
    assert!(!spare.exists() && fs::metadata(&next).unwrap().ino() == inode);

    let taken = root.path().join("f/taken");
    fs::create_dir(&taken).unwrap();
    assert!(make(&taken, Some(&next), &user()).unwrap(), "the name was used before");
    assert_eq!(fs::read_dir(&taken).unwrap().count(), 0);

    let gone = root.path().join("f/gone");
    assert!(!make(&root.path().join("f/new"), Some(&gone), &user()).unwrap(), "a spare that is gone is no loss");
}

#[test]
fn spare_folders_stay_with_their_framework_and_user() {
    let root = tempfile::tempdir().unwrap();
    let mut attic = attic(root.path(), 10);
    let path = silent(root.path(), "t");
    attic.add_spare(key("t"), path.clone(), &user());
    let other_user = User { uid: user().uid + 1, ..user() };
    let other_group = User { gid: user().gid + 1, ..user() };
    assert_eq!(attic.take_spare(&Owner::of(&path, &other_user)), None);
    assert_eq!(attic.take_spare(&Owner::of(&path, &other_group)), None);
    assert_eq!(attic.take_spare(&Owner::of(&root.path().join("g/t"), &user())), None);
    let owner = Owner::of(&root.path().join("f/next"), &user());
    assert_eq!(attic.take_spare(&owner), Some(path));
    assert_eq!(attic.take_spare(&owner), None, "once");
}

#[test]
fn who_was_shown_a_sandbox_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(root.path());
    let path = silent(root.path(), "t");
    sandboxes.add(key("t"), &path, None);
    let shown = sandboxes.find(&"f".into(), &"t".into()).unwrap();
    assert_eq!(shown.path.as_deref(), Some(&*path));
    assert!(!sandboxes.end(key("t"), true), "somebody may still read it");
    assert!(*shown.ended.borrow());

    sandboxes.add(key("u"), &path, None);
    assert!(!sandboxes.end(key("u"), false), "something is left in it");
}

#[test]
fn a_silent_tasks_folder_is_never_looked_at_again() {
    let root = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(root.path());
    let path = root.path().join("sandboxes/f/t");
    make(&path, None, &user()).unwrap();
    sandboxes.add(key("t"), &path, None);
    assert!(sandboxes.end(key("t"), true));
    // Another's by now.
    fs::write(path.join("stdout"), "of another task").unwrap();
    let found = sandboxes.find(&"f".into(), &"t".into()).unwrap();
    assert_eq!(found.path, None);
    assert!(*found.ended.borrow());

    sandboxes.add(key("t"), &path, None);
    assert!(sandboxes.find(&"f".into(), &"t".into()).unwrap().path.is_some(), "the name is a new task's");
}

#[test]
fn silent_tasks_grow_old_like_others_and_take_their_spare_folders_with_them() {
    let root = tempfile::tempdir().unwrap();
    let (mut attic, sandboxes) = (attic(root.path(), 2), Sandboxes::new(root.path()));
    let paths = ["a", "b", "c", "d"].map(|name| (name, silent(root.path(), name)));
    for (name, path) in &paths {
        sandboxes.add(key(name), path, None);
        assert!(sandboxes.end(key(name), true));
        attic.add_spare(key(name), path.clone(), &user());
    }
    let owner = Owner::of(&paths[0].1, &user());
    assert_eq!(attic.take_spare(&owner).as_ref(), Some(&paths[3].1), "the last");
    assert_eq!(attic.take_old(&sandboxes), [paths[0].1.clone(), paths[1].1.clone()]);
    assert!(!sandboxes.was_silent(&key("a")) && sandboxes.was_silent(&key("c")));
    assert_eq!(attic.take_spare(&owner).as_ref(), Some(&paths[2].1));
    assert_eq!(attic.take_spare(&owner), None, "what is removed is no spare one");
    assert!(attic.next_age_out().is_some_and(|left| left > Duration::ZERO));
}

#[test]
fn a_silent_name_that_is_used_again_gives_no_spare_folder_and_is_not_old() {
    let root = tempfile::tempdir().unwrap();
    let (mut attic, sandboxes) = (attic(root.path(), 0), Sandboxes::new(root.path()));
    let path = silent(root.path(), "t");
    attic.add_spare(key("t"), path.clone(), &user());
    attic.keep_silent(&key("t"));
    assert_eq!(attic.take_spare(&Owner::of(&path, &user())), None);
    assert_eq!(attic.take_old(&sandboxes), Vec::<PathBuf>::new());
}
