//! Code objects: what an AMDGPU ELF file says, checked, before any of it reaches the device.
//!
//! LLVM AMDGPUUsage, "ELF Code Object" and "Code Object Metadata"; code object versions 4 to 6. Nothing here trusts the file:
//! every offset and size is checked, and what the device could not run is refused with a reason.

mod metadata;

use std::collections::BTreeMap;
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};

pub use metadata::{KernelMetadata, MetadataError};

use super::pages::PAGE_BYTES;

type Header = elf::FileHeader64<LE>;

/// `EM_AMDGPU`.
const MACHINE_AMDGPU: u16 = 224;
/// `ELFOSABI_AMDGPU_HSA`.
const OSABI_HSA: u8 = 64;
/// `EI_ABIVERSION` of code object versions 4, 5 and 6.
const ABI_VERSIONS: Range<u8> = 2..5;
/// `EF_AMDGPU_MACH`: which processor, in `e_flags`.
const PROCESSOR_MASK: u32 = 0xff;
/// `EF_AMDGPU_MACH_AMDGCN_GFX803`.
const PROCESSOR_GFX803: u32 = 0x2a;
/// `NT_AMDGPU_METADATA`.
const NOTE_METADATA: u32 = 32;
/// Bytes of a kernel descriptor.
const DESCRIPTOR_BYTES: u64 = 64;
/// Images larger than this are refused, so that a damaged size cannot exhaust the host.
const LARGEST_IMAGE: u64 = 256 << 20;

/// Why a file is no code object that this device can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The ELF structure itself.
    #[error("not a readable 64-bit little-endian ELF file: {0}")]
    Elf(String),
    /// A header field that makes it something else.
    #[error("not an AMDGPU HSA code object: {field} is {found}, expected {expected}")]
    NotACodeObject {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// What code objects have there.
        expected: &'static str,
    },
    /// Code for another processor.
    #[error("the code object is for {found}; this agent is gfx803")]
    WrongProcessor {
        /// The processor, or its number.
        found: String,
    },
    /// A segment that cannot be placed.
    #[error("loadable segment {index}: {reason}")]
    Segment {
        /// Its place among the program headers.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Code that must be patched when it is loaded.
    #[error(
        "the code object holds {count} relocations; this loader applies none (link without global variables or function pointers)"
    )]
    Relocations {
        /// How many.
        count: u64,
    },
    /// A kernel symbol that does not name a descriptor.
    #[error("kernel {name}: {reason}")]
    Kernel {
        /// The kernel descriptor's symbol.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The metadata note.
    #[error("code object metadata: {0}")]
    Metadata(#[from] MetadataError),
}

/// A loadable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies in the image, in bytes.
    pub image: Range<u64>,
    /// Its contents in the file, which may be shorter than its place: the rest is zero.
    pub file: Range<usize>,
    /// Whether the device may execute it.
    pub executable: bool,
    /// Whether the device may write it.
    pub writable: bool,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Offset of its descriptor in the image, in bytes.
    pub descriptor: u64,
    /// What the compiler says about it.
    pub metadata: KernelMetadata,
}

/// A code object that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// In ascending order, page-disjoint.
    pub segments: Vec<Segment>,
    /// Bytes of the whole image.
    pub image_bytes: u64,
    /// By the name of the descriptor's symbol (`NAME.kd`).
    pub kernels: BTreeMap<String, Kernel>,
}

/// Reads and checks a file. `file` must be 8-byte aligned, as the ELF structures are read in place.
///
/// # Errors
/// The file is malformed, for another processor, or needs what this loader does not do.
pub fn read(file: &[u8]) -> Result<CodeObject, LoadError> {
    let header = Header::parse(file).map_err(unreadable)?;
    if header.is_big_endian() {
        return Err(LoadError::Elf("it is big-endian".to_owned()));
    }
    check_header(header)?;
    let program_headers = header.program_headers(LE, file).map_err(unreadable)?;
    let segments = segments(program_headers, file)?;
    refuse_relocations(header, program_headers, file)?;
    let image_bytes = segments.last().map_or(0, |segment| segment.image.end);
    let metadata = metadata::read(note(program_headers, file)?)?;
    let kernels = kernels(header, file, &segments, metadata)?;
    Ok(CodeObject { segments, image_bytes, kernels })
}

