//! Random operands, with much of what is special about numbers among them.

/// SplitMix64: small, and good enough to pick operands.
pub(super) struct Random(pub u64);

/// Bounds of integers of several widths, and of both floating-point formats as words.
const SPECIAL: [u32; 40] = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7f_ffff,
    0x80_0000,
    0xff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    u32::MAX,
    // Infinities, quiet and signalling NaN; one, and the largest and smallest of single precision.
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0x3f80_0000,
    0x7f7f_ffff,
    0x0080_0000,
    // Upper words of double precision: infinity, quiet NaN, one, the largest denormals.
    0x7ff0_0000,
    0x7ff8_0000,
    0xbff0_0000,
    0x000f_ffff,
    0x800f_ffff,
];

/// Values whose sums, products and conversions are close to where rounding and saturation begin.
const FLOATS: [f32; 20] = [
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    0.499_999_97,
    0.999_999_94,
    1.000_000_1,
    3.0,
    0.1,
    8_388_608.5,
    16_777_216.0,
    16_777_217.0,
    2_147_483_648.0,
    -2_147_483_648.0,
    4_294_967_296.0,
    4_294_967_040.0,
    1.0e-38,
    3.0e38,
    1.0e-44,
];

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is small.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }

    /// An operand of 32 bits.
    pub(super) fn value(&mut self) -> u32 {
        let any = self.next() as u32;
        match self.below(8) {
            0 | 1 => self.pick(&SPECIAL),
            2 => self.pick(&FLOATS).to_bits(),
            // Near one: sums and products of these stay in range and cancel.
            3 => 0x3f00_0000 | any & 0x80ff_ffff,
            4 => any % 130,
            5 => any >> (any % 32),
            _ => any,
        }
    }
}
