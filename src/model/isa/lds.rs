//! Local data share: the memory of one workgroup.

/// LDS of one workgroup.
///
/// Addresses are aligned down to the size of the access; a read outside gives zero and a write outside is lost, as on hardware
/// (GCN3 §11, "Out of range"). The bound is the workgroup's allocation; M0 is not looked at.
#[derive(Debug, Default)]
pub struct Lds {
    bytes: Vec<u8>,
}

impl Lds {
    /// Gives a new workgroup `length` bytes, all zero.
    pub fn reset(&mut self, length: usize) {
        self.bytes.clear();
        self.bytes.resize(length, 0);
    }

    /// Reads `SIZE` bytes, a power of two.
    #[inline(always)]
    pub(crate) fn read<const SIZE: usize>(&self, address: u32) -> [u8; SIZE] {
        let start = aligned::<SIZE>(address);
        self.bytes.get(start..start + SIZE).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; SIZE])
    }

    /// Writes `SIZE` bytes, a power of two.
    #[inline(always)]
    pub(crate) fn write<const SIZE: usize>(&mut self, address: u32, value: [u8; SIZE]) {
        let start = aligned::<SIZE>(address);
        if let Some(bytes) = self.bytes.get_mut(start..start + SIZE) {
            bytes.copy_from_slice(&value);
        }
    }
}

#[inline(always)]
const fn aligned<const SIZE: usize>(address: u32) -> usize {
    address as usize & !(SIZE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_allocation_reads_are_zero_and_writes_are_lost() {
        let mut lds = Lds::default();
        lds.reset(8);
        lds.write::<4>(4, [1, 2, 3, 4]);
        lds.write::<4>(8, [9; 4]);
        lds.write::<8>(u32::MAX, [9; 8]);
        assert_eq!(lds.read::<8>(0), [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(lds.read::<4>(8), [0; 4]);
        assert_eq!(lds.read::<4>(u32::MAX), [0; 4]);
    }

    #[test]
    fn addresses_are_aligned_down_to_the_access() {
        let mut lds = Lds::default();
        lds.reset(16);
        lds.write::<4>(7, [1, 2, 3, 4]);
        assert_eq!(lds.read::<4>(4), [1, 2, 3, 4]);
    }

    #[test]
    fn a_new_workgroup_finds_zeros() {
        let mut lds = Lds::default();
        lds.reset(4);
        lds.write::<4>(0, [1; 4]);
        lds.reset(4);
        assert_eq!(lds.read::<4>(0), [0; 4]);
    }
}