fn unreadable(error: object::read::Error) -> LoadError {
    LoadError::Elf(error.to_string())
}

fn check_header(header: &Header) -> Result<(), LoadError> {
    let differs = |field, found, expected| Err(LoadError::NotACodeObject { field, found, expected });
    let machine: u16 = header.e_machine.get(LE).0;
    if machine != MACHINE_AMDGPU {
        return differs("e_machine", machine.into(), "224 (EM_AMDGPU)");
    }
    if header.e_ident.os_abi.0 != OSABI_HSA {
        return differs("EI_OSABI", header.e_ident.os_abi.0.into(), "64 (HSA)");
    }
    if !ABI_VERSIONS.contains(&header.e_ident.abi_version) {
        return differs("EI_ABIVERSION", header.e_ident.abi_version.into(), "2 to 4 (code object version 4 to 6)");
    }
    let kind = header.e_type.get(LE);
    if kind != elf::ET_DYN {
        return differs("e_type", kind.0.into(), "3 (shared object)");
    }
    match header.e_flags.get(LE).0 & PROCESSOR_MASK {
        PROCESSOR_GFX803 => Ok(()),
        other => Err(LoadError::WrongProcessor { found: processor_name(other) }),
    }
}

/// `EF_AMDGPU_MACH` values of the processors people are likely to mix up with this one.
fn processor_name(number: u32) -> String {
    let known = match number {
        0x28 => "gfx801",
        0x29 => "gfx802",
        0x2c => "gfx900",
        0x2f => "gfx906",
        0x30 => "gfx908",
        0x33 => "gfx1010",
        0x36 => "gfx1030",
        0x37 => "gfx1031",
        0x38 => "gfx1032",
        0x3f => "gfx90a",
        0x41 => "gfx1100",
        0x44 => "gfx1103",
        0x46 => "gfx1101",
        0x47 => "gfx1102",
        0x48 => "gfx1200",
        0x4c => "gfx942",
        0x4e => "gfx1201",
        0x51 => "gfx9-generic",
        0x52 => "gfx10-1-generic",
        0x53 => "gfx10-3-generic",
        0x54 => "gfx11-generic",
        0x59 => "gfx12-generic",
        _ => return format!("processor number 0x{number:x}"),
    };
    known.to_owned()
}

fn segments(headers: &[elf::ProgramHeader64<LE>], file: &[u8]) -> Result<Vec<Segment>, LoadError> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, header) in headers.iter().enumerate().filter(|(_, header)| header.p_type(LE) == elf::PT_LOAD) {
        let bad = |reason| LoadError::Segment { index, reason };
        let start: u64 = header.p_vaddr(LE);
        let end = start
            .checked_add(header.p_memsz(LE))
            .filter(|end| *end <= LARGEST_IMAGE)
            .ok_or_else(|| bad("its address is too high"))?;
        if start == end {
            continue;
        }
        if header.p_filesz(LE) > header.p_memsz(LE) {
            return Err(bad("it is larger in the file than in memory"));
        }
        let file_start = header.p_offset(LE);
        let in_file = file_start.checked_add(header.p_filesz(LE)).filter(|end| *end <= file.len() as u64);
        let file_end = in_file.ok_or_else(|| bad("its contents lie beyond the end of the file"))?;
        let page = PAGE_BYTES as u64;
        if segments.last().is_some_and(|before| before.image.end.next_multiple_of(page) > start / page * page) {
            return Err(bad("it shares a page with the segment before it, or lies below it"));
        }
        let flags = header.p_flags(LE).0;
        let (executable, writable) = (flags & elf::PF_X.0 != 0, flags & elf::PF_W.0 != 0);
        if executable && writable {
            return Err(bad("it is both writable and executable"));
        }
        // The casts hold: both ends are at most file.len().
        segments.push(Segment { image: start..end, file: file_start as usize..file_end as usize, executable, writable });
    }
    if segments.is_empty() {
        return Err(LoadError::Segment { index: 0, reason: "there is none" });
    }
    Ok(segments)
}

