//! Against the committed code objects, which clang made, and mutations of them.

use proptest::prelude::*;

use super::*;

#[repr(align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

static GFX803: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../kernels/prebuilt/gfx803.hsaco"));
static GFX906: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../kernels/prebuilt/gfx906.hsaco"));
static GFX9_GENERIC: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../kernels/prebuilt/gfx9-generic.hsaco"));

/// An aligned copy that can be damaged.
struct Copy(Vec<u64>, usize);

impl Copy {
    fn of(bytes: &[u8]) -> Self {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        object::pod::bytes_of_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self(words, bytes.len())
    }

    fn poke(&mut self, offset: usize, value: u8) {
        object::pod::bytes_of_slice_mut(&mut self.0)[offset] = value;
    }

    fn read(&self) -> Result<CodeObject, LoadError> {
        read(&object::pod::bytes_of_slice(&self.0)[..self.1])
    }
}

fn damaged(offset: usize, value: u8) -> LoadError {
    let mut file = Copy::of(&GFX803.0);
    file.poke(offset, value);
    file.read().unwrap_err()
}

#[test]
fn our_gfx803_kernels_load_with_what_the_compiler_said() {
    let code = read(&GFX803.0).unwrap();
    let access: Vec<(bool, bool)> = code.segments.iter().map(|segment| (segment.executable, segment.writable)).collect();
    assert_eq!(access, [(false, false), (true, false), (false, true)], "constants, code, dynamic section");
    let copy = &code.kernels["vector_copy.kd"];
    assert_eq!((copy.metadata.kernarg_bytes, copy.metadata.kernarg_alignment), (16, 8));
    assert_eq!((copy.metadata.group_bytes, copy.metadata.private_bytes), (0, 0));
    assert_eq!(code.kernels["lds_reduce.kd"].metadata.group_bytes, 1024);
    assert_eq!(code.kernels["nop.kd"].metadata.kernarg_bytes, 0);
    assert_eq!(code.kernels.len(), 17);
}

#[test]
fn descriptors_lie_where_the_dynamic_symbols_say() {
    let code = read(&GFX803.0).unwrap();
    let copy = &code.kernels["vector_copy.kd"];
    let constants = &code.segments[0];
    let at = constants.file.start + usize::try_from(copy.descriptor - constants.image.start).unwrap();
    let descriptor = &GFX803.0[at..at + 64];
    assert_eq!(descriptor[8..12], 16_u32.to_le_bytes(), "kernarg size, AMDGPUUsage kernel descriptor offset 8");
    let entry = copy.descriptor.wrapping_add_signed(i64::from_le_bytes(descriptor[16..24].try_into().unwrap()));
    assert!(code.segments[1].image.contains(&entry), "entry {entry:#x} outside the code segment");
}

#[test]
fn code_for_another_processor_is_named() {
    assert_eq!(read(&GFX906.0), Err(LoadError::WrongProcessor { found: "gfx906".to_owned() }));
    assert_eq!(read(&GFX9_GENERIC.0), Err(LoadError::WrongProcessor { found: "gfx9-generic".to_owned() }));
}

#[test]
fn each_identifying_field_is_checked() {
    for (offset, value, field) in
        [(18, 62, "e_machine"), (7, 3, "EI_OSABI"), (8, 1, "EI_ABIVERSION"), (8, 5, "EI_ABIVERSION"), (16, 2, "e_type")]
    {
        assert!(matches!(damaged(offset, value), LoadError::NotACodeObject { field: found, .. } if found == field), "{field}");
    }
    assert!(matches!(damaged(0, 0), LoadError::Elf(_)), "magic");
    assert!(matches!(damaged(4, 1), LoadError::Elf(_)), "class");
    assert!(matches!(damaged(5, 2), LoadError::Elf(_)), "data encoding");
}

#[test]
fn text_and_empty_files_are_refused() {
    for text in [&b""[..], b"root:x:0:0:root:/root:/bin/sh\n", b"\x7fELF"] {
        assert!(matches!(Copy::of(text).read(), Err(LoadError::Elf(_))));
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = Copy::of(&GFX803.0);
    // The section header table is the last thing in the file.
    for length in (0..GFX803.0.len()).step_by(97) {
        assert!(Copy(whole.0.clone(), length).read().is_err(), "{length} bytes");
    }
}

#[test]
fn relocations_are_refused() {
    let elf = Header::parse(&GFX803.0[..]).unwrap();
    let dynamic =
        elf.program_headers(LE, &GFX803.0[..]).unwrap().iter().find(|header| header.p_type(LE) == elf::PT_DYNAMIC).unwrap();
    let first = usize::try_from(dynamic.p_offset(LE)).unwrap();
    let mut file = Copy::of(&GFX803.0);
    // The first entry becomes DT_RELASZ (8) = 48: two Elf64_Rela.
    for (offset, byte) in 8_u64.to_le_bytes().into_iter().chain(48_u64.to_le_bytes()).enumerate() {
        file.poke(first + offset, byte);
    }
    assert_eq!(file.read(), Err(LoadError::Relocations { count: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged file is refused or yields segments and descriptors inside their bounds; it never panics.
    #[test]
    fn damage_never_leads_outside_the_file(damage in prop::collection::vec((0..GFX803.0.len(), any::<u8>()), 1..12)) {
        let mut file = Copy::of(&GFX803.0);
        for (offset, value) in damage {
            file.poke(offset, value);
        }
        if let Ok(code) = file.read() {
            for segment in &code.segments {
                prop_assert!(segment.file.end <= GFX803.0.len());
                prop_assert!(segment.file.len() as u64 <= segment.image.end - segment.image.start);
                prop_assert!(segment.image.end <= code.image_bytes);
            }
            for kernel in code.kernels.values() {
                prop_assert!(kernel.descriptor + 64 <= code.image_bytes);
            }
        }
    }

    /// The headers are where damage hurts most.
    #[test]
    fn damaged_headers_never_panic(damage in prop::collection::vec((0_usize..0x200, any::<u8>()), 1..6)) {
        let mut file = Copy::of(&GFX803.0);
        for (offset, value) in damage {
            file.poke(offset, value);
        }
        let _ = file.read();
    }

    /// Metadata is the compiler's, but the note may hold anything.
    #[test]
    fn damaged_metadata_never_panics(damage in prop::collection::vec((0x200_usize..0x2828, any::<u8>()), 1..6)) {
        let mut file = Copy::of(&GFX803.0);
        for (offset, value) in damage {
            file.poke(offset, value);
        }
        let _ = file.read();
    }
}
