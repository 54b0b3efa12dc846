//! What an ELF file says to the loader.

use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, DynamicTag, FileHeader32, FileHeader64, PT_DYNAMIC, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// The libraries that it needs, and where it wants them looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    pub(super) needed: Vec<String>,
    pub(super) rpath: Option<Vec<u8>>,
    pub(super) runpath: Option<Vec<u8>>,
}

impl Dynamic {
    /// None for what is no ELF file; empty for a program that needs no loader.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        match FileKind::parse(data).ok()? {
            FileKind::Elf64 => read::<FileHeader64<Endianness>>(data),
            FileKind::Elf32 => read::<FileHeader32<Endianness>>(data),
            _ => None,
        }
    }
}

/// By segments, as the loader does: sections may have been stripped.
fn read<Elf: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Dynamic> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC) else {
        return Some(Dynamic::default());
    };
    let entries = segment.dynamic(endian, data).ok()??;
    let value = |tag: DynamicTag| {
        let is_it = |entry: &&Elf::Dyn| entry.tag(endian) == tag;
        entries.iter().find(is_it).map(|entry| entry.d_val(endian).into())
    };
    let address: u64 = value(DT_STRTAB)?;
    let size: u64 = value(DT_STRSZ)?;
    let load = segments.iter().find(|segment| {
        let (start, length): (u64, u64) = (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into());
        segment.p_type(endian) == PT_LOAD && (start..start.saturating_add(length)).contains(&address)
    })?;
    let offset = (address - load.p_vaddr(endian).into()).checked_add(load.p_offset(endian).into())?;
    let (start, length) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
    let strings = data.get(start..start.checked_add(length)?)?;
    let text = |at: u64| {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        Some(rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
    };
    let needed = entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED);
    Some(Dynamic {
        needed: needed
            .filter_map(|entry| text(entry.d_val(endian).into()))
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .collect(),
        rpath: value(DT_RPATH).and_then(text),
        runpath: value(DT_RUNPATH).and_then(text),
    })
}
