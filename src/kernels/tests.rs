use std::collections::{BTreeMap, BTreeSet};

use object::elf::{FileHeader64, NoteType, SHT_DYNSYM, SHT_SYMTAB, STT_OBJECT, SectionType};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use rmpv::Value;
use sha2::{Digest, Sha256};

use super::*;

/// LLVM AMDGPUUsage, "Note Records".
const NT_AMDGPU_METADATA: NoteType = NoteType(32);

fn manifest() -> serde_json::Value {
    serde_json::from_str(include_str!("../../kernels/manifest.json")).unwrap()
}

fn header(code: &CodeObject) -> &'static FileHeader64<LittleEndian> {
    FileHeader64::<LittleEndian>::parse(code.bytes).unwrap()
}

/// The names in a symbol table (`SHT_DYNSYM` or `SHT_SYMTAB`) that are kernel descriptors.
fn kernel_descriptors(code: &CodeObject, table: SectionType) -> BTreeSet<String> {
    let elf = header(code);
    let sections = elf.sections(LittleEndian, code.bytes).unwrap();
    let symbols = sections.symbols(LittleEndian, code.bytes, table).unwrap();
    symbols
        .iter()
        .filter(|symbol| symbol.st_type() == STT_OBJECT && symbol.st_size(LittleEndian) == 64)
        .map(|symbol| String::from_utf8(symbol.name(LittleEndian, symbols.strings()).unwrap().to_vec()).unwrap())
        .collect()
}

/// The metadata maps of the kernels, by name (LLVM AMDGPUUsage, "Code Object Metadata").
fn metadata(code: &CodeObject) -> BTreeMap<String, Value> {
    let elf = header(code);
    let note = elf
        .program_headers(LittleEndian, code.bytes)
        .unwrap()
        .iter()
        .find_map(|segment| {
            let mut notes = segment.notes(LittleEndian, code.bytes).unwrap()?;
            while let Some(note) = notes.next().unwrap() {
                if note.n_type(LittleEndian) == NT_AMDGPU_METADATA && note.name() == b"AMDGPU" {
                    return Some(note.desc().to_vec());
                }
            }
            None
        })
        .unwrap();
    let root = rmpv::decode::read_value(&mut note.as_slice()).unwrap();
    let kernels = field(&root, "amdhsa.kernels").as_array().unwrap().clone();
    kernels.into_iter().map(|kernel| (field(&kernel, ".name").as_str().unwrap().to_owned(), kernel)).collect()
}

fn field<'value>(map: &'value Value, key: &str) -> &'value Value {
    &map.as_map().unwrap().iter().find(|(name, _)| name.as_str() == Some(key)).unwrap_or_else(|| panic!("no {key} in {map}")).1
}

fn number(map: &Value, key: &str) -> usize {
    usize::try_from(field(map, key).as_u64().unwrap()).unwrap()
}

#[test]
fn the_manifest_holds_the_digest_of_every_code_object() {
    let manifest = manifest();
    let listed = manifest["code_objects"].as_object().unwrap();
    assert_eq!(listed.len(), PREBUILT.len());
    for code in &PREBUILT {
        let entry = &listed[code.target];
        let digest: String = Sha256::digest(code.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry["sha256"], digest.as_str(), "{}", code.target);
        assert_eq!(entry["bytes"], code.bytes.len(), "{}", code.target);
    }
}

#[test]
fn every_code_object_holds_every_kernel_and_no_other() {
    let expected: BTreeSet<String> = Kernel::ALL.iter().map(|kernel| format!("{kernel}.kd")).collect();
    for code in &PREBUILT {
        assert_eq!(kernel_descriptors(code, SHT_DYNSYM), expected, "{}", code.target);
    }
}

/// ROCr's loader looks for kernels in the static symbol table (`libamdhsacode/amd_hsa_code.cpp`); a stripped code object loads there
/// and holds no kernel.
#[test]
fn the_static_symbol_table_names_every_kernel_too() {
    for code in &PREBUILT {
        assert_eq!(kernel_descriptors(code, SHT_SYMTAB), kernel_descriptors(code, SHT_DYNSYM), "{}", code.target);
    }
}

