use super::*;

const BASE: GpuVa = GpuVa(0x10_0000);

fn mapped(map: &MemoryMap, va: GpuVa, bytes: &mut [u64], protection: Protection) -> Result<(), MapError> {
    mapped_at(map, va, bytes.as_mut_ptr(), bytes.len(), protection)
}

fn mapped_at(map: &MemoryMap, va: GpuVa, base: *mut u64, words: usize, protection: Protection) -> Result<(), MapError> {
    let host = HostPtr::new(NonNull::new(base.cast()).unwrap());
    let mapping = Mapping { va, length: 8 * words as u64, host, home: Home::Host, protection };
    // SAFETY: the words outlive the map in every test below.
    unsafe { map.map(mapping) }
}

#[test]
fn an_access_must_lie_inside_mappings_that_continue_each_other_in_this_process() {
    let mut words = [1u64, 1, 9, 2, 2];
    let (low, high) = words.split_at_mut(2);
    let map = MemoryMap::new();
    mapped(&map, BASE, low, Protection::ReadWrite).unwrap();
    mapped(&map, BASE + 16, &mut high[1..], Protection::ReadWrite).unwrap();
    let view = map.view();
    assert_eq!(view.load_u64(BASE + 8), Ok(1));
    assert_eq!(view.load_u64(BASE + 16), Ok(2));
    assert_eq!(view.load_u64(BASE + 12).unwrap_err().reason, FaultReason::Unmapped);
    assert_eq!(view.load_u8(BASE + 32).unwrap_err().reason, FaultReason::Unmapped);
    assert_eq!(view.load_u8(GpuVa(BASE.0 - 1)).unwrap_err().reason, FaultReason::Unmapped);
    assert_eq!(view.load_u64(GpuVa(u64::MAX - 3)).unwrap_err().reason, FaultReason::Unmapped);
}

#[test]
fn an_access_may_span_mappings_that_continue_each_other() {
    let mut words = [1u64, 2, 3, 4, 5, 6];
    let map = MemoryMap::new();
    // All through one pointer, which an access that spans them may follow from one to the next.
    let base = words.as_mut_ptr();
    for (pair, protection) in [(0, Protection::ReadWrite), (1, Protection::ReadWrite), (2, Protection::ReadOnly)] {
        mapped_at(&map, BASE + 16 * pair as u64, base.wrapping_add(2 * pair), 2, protection).unwrap();
    }
    let view = map.view();
    let mut row = [0_u64; 5];
    view.window(BASE + 8, 40, Access::Read).unwrap().copy_to(&mut row);
    assert_eq!(row, [2, 3, 4, 5, 6]);
    assert!(view.window(BASE, 32, Access::Write).is_ok());
    assert_eq!(view.window(BASE, 33, Access::Write).unwrap_err().reason, FaultReason::Protection);
    assert_eq!(view.window(BASE + 8, 41, Access::Read).unwrap_err().reason, FaultReason::Unmapped);
    assert_eq!(view.window(BASE, u64::MAX, Access::Read).unwrap_err().reason, FaultReason::Unmapped);
    drop(view);
    map.unmap(BASE + 16).unwrap();
    assert_eq!(map.view().window(BASE + 8, 40, Access::Read).unwrap_err().reason, FaultReason::Unmapped);
}

#[test]
fn protection_is_checked_for_each_kind_of_access() {
    let (mut constant, mut code) = ([7u64; 1], [8u64; 1]);
    let map = MemoryMap::new();
    mapped(&map, BASE, &mut constant, Protection::ReadOnly).unwrap();
    mapped(&map, BASE + 64, &mut code, Protection::ReadExecute).unwrap();
    let view = map.view();
    assert_eq!(view.store_u32(BASE, 1).unwrap_err().reason, FaultReason::Protection);
    assert_eq!(view.atomic_u32(BASE).unwrap_err().reason, FaultReason::Protection);
    assert_eq!(view.window(BASE, 4, Access::Execute).unwrap_err().reason, FaultReason::Protection);
    assert!(view.window(BASE + 64, 4, Access::Execute).is_ok());
}

#[test]
fn atomics_must_be_naturally_aligned_and_plain_words_need_not() {
    let mut bytes = [0u64; 2];
    let map = MemoryMap::new();
    mapped(&map, BASE, &mut bytes, Protection::ReadWrite).unwrap();
    let view = map.view();
    view.store_u32(BASE + 3, 0x0403_0201).unwrap();
    assert_eq!(view.load_u64(BASE), Ok(0x0004_0302_0100_0000));
    assert_eq!(view.atomic_u64(BASE + 4).unwrap_err().reason, FaultReason::Misaligned);
}

#[test]
fn mappings_never_overlap_and_never_wrap() {
    let (mut first, mut second) = ([0u64; 4], [0u64; 4]);
    let map = MemoryMap::new();
    mapped(&map, BASE, &mut first, Protection::ReadWrite).unwrap();
    for start in [BASE, BASE + 31, GpuVa(BASE.0 - 31)] {
        let length = 32;
        assert_eq!(
            mapped(&map, start, &mut second, Protection::ReadWrite),
            Err(MapError::Overlap { va: start, length, other: BASE })
        );
    }
    mapped(&map, BASE + 32, &mut second, Protection::ReadWrite).unwrap();
    assert!(matches!(mapped(&map, GpuVa(u64::MAX - 3), &mut [0; 1], Protection::ReadWrite), Err(MapError::BadRange { .. })));
}

#[test]
fn code_generation_moves_only_with_executable_mappings() {
    let (mut data, mut code) = ([0u64; 1], [0u64; 1]);
    let map = MemoryMap::new();
    mapped(&map, BASE, &mut data, Protection::ReadWrite).unwrap();
    assert_eq!(map.view().code_generation(), 0);
    mapped(&map, BASE + 64, &mut code, Protection::ReadExecute).unwrap();
    map.unmap(BASE + 64).unwrap();
    assert_eq!(map.view().code_generation(), 2);
    assert_eq!(map.unmap(BASE + 64).unwrap_err(), MapError::NotMapped { va: BASE + 64 });
}
