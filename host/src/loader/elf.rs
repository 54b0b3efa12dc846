//! Reads what a shared library says of itself without loading it, and refuses what the dynamic linker would choke on:
//! loading a truncated library kills the process with SIGBUS.

use std::{fmt, fs::File, str};

use mesos_plugin_api::declaration::{SECTION, Version};
use object::{
    Endianness,
    elf::{self, FileHeader64},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable},
    },
};

/// A declaration is a few KB; more is a mistake, and would be read at every `mesos --help`.
const DECLARATION_BYTES_MAX: u64 = 1 << 20;

type Header = FileHeader64<Endianness>;

/// What a file is compared with: normally this machine and this host, [`Machine::this`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What its libraries are built for.
    pub target: Target,
    /// The version of its C library, if that is glibc.
    pub glibc: Option<Glibc>,
    /// The version of the plugin API that this host speaks.
    pub api: Version,
}

/// What a library is built for, as the ELF header has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// `EI_CLASS`: 1 for 32 bits, 2 for 64.
    pub class: u8,
    /// `EI_DATA`: 1 for little endian, 2 for big.
    pub data: u8,
    /// `e_machine`.
    pub machine: u16,
}

/// A version of the GNU C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc {
    /// 2 since 1997.
    pub major: u32,
    /// Grows twice a year.
    pub minor: u32,
}

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) target: Target,
    /// The newest glibc that one of its symbols needs.
    pub(super) glibc: Option<Glibc>,
    pub(super) declaration: String,
}

/// Why a file is no plugin for this machine.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Its first bytes are others.
    #[error("is not a shared library (no ELF header)")]
    NotElf,
    /// It ends before what its own headers promise.
    #[error("is cut short: {length} bytes of at least {needed}; copy it again")]
    Truncated {
        /// Its length.
        length: u64,
        /// Where its last promised byte is.
        needed: u64,
    },
    /// Built for another kind of machine.
    #[error("is built for {theirs}, this machine is {ours}; build it for {ours}")]
    OtherTarget {
        /// What it is built for.
        theirs: Target,
        /// What it would have to be.
        ours: Target,
    },
    /// A program or an object file.
    #[error("is an ELF file but not a shared library")]
    NotLibrary,
    /// Built on a newer system.
    #[error("needs glibc {needed}, this machine has {have}; build it on an older system")]
    NewerGlibc {
        /// What one of its symbols needs.
        needed: Glibc,
        /// What is here.
        have: String,
    },
    /// A shared library of another kind.
    #[error("is a shared library but not a mesos plugin (no section {SECTION})")]
    NoDeclaration,
    /// Its headers contradict each other.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

impl Machine {
    /// This machine and this host.
    pub fn this() -> Self {
        let api = mesos_plugin_api::declaration::API_VERSION;
        Self { target: Target::this(), glibc: Glibc::this(), api: api.parse().expect("Cargo checks versions") }
    }
}

/// Reads the file's headers and declaration, and compares them with `machine`.
pub(super) fn inspect(file: &File, machine: &Machine) -> Result<Facts, ElfError> {
    let length = file.metadata()?.len();
    let cache = ReadCache::new(file);
    let target = target(&cache, length)?;
    if target != machine.target {
        return Err(ElfError::OtherTarget { theirs: target, ours: machine.target });
    }
    // Every target that is supported has 64 bits, so one that is ours has, too.
    let header = Header::parse(&cache).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    if header.e_type(endian) != elf::ET_DYN {
        return Err(ElfError::NotLibrary);
    }
    fits(header, endian, &cache, length)?;
    let sections = header.sections(endian, &cache).map_err(damaged)?;
    let declaration = declaration(&sections, endian, &cache)?;
    let glibc = needed_glibc(&sections, endian, &cache)?;
    match (glibc, machine.glibc) {
        (Some(needed), have) if have < Some(needed) => {
            let have = have.map_or_else(|| "none".to_owned(), |have| have.to_string());
            Err(ElfError::NewerGlibc { needed, have })
        }
        _ => Ok(Facts { target, glibc, declaration }),
    }
}

fn target<'data>(data: impl ReadRef<'data>, length: u64) -> Result<Target, ElfError> {
    let not_elf = |()| ElfError::NotElf;
    let magic = data.read_bytes_at(0, elf::ELFMAG.len() as u64).map_err(not_elf)?;
    if magic != elf::ELFMAG {
        return Err(ElfError::NotElf);
    }
    let short = |()| ElfError::Truncated { length, needed: size_of::<Header>() as u64 };
    let start = data.read_bytes_at(0, size_of::<Header>() as u64).map_err(short)?;
    let (class, order) = (start[4], start[5]);
    let machine = [start[18], start[19]];
    let machine = if order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    Ok(Target { class, data: order, machine })
}

