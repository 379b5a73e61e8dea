//! Registers of which a reader may know some bits only.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A register's bits, each set, clear or unknown.
///
/// Config space gives a register whole or not at all; the text of `lspci -vv` gives the bits that its version prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Zero where not known.
    value: u32,
    known: u32,
}

impl Register {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self { value: 0, known: 0 };

    /// Every bit is known.
    #[must_use]
    pub const fn whole(value: u32) -> Self {
        Self { value, known: u32::MAX }
    }

    /// What one reading of config space gives.
    #[must_use]
    pub fn read(value: Option<impl Into<u32>>) -> Self {
        value.map_or(Self::UNKNOWN, |value| Self::whole(value.into()))
    }

    /// The same register with the bits of `mask` known as they are in `value`.
    #[must_use]
    pub const fn with(self, mask: u32, value: u32) -> Self {
        Self { value: self.value & !mask | value & mask, known: self.known | mask }
    }

    /// Whether every bit of `mask` is set; `None` when the known ones do not decide it.
    #[must_use]
    pub const fn all(self, mask: u32) -> Option<bool> {
        if self.known & !self.value & mask != 0 {
            Some(false)
        } else if self.known & mask == mask {
            Some(true)
        } else {
            None
        }
    }

    /// The value, when every bit is known.
    #[must_use]
    pub const fn value(self) -> Option<u32> {
        if self.known == u32::MAX { Some(self.value) } else { None }
    }
}

/// A number when the register is known, null when nothing of it is, else value and mask of the known bits.
impl Serialize for Register {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.known {
            0 => serializer.serialize_none(),
            u32::MAX => serializer.serialize_u32(self.value),
            _ => {
                let mut fields = serializer.serialize_struct("Register", 2)?;
                fields.serialize_field("value", &self.value)?;
                fields.serialize_field("known", &self.known)?;
                fields.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_clear_bit_decides_and_one_unknown_bit_leaves_open() {
        let register = Register::UNKNOWN.with(0x40, 0x40).with(0x80, 0);
        assert_eq!(register.all(0x40), Some(true));
        assert_eq!(register.all(0xc0), Some(false));
        assert_eq!(register.all(0x140), None);
        assert_eq!(register.all(0x180), Some(false));
        assert_eq!((register.value(), Register::whole(0x180).value()), (None, Some(0x180)));
    }

    #[test]
    fn what_is_unknown_is_never_written_as_zero() {
        let json = |register: Register| serde_json::to_string(&register).unwrap();
        assert_eq!(json(Register::UNKNOWN), "null");
        assert_eq!(json(Register::read(Some(0x40_u16))), "64");
        assert_eq!(json(Register::UNKNOWN.with(0x40, 0)), r#"{"value":0,"known":64}"#);
    }
}
