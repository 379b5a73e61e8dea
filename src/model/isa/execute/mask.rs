//! Masks of lanes and lanes of bits, half a wave at a time.

use super::rows::HalfValues;
use crate::model::isa::wave::HALF;

/// Bit 0 of every lane of half a wave as a mask.
#[inline(always)]
pub(super) fn mask_of_half(bits: &HalfValues) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return packed(bits);
    #[cfg(not(target_arch = "x86_64"))]
    folded(bits)
}

/// A mask as 0 or 1 in every lane of half a wave.
#[inline(always)]
pub(super) fn bits_of_half(mask: u32) -> HalfValues {
    let mut bits = [0; HALF];
    for (lane, bit) in bits.iter_mut().enumerate() {
        *bit = mask >> lane & 1;
    }
    bits
}

/// Each bit goes to its place, then one half of what is left joins the other.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn folded(bits: &HalfValues) -> u32 {
    let mut parts = [0; HALF];
    for lane in 0..HALF {
        parts[lane] = (bits[lane] & 1) << lane;
    }
    let mut left = HALF / 2;
    while left > 0 {
        for lane in 0..left {
            parts[lane] |= parts[lane + left];
        }
        left /= 2;
    }
    parts[0]
}

/// The lanes become bytes, and the processor gathers the highest bit of each: compilers find no better way for a loop than to take
/// lane after lane out of its register, which costs more than most instructions of a wave.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn packed(bits: &HalfValues) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32,
        _mm_slli_epi16,
    };
    let fours: &[[u32; 4]] = bits.as_chunks().0;
    // SAFETY: every x86-64 has SSE2, the only feature that these ask for, and what is loaded are the 16 bytes of an array of four
    // words, at any alignment.
    unsafe {
        let four = |index: usize| -> __m128i {
            let lanes = _mm_loadu_si128(fours[index].as_ptr().cast());
            _mm_and_si128(lanes, _mm_set1_epi32(1))
        };
        let sixteen = |first: usize| -> u32 {
            let low = _mm_packs_epi32(four(first), four(first + 1));
            let high = _mm_packs_epi32(four(first + 2), four(first + 3));
            _mm_movemask_epi8(_mm_slli_epi16::<7>(_mm_packs_epi16(low, high))).cast_unsigned()
        };
        sixteen(0) | sixteen(4) << 16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mask_has_bit_0_of_each_lane_at_the_number_of_the_lane(bits in any::<HalfValues>()) {
            let expected = (0..HALF).filter(|lane| bits[*lane] % 2 == 1).map(|lane| 1 << lane).sum::<u32>();
            prop_assert_eq!(mask_of_half(&bits), expected);
            prop_assert_eq!(folded(&bits), expected);
        }

        #[test]
        fn the_lanes_of_a_mask_are_0_or_1(mask: u32) {
            for (lane, bit) in bits_of_half(mask).into_iter().enumerate() {
                prop_assert_eq!(bit == 1, mask & 1 << lane != 0);
                prop_assert!(bit < 2);
            }
        }
    }
}
