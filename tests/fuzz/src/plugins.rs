//! Files of the plugins folder, and what they declare.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use mesos_host::loader::{Machine, PluginFile};
use mesos_plugin_api::declaration::{Declaration, Preamble};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The first byte says whether the others are a whole file, a declaration in a file that is sound, or one by itself.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => file(rest),
        1 => file(&library(rest)),
        _ => declaration(rest),
    }
}

fn file(bytes: &[u8]) {
    let mut memory = File::from(memfd_create(c"plugin", MFdFlags::MFD_CLOEXEC).expect("memory"));
    memory.write_all(bytes).expect("memory takes it");
    let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    match PluginFile::read_for(&path, &Machine::this()) {
        Ok(plugin) => {
            assert!(Machine::this().api.takes(&plugin.declaration.api));
            is_printable(&plugin.name_and_version());
        }
        Err(problem) => is_printable(&problem.to_string()),
    }
}

fn declaration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let preamble = Preamble::parse(text);
    match Declaration::parse(text) {
        Ok(declaration) => {
            let preamble = preamble.expect("what is a declaration has a preamble");
            assert_eq!((&preamble.name, &preamble.version), (&declaration.name, &declaration.version));
            let version = declaration.version.to_string();
            assert_eq!(version.parse().as_ref(), Ok(&declaration.version), "a version is written as it is read");
            assert!(declaration.version.matches(&version));
            commands(&declaration.commands);
        }
        Err(error) => is_printable(&error.to_string()),
    }
    if let Err(error) = Preamble::parse(text) {
        is_printable(&error.to_string());
    }
}

fn commands(commands: &[mesos_plugin_api::declaration::Command]) {
    for command in commands {
        is_printable(&command.name);
        is_printable(&command.help);
        for argument in &command.arguments {
            is_printable(&argument.help);
        }
        self::commands(&command.commands);
    }
}

fn is_printable(line: &str) {
    assert!(!line.contains(char::is_control), "{line:?} neither ends its line nor speaks to the terminal");
}

/// The smallest library for this machine that declares this: a header, the two sections and their names.
fn library(declaration: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.mesos.plugin\0.shstrtab\0";
    let machine = Machine::this().target.machine;
    let (names_at, declaration_at) = (64, 64 + NAMES.len());
    let sections_at = (declaration_at + declaration.len()).next_multiple_of(8);
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([3, 0]);
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend([0; 16]);
    file.extend((sections_at as u64).to_le_bytes());
    file.extend([0; 4]);
    [64, 56, 0, 64, 3, 2].into_iter().for_each(|half: u16| file.extend(half.to_le_bytes()));
    file.extend(NAMES);
    file.extend(declaration);
    file.resize(sections_at, 0);
    let mut section = |name: u32, kind: u32, at: usize, size: usize| {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        [0, 0, at as u64, size as u64].into_iter().for_each(|word: u64| file.extend(word.to_le_bytes()));
        file.extend([0; 8]);
        [1u64, 0].into_iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    section(0, 0, 0, 0);
    section(1, 1, declaration_at, declaration.len());
    section(15, 3, names_at, NAMES.len());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the declarations in it would never be read.
    #[test]
    fn the_library_is_sound() {
        let api = mesos_plugin_api::declaration::API_VERSION;
        let text = format!("name = \"a\"\nversion = \"0.1.0\"\napi = \"{api}\"\nabout = \"a\"\n");
        let folder = std::env::temp_dir();
        let path = folder.join(format!("mesos-fuzz-{}.so", std::process::id()));
        std::fs::write(&path, library(text.as_bytes())).expect("a file");
        let read = PluginFile::read(&path);
        std::fs::remove_file(&path).expect("it was there");
        assert_eq!(read.expect("a plugin").declaration.name, "a");
    }
}
