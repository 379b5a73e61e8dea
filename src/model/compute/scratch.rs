//! Places of waves in the scratch memory of their queue.

use super::{LaunchError, Scratch};
use crate::model::isa::private::PrivateMemory;
use crate::model::target::{Target, WaveSize};

/// The waves of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waves {
    pub size: WaveSize,
    pub per_workgroup: usize,
}

/// Scratch memory of a launch, divided among the waves that can be resident at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScratchPlaces {
    scratch: Scratch,
    waves: Waves,
}

impl ScratchPlaces {
    /// Divides the queue's scratch memory for a kernel that needs `needed` bytes per work-item.
    ///
    /// # Errors
    /// There is not enough for one workgroup, or the target has no scratch memory here: generation 8 describes it to the kernel in
    /// registers that this model does not fill.
    pub fn new(target: Target, scratch: Option<Scratch>, needed: u32, waves: Waves) -> Result<Self, LaunchError> {
        let refused = |available| LaunchError::Scratch { needed, available };
        let scratch = match (target, scratch) {
            (Target::Gfx803, _) | (_, None) => return Err(refused(0)),
            (Target::Gfx942 | Target::Gfx1100, Some(scratch)) => scratch,
        };
        // Whole words, because that is how lanes are interleaved.
        let scratch = Scratch { bytes_per_work_item: scratch.bytes_per_work_item & !3, ..scratch };
        let places = Self { scratch, waves };
        if scratch.bytes_per_work_item < needed {
            return Err(refused(scratch.bytes_per_work_item));
        }
        if places.workgroups() == 0 {
            let lanes = (waves.per_workgroup * waves.size.lanes()) as u64;
            return Err(refused(u32::try_from(scratch.bytes / lanes).unwrap_or(u32::MAX)));
        }
        Ok(places)
    }

    const fn bytes_per_wave(&self) -> u64 {
        self.scratch.bytes_per_work_item as u64 * self.waves.size.lanes() as u64
    }

    /// Workgroups that have a place at a time.
    pub fn workgroups(&self) -> usize {
        let bytes = self.bytes_per_wave() * self.waves.per_workgroup as u64;
        usize::try_from(self.scratch.bytes.checked_div(bytes).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// The place of a wave of the workgroup that is resident in this slot.
    pub fn of(&self, slot: usize, wave: usize) -> PrivateMemory {
        let place = slot * self.waves.per_workgroup + wave;
        PrivateMemory {
            base: self.scratch.base + place as u64 * self.bytes_per_wave(),
            bytes_per_lane: self.scratch.bytes_per_work_item,
            lanes: self.waves.size.lanes() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::GpuVa;

    const SCRATCH: Scratch = Scratch { base: GpuVa(0x1_0000), bytes: 10 * 64 * 32, bytes_per_work_item: 34 };

    const fn waves(size: WaveSize, per_workgroup: usize) -> Waves {
        Waves { size, per_workgroup }
    }

    #[test]
    fn no_two_resident_waves_share_a_byte_and_all_lie_inside() {
        let places = ScratchPlaces::new(Target::Gfx942, Some(SCRATCH), 20, waves(WaveSize::Lanes64, 3)).unwrap();
        assert_eq!(places.workgroups(), 3, "ten places for waves, three for each workgroup");
        let mut starts: Vec<_> = (0..3).flat_map(|slot| (0..3).map(move |wave| places.of(slot, wave).base)).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 9);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 64 * 32));
        assert!(starts[8] + 64 * 32 <= SCRATCH.base + SCRATCH.bytes);
        assert_eq!((places.of(0, 0).bytes_per_lane, places.of(0, 0).lanes), (32, 64));
    }

    #[test]
    fn waves_of_32_need_half_as_much() {
        let places = ScratchPlaces::new(Target::Gfx1100, Some(SCRATCH), 32, waves(WaveSize::Lanes32, 4)).unwrap();
        assert_eq!(places.workgroups(), 5);
        assert_eq!(places.of(1, 1).base, SCRATCH.base + 5 * 32 * 32);
        assert_eq!(places.of(0, 0).lanes, 32);
    }

    #[test]
    fn too_little_for_a_work_item_or_for_a_workgroup_says_what_there_is() {
        let refused = |target, scratch, needed, count| {
            ScratchPlaces::new(target, scratch, needed, waves(WaveSize::Lanes64, count)).unwrap_err()
        };
        let error = |needed, available| LaunchError::Scratch { needed, available };
        assert_eq!(refused(Target::Gfx942, Some(SCRATCH), 33, 1), error(33, 32));
        assert_eq!(refused(Target::Gfx942, Some(SCRATCH), 32, 16), error(32, 20));
        assert_eq!(refused(Target::Gfx942, None, 4, 1), error(4, 0));
        assert_eq!(refused(Target::Gfx803, Some(SCRATCH), 4, 1), error(4, 0), "its kernels look for it in registers");
        let nothing = Scratch { bytes_per_work_item: 0, ..SCRATCH };
        assert_eq!(refused(Target::Gfx942, Some(nothing), 4, 1), error(4, 0));
    }
}