fn refuse_relocations(header: &Header, program_headers: &[elf::ProgramHeader64<LE>], file: &[u8]) -> Result<(), LoadError> {
    let mut count = 0_u64;
    for program_header in program_headers {
        let Some(entries) = program_header.dynamic(LE, file).map_err(unreadable)? else { continue };
        for entry in entries {
            let entry_bytes = match entry.tag(LE) {
                elf::DT_RELASZ | elf::DT_PLTRELSZ => size_of::<elf::Rela64<LE>>(),
                elf::DT_RELSZ => size_of::<elf::Rel64<LE>>(),
                elf::DT_RELRSZ => size_of::<u64>(),
                _ => continue,
            };
            count = count.saturating_add(entry.val(LE).div_ceil(entry_bytes as u64));
        }
    }
    for section in header.section_headers(LE, file).map_err(unreadable)? {
        let entry_bytes = match section.sh_type(LE) {
            elf::SHT_RELA => size_of::<elf::Rela64<LE>>(),
            elf::SHT_REL => size_of::<elf::Rel64<LE>>(),
            _ => continue,
        };
        count = count.max(section.sh_size(LE).div_ceil(entry_bytes as u64));
    }
    if count == 0 { Ok(()) } else { Err(LoadError::Relocations { count }) }
}

/// The contents of the metadata note.
fn note<'file>(program_headers: &[elf::ProgramHeader64<LE>], file: &'file [u8]) -> Result<&'file [u8], LoadError> {
    for program_header in program_headers {
        let Some(mut notes) = program_header.notes(LE, file).map_err(unreadable)? else { continue };
        while let Some(note) = notes.next().map_err(unreadable)? {
            if note.n_type(LE) == elf::NoteType(NOTE_METADATA) && note.name() == b"AMDGPU" {
                return Ok(note.desc());
            }
        }
    }
    Err(MetadataError::Missing.into())
}

fn kernels(
    header: &Header,
    file: &[u8],
    segments: &[Segment],
    metadata: Vec<KernelMetadata>,
) -> Result<BTreeMap<String, Kernel>, LoadError> {
    let sections = header.sections(LE, file).map_err(unreadable)?;
    let symbols = sections.symbols(LE, file, elf::SHT_DYNSYM).map_err(unreadable)?;
    let mut addresses = BTreeMap::new();
    for symbol in symbols.iter().filter(|symbol| symbol.st_type() == elf::STT_OBJECT && symbol.st_shndx(LE) != elf::SHN_UNDEF) {
        let name = symbol.name(LE, symbols.strings()).map_err(unreadable)?;
        if let Ok(name) = str::from_utf8(name) {
            addresses.insert(name, (symbol.st_value(LE), symbol.st_size(LE)));
        }
    }
    let mut kernels = BTreeMap::new();
    for metadata in metadata {
        let bad = |reason| LoadError::Kernel { name: metadata.symbol.clone(), reason };
        let (address, bytes) =
            addresses.get(metadata.symbol.as_str()).copied().ok_or_else(|| bad("no dynamic symbol has this name"))?;
        if bytes != DESCRIPTOR_BYTES || !address.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(bad("its symbol is no kernel descriptor: 64 bytes, 64-byte aligned"));
        }
        let end = address.checked_add(bytes).ok_or_else(|| bad("its descriptor wraps around"))?;
        if !segments.iter().any(|segment| segment.image.start <= address && end <= segment.image.end) {
            return Err(bad("its descriptor lies outside every segment"));
        }
        if kernels.insert(metadata.symbol.clone(), Kernel { descriptor: address, metadata: metadata.clone() }).is_some() {
            return Err(bad("the metadata names it twice"));
        }
    }
    Ok(kernels)
}

#[cfg(test)]
mod tests;
