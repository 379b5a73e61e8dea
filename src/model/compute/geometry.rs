//! Grids, workgroups and the ids of work-items.

use crate::model::isa::LANES;
use crate::model::isa::wave::Row;
use crate::model::target::WaveSize;

/// The positions of a launch's workgroups, x fastest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workgroups {
    grid: [u32; 3],
    size: [u32; 3],
    next: Option<[u32; 3]>,
    started: u64,
}

/// One workgroup of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workgroup {
    /// Position, counted in workgroups.
    pub id: [u32; 3],
    /// How many of the launch were started before this one.
    pub ordinal: u64,
    /// Work-items that it really has: fewer at the far edges of a grid that is no multiple of the workgroup size.
    pub size: [u32; 3],
}

impl Workgroups {
    pub fn new(grid: [u32; 3], size: [u16; 3]) -> Self {
        let size = size.map(u32::from);
        let empty = grid.contains(&0) || size.contains(&0);
        Self { grid, size, next: (!empty).then_some([0; 3]), started: 0 }
    }

    pub const fn all_started(&self) -> bool {
        self.next.is_none()
    }

    fn count(&self, dimension: usize) -> u32 {
        self.grid[dimension].div_ceil(self.size[dimension])
    }

    fn after(&self, mut id: [u32; 3]) -> Option<[u32; 3]> {
        for dimension in 0..3 {
            id[dimension] += 1;
            if id[dimension] < self.count(dimension) {
                return Some(id);
            }
            id[dimension] = 0;
        }
        None
    }
}

impl Iterator for Workgroups {
    type Item = Workgroup;

    fn next(&mut self) -> Option<Workgroup> {
        let id = self.next?;
        self.next = self.after(id);
        let ordinal = self.started;
        self.started += 1;
        // Inside the grid, so the product does not overflow.
        let size = std::array::from_fn(|n| self.size[n].min(self.grid[n] - id[n] * self.size[n]));
        Some(Workgroup { id, ordinal, size })
    }
}

impl Workgroup {
    pub fn items(&self) -> u32 {
        self.size.iter().product()
    }

    pub fn waves(&self, wave_size: WaveSize) -> usize {
        (self.items() as usize).div_ceil(wave_size.lanes())
    }

    /// Lanes of a wave that have a work-item.
    pub fn active_lanes(&self, wave: usize, wave_size: WaveSize) -> u64 {
        let rest = (self.items() as usize).saturating_sub(wave * wave_size.lanes());
        // A shift by all 64 bits is none.
        1_u64.checked_shl(rest.min(wave_size.lanes()) as u32).map_or(u64::MAX, |above| above - 1)
    }

    /// The ids of a wave's work-items: x, and y and z as far as there are rows for them.
    #[inline]
    pub fn fill_ids(&self, wave: usize, wave_size: WaveSize, rows: [Option<&mut Row>; 3]) {
        let first = (wave * wave_size.lanes()) as u32;
        let [x, y, z] = rows;
        let [width, height, _] = self.size;
        if height == 1 && self.size[2] == 1 {
            if let Some(row) = x {
                for (lane, id) in row.0.iter_mut().enumerate() {
                    *id = first + lane as u32;
                }
            }
            y.into_iter().chain(z).for_each(|row| *row = Row::ZERO);
            return;
        }
        let mut id = [first % width, first / width % height, first / width / height];
        let mut rows = [x, y, z];
        for lane in 0..LANES {
            for (row, id) in rows.iter_mut().zip(id) {
                if let Some(row) = row {
                    row.0[lane] = id;
                }
            }
            id[0] += 1;
            if id[0] == width {
                id[0] = 0;
                id[1] += 1;
                if id[1] == height {
                    id[1] = 0;
                    id[2] += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_workgroups_are_smaller_when_the_grid_is_no_multiple() {
        let sizes: Vec<_> = Workgroups::new([5, 3, 1], [4, 2, 1]).map(|group| (group.id, group.size)).collect();
        assert_eq!(sizes, [([0, 0, 0], [4, 2, 1]), ([1, 0, 0], [1, 2, 1]), ([0, 1, 0], [4, 1, 1]), ([1, 1, 0], [1, 1, 1])]);
    }

    #[test]
    fn an_empty_grid_or_workgroup_has_nothing_to_run() {
        assert_eq!(Workgroups::new([0, 1, 1], [64, 1, 1]).count(), 0);
        assert_eq!(Workgroups::new([64, 1, 1], [64, 0, 1]).count(), 0);
    }

    #[test]
    fn the_largest_grid_does_not_overflow() {
        let last = Workgroups { next: Some([0x3f_ffff, 0, 0]), ..Workgroups::new([u32::MAX, 1, 1], [1024, 1, 1]) }.next();
        assert_eq!(last.unwrap().size, [1023, 1, 1]);
    }

    #[test]
    fn work_items_are_numbered_x_fastest_across_waves() {
        let group = Workgroup { id: [0; 3], ordinal: 0, size: [10, 3, 4] };
        assert_eq!(group.waves(WaveSize::Lanes64), 2);
        assert_eq!(group.active_lanes(0, WaveSize::Lanes64), u64::MAX);
        assert_eq!(group.active_lanes(1, WaveSize::Lanes64), (1 << 56) - 1);
        let mut rows = [Row::ZERO; 3];
        for wave in 0..2 {
            let [x, y, z] = &mut rows;
            group.fill_ids(wave, WaveSize::Lanes64, [Some(x), Some(y), Some(z)]);
            for lane in 0..LANES {
                let flat = (wave * LANES + lane) as u32;
                assert_eq!(rows.map(|row| row.0[lane]), [flat % 10, flat / 10 % 3, flat / 30], "wave {wave} lane {lane}");
            }
        }
    }

    #[test]
    fn one_dimension_counts_through_the_waves() {
        let group = Workgroup { id: [0; 3], ordinal: 0, size: [100, 1, 1] };
        let (mut x, mut y) = (Row::ZERO, Row([9; LANES]));
        group.fill_ids(1, WaveSize::Lanes64, [Some(&mut x), Some(&mut y), None]);
        assert_eq!(x.0[0], 64);
        assert_eq!(x.0[35], 99);
        assert_eq!(y, Row::ZERO);
        assert_eq!(group.active_lanes(1, WaveSize::Lanes64), (1 << 36) - 1);
    }

    #[test]
    fn waves_of_32_have_half_the_work_items_each() {
        let group = Workgroup { id: [0; 3], ordinal: 0, size: [100, 1, 1] };
        let size = WaveSize::Lanes32;
        assert_eq!(group.waves(size), 4);
        assert_eq!([0, 2, 3, 4].map(|wave| group.active_lanes(wave, size)), [0xffff_ffff, 0xffff_ffff, 0xf, 0]);
        let mut x = Row::ZERO;
        group.fill_ids(3, size, [Some(&mut x), None, None]);
        assert_eq!(x.0[..4], [96, 97, 98, 99]);
    }
}