#[test]
fn argument_structs_are_laid_out_as_the_compiler_laid_them_out() {
    let covered: BTreeSet<Kernel> = ALL_SLOTS.iter().flat_map(|(kernels, _)| kernels.iter().copied()).collect();
    assert_eq!(covered, Kernel::ALL.into_iter().collect());
    for code in &PREBUILT {
        let metadata = metadata(code);
        for (kernel, slots) in ALL_SLOTS.iter().flat_map(|(kernels, slots)| kernels.iter().map(move |kernel| (kernel, slots))) {
            let kernel_metadata = &metadata[kernel.name()];
            let compiled: Vec<(usize, usize)> = field(kernel_metadata, ".args")
                .as_array()
                .unwrap()
                .iter()
                .map(|argument| (number(argument, ".offset"), number(argument, ".size")))
                .collect();
            let ours: Vec<(usize, usize)> = slots.iter().map(|slot| (slot.offset, slot.size)).collect();
            assert_eq!(ours, compiled, "{kernel} on {}", code.target);
            let end = slots.last().map_or(0, |slot| slot.offset + slot.size);
            assert!(number(kernel_metadata, ".kernarg_segment_size") >= end, "{kernel} on {}", code.target);
        }
    }
}

#[test]
fn workgroup_sizes_are_those_the_kernels_require() {
    for code in &PREBUILT {
        let metadata = metadata(code);
        for kernel in Kernel::ALL {
            let required: Vec<u64> = field(&metadata[kernel.name()], ".reqd_workgroup_size")
                .as_array()
                .unwrap()
                .iter()
                .map(|size| size.as_u64().unwrap())
                .collect();
            assert_eq!(required, kernel.workgroup().map(u64::from), "{kernel} on {}", code.target);
        }
    }
}

#[test]
fn arguments_are_written_at_their_offsets_with_zero_padding() {
    let bytes = Swap64Arguments { cell: DevicePtr(0x1122_3344_5566_7788), seen: DevicePtr(2), first_token: 3, rounds: 0xaabb_ccdd }
        .to_bytes();
    assert_eq!(bytes.len(), 28);
    assert_eq!(bytes[..8], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    assert_eq!(bytes[24..], [0xdd, 0xcc, 0xbb, 0xaa]);
    assert!(NopArguments {}.to_bytes().is_empty());
}

#[test]
fn an_agent_gets_its_own_code_object_else_the_generic_one() {
    for (isa, target) in [
        ("amdgcn-amd-amdhsa--gfx803", "gfx803"),
        ("gfx803", "gfx803"),
        ("amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-", "gfx90a"),
        ("amdgcn-amd-amdhsa--gfx906:sramecc-:xnack-", "gfx906"),
        ("amdgcn-amd-amdhsa--gfx902:xnack+", "gfx9-generic"),
        ("amdgcn-amd-amdhsa--gfx90c:xnack-", "gfx9-generic"),
        ("amdgcn-amd-amdhsa--gfx1012:xnack-", "gfx10-1-generic"),
        ("amdgcn-amd-amdhsa--gfx1036", "gfx10-3-generic"),
        ("amdgcn-amd-amdhsa--gfx1153", "gfx11-generic"),
        ("amdgcn-amd-amdhsa--gfx1201", "gfx1201"),
        ("amdgcn-amd-amdhsa--gfx11-generic", "gfx11-generic"),
    ] {
        assert_eq!(select(isa).unwrap().target, target, "{isa}");
    }
}

#[test]
fn an_agent_without_code_is_named() {
    for isa in ["amdgcn-amd-amdhsa--gfx701", "gfx950", "", "amdgcn-amd-amdhsa--"] {
        assert_eq!(select(isa).unwrap_err().target, isa.trim_start_matches("amdgcn-amd-amdhsa--"));
    }
    assert!(select("gfx701").unwrap_err().to_string().contains("gfx701"));
}

#[test]
fn every_generic_target_that_can_be_asked_for_is_built() {
    for processor in ["gfx900", "gfx1010", "gfx1030", "gfx1100", "gfx1200"] {
        let generic = generic_target(processor).unwrap();
        assert!(PREBUILT.iter().any(|code| code.target == generic), "{generic}");
    }
}

#[test]
fn the_other_operations_reach_their_extremes() {
    let [and, or, xor, signed_min, signed_max, min, max] = rmw_other_32([u32::MAX, 0, 0, 0, 0, u32::MAX, 0], 64);
    assert_eq!(and, 0xff00_0000);
    assert_eq!(or, 0x00ff_ffff);
    assert_ne!(xor, 0);
    assert_eq!(signed_min as i32, -300);
    assert_eq!(signed_max as i32, 300);
    assert_eq!((min, max), (1 << 31, 1 << 31));
}