/// Everything that the dynamic linker maps, and the section headers at the end, must be there.
fn fits<'data>(header: &Header, endian: Endianness, data: impl ReadRef<'data>, length: u64) -> Result<(), ElfError> {
    let table = |start: u64, count: u16, size: u16| start.saturating_add(u64::from(count) * u64::from(size));
    let segments_end = table(header.e_phoff(endian), header.e_phnum(endian), header.e_phentsize(endian));
    let sections_end = table(header.e_shoff(endian), header.e_shnum(endian), header.e_shentsize(endian));
    let check = |needed| if needed > length { Err(ElfError::Truncated { length, needed }) } else { Ok(()) };
    check(segments_end.max(sections_end))?;
    for segment in header.program_headers(endian, data).map_err(damaged)? {
        if segment.p_type(endian) == elf::PT_LOAD {
            check(segment.p_offset(endian).saturating_add(segment.p_filesz(endian)))?;
        }
    }
    Ok(())
}

fn declaration<'data, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Header, R>,
    endian: Endianness,
    data: R,
) -> Result<String, ElfError> {
    let (_, section) = sections.section_by_name(endian, SECTION.as_bytes()).ok_or(ElfError::NoDeclaration)?;
    let size = section.sh_size(endian);
    if size > DECLARATION_BYTES_MAX {
        let problem = format!("its declaration has {size} bytes, at most {DECLARATION_BYTES_MAX} are read");
        return Err(ElfError::Damaged(problem));
    }
    let bytes = section.data(endian, data).map_err(damaged)?;
    let text = str::from_utf8(bytes).map_err(|_| ElfError::Damaged("its declaration is not text".to_owned()))?;
    Ok(text.to_owned())
}

fn needed_glibc<'data, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Header, R>,
    endian: Endianness,
    data: R,
) -> Result<Option<Glibc>, ElfError> {
    let mut newest = None;
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data).map_err(damaged)? else {
        return Ok(None);
    };
    let strings = sections.strings(endian, data, strings).map_err(damaged)?;
    while let Some((_, mut versions)) = libraries.next().map_err(damaged)? {
        while let Some(version) = versions.next().map_err(damaged)? {
            let name = version.name(endian, strings).map_err(damaged)?;
            // Others, such as GLIBC_ABI_DT_RELR or GCC_3.0, have no number of glibc's.
            let number = name.strip_prefix(b"GLIBC_").and_then(|number| str::from_utf8(number).ok());
            newest = newest.max(number.and_then(Glibc::parse));
        }
    }
    Ok(newest)
}

fn damaged(error: object::Error) -> ElfError {
    ElfError::Damaged(error.to_string())
}

impl Target {
    /// What this program is built for.
    pub fn this() -> Self {
        let machine = match std::env::consts::ARCH {
            "x86_64" => elf::EM_X86_64,
            "aarch64" => elf::EM_AARCH64,
            "riscv64" => elf::EM_RISCV,
            "powerpc64" => elf::EM_PPC64,
            "s390x" => elf::EM_S390,
            "loongarch64" => elf::EM_LOONGARCH,
            arch => unreachable!("mesos is built for 64 bit machines that have a name above, not for {arch}"),
        };
        let data = if cfg!(target_endian = "little") { 1 } else { 2 };
        Self { class: 2, data, machine: machine.0 }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.class == 1 { 32 } else { 64 };
        let order = if self.data == 2 { "big endian" } else { "little endian" };
        match elf::Machine(self.machine) {
            elf::EM_X86_64 if self.class == 2 => f.write_str("x86_64"),
            elf::EM_386 => f.write_str("x86 (32 bit)"),
            elf::EM_AARCH64 if self.data == 1 => f.write_str("aarch64"),
            elf::EM_ARM => f.write_str("arm (32 bit)"),
            elf::EM_RISCV => write!(f, "riscv{bits}"),
            elf::EM_PPC64 if self.data == 1 => f.write_str("powerpc64le"),
            elf::EM_PPC64 => f.write_str("powerpc64"),
            elf::EM_S390 => f.write_str("s390x"),
            elf::EM_LOONGARCH => write!(f, "loongarch{bits}"),
            other => write!(f, "machine {} ({bits} bit, {order})", other.0),
        }
    }
}

impl Glibc {
    /// The C library that this process runs on.
    pub fn this() -> Option<Self> {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: returns a pointer to a string constant of the C library.
            let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
            version.to_str().ok().and_then(Self::parse)
        }
        #[cfg(not(target_env = "gnu"))]
        None
    }

    /// Reads `2.36`; a third number doesn't matter to symbols.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some(Self { major: numbers.next()??, minor: numbers.next()?? })
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
