//! Dual instructions (VOPD): two operations in one, neither of which sees what the other writes.

use super::float::combined;
use super::rows::{Values, bits_of, combine, read};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{DualHalf, DualOp};
use crate::model::isa::operand::{ScalarRegister, VectorSource};
use crate::model::isa::wave::Wave;

#[inline(never)]
pub(super) fn execute(wave: &mut Wave, x: DualHalf, y: DualHalf, literal: u32) {
    let values = [x, y].map(|half| values(wave, half, literal));
    wave.write_active(x.destination, &values[0]);
    wave.write_active(y.destination, &values[1]);
}

#[inline(always)]
fn values(wave: &Wave, half: DualHalf, literal: u32) -> Values {
    let DualHalf { op, destination, a, b } = half;
    let b = VectorSource::Vector(b);
    match op {
        DualOp::FusedMultiplyAccumulate => multiply_add(&read(wave, a), &read(wave, b), &wave.vector(destination).0),
        DualOp::FusedAddLiteral => multiply_add(&read(wave, a), &read(wave, b), &[literal; LANES]),
        DualOp::FusedMultiplyByLiteral => multiply_add(&read(wave, a), &[literal; LANES], &read(wave, b)),
        DualOp::Float(op) => combined(wave, op, a, b),
        DualOp::Move => read(wave, a),
        DualOp::Select => {
            let (a, b, chosen) = (read(wave, a), read(wave, b), bits_of(wave.mask(ScalarRegister::VCC)));
            std::array::from_fn(|lane| if chosen[lane] == 0 { a[lane] } else { b[lane] })
        }
        DualOp::Add => combine(wave, a, b, u32::wrapping_add),
        DualOp::ShiftLeftReversed => combine(wave, a, b, |a, b| b << (a & 31)),
        DualOp::And => combine(wave, a, b, |a, b| a & b),
    }
}

fn multiply_add(a: &Values, b: &Values, c: &Values) -> Values {
    let float = f32::from_bits;
    std::array::from_fn(|lane| float(a[lane]).mul_add(float(b[lane]), float(c[lane])).to_bits())
}
