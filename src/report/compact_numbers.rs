//! JSON over several lines, with many numbers to a line: a report's ten thousand samples are not ten thousand lines.

use std::io::{self, Write};

use serde_json::ser::{Formatter, PrettyFormatter};

/// Numbers to a line.
const PER_LINE: usize = 20;

/// As `serde_json` lays out objects and arrays, except that numbers in an array stand side by side.
#[derive(Debug, Default)]
pub(super) struct CompactNumbers {
    pretty: PrettyFormatter<'static>,
    depth: usize,
    /// The array's element whose place is not written yet: the layout depends on what it is.
    element: Option<Element>,
    /// Numbers on the current line of the innermost array; 0 when its last element was none.
    on_line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    First,
    Next,
}

impl CompactNumbers {
    /// Before an element that is no number, or a number that starts a line.
    fn new_line<W: ?Sized + Write>(&mut self, element: Element, out: &mut W) -> io::Result<()> {
        out.write_all(if element == Element::First { b"\n" } else { b",\n" })?;
        (0..self.depth).try_for_each(|_| out.write_all(b"  "))
    }

    fn place<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.on_line = 0;
        match self.element.take() {
            Some(element) => self.new_line(element, out),
            None => Ok(()),
        }
    }

    fn place_number<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        let Some(element) = self.element.take() else { return Ok(()) };
        if element == Element::First || self.on_line == 0 || self.on_line == PER_LINE {
            self.on_line = 1;
            return self.new_line(element, out);
        }
        self.on_line += 1;
        out.write_all(b", ")
    }
}

/// Values that are laid out as numbers, and those that are not.
macro_rules! placed {
    ($place:ident: $($write:ident($value:ty)),* $(,)?) => {
        $(fn $write<W: ?Sized + Write>(&mut self, out: &mut W, value: $value) -> io::Result<()> {
            self.$place(out)?;
            self.pretty.$write(out, value)
        })*
    };
}

impl Formatter for CompactNumbers {
    placed! { place_number:
        write_u8(u8), write_u16(u16), write_u32(u32), write_u64(u64), write_u128(u128),
        write_i8(i8), write_i16(i16), write_i32(i32), write_i64(i64), write_i128(i128),
        write_f32(f32), write_f64(f64), write_number_str(&str),
    }
    placed! { place: write_bool(bool) }

    fn write_null<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.place(out)?;
        self.pretty.write_null(out)
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.place(out)?;
        self.pretty.begin_string(out)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.place(out)?;
        self.depth += 1;
        self.pretty.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.on_line = 0;
        self.pretty.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, _out: &mut W, first: bool) -> io::Result<()> {
        self.element = Some(if first { Element::First } else { Element::Next });
        Ok(())
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.place(out)?;
        self.depth += 1;
        self.pretty.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.on_line = 0;
        self.pretty.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::{Serializer, Value, json};

    use super::*;

    fn compact(value: &Value) -> String {
        let mut bytes = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut bytes, CompactNumbers::default())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn numbers_of_an_array_share_lines_and_everything_else_keeps_its_own() {
        let samples: Vec<u64> = (10..35).collect();
        let text = compact(&json!({ "a": samples, "b": [{ "c": 1.5 }, "d"], "e": [] }));
        let first = (10..30).map(|sample| sample.to_string()).collect::<Vec<_>>().join(", ");
        let wanted = format!(
            "{{\n  \"a\": [\n    {first},\n    30, 31, 32, 33, 34\n  ],\n  \"b\": [\n    {{\n      \"c\": 1.5\n    }},\n    \"d\"\n  ],\n  \"e\": []\n}}"
        );
        assert_eq!(text, wanted);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 30, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn without_numbers(value: &Value) -> bool {
        match value {
            Value::Number(_) => false,
            Value::Array(items) => items.iter().all(without_numbers),
            Value::Object(fields) => fields.values().all(without_numbers),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back_and_what_has_no_numbers_looks_as_serde_json_lays_it_out(value in any_value()) {
            let text = compact(&value);
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
            if without_numbers(&value) {
                prop_assert_eq!(text, serde_json::to_string_pretty(&value).unwrap());
            }
        }
    }
}
