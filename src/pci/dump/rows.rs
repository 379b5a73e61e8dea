//! Rows of sixteen bytes: `80: 40 00 00 00 0e ...`, one or many in a line.

use crate::pci::ConfigOffset;
use thiserror::Error;

/// Bytes in a row of lspci's output.
const BYTES_PER_ROW: usize = 16;
/// Fewer digits than this after a colon are prose rather than a mangled row.
const DIGITS_OF_A_ROW_START: usize = 16;

/// A row as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub label: String,
    pub offset: u16,
    pub bytes: [u8; BYTES_PER_ROW],
    pub spaces_lost: bool,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RowFault {
    /// Not sixteen bytes.
    #[error("it has {found} hex digits, sixteen bytes need 32")]
    Digits {
        /// Number of hex digits in the row.
        found: usize,
    },
    /// Something other than hex digits.
    #[error("{text:?} is not hexadecimal")]
    NotHex {
        /// The piece of text.
        text: String,
    },
    /// A group with half a byte in it: a digit was lost or added, so the bytes after it cannot be told apart.
    #[error("the group {group:?} has an odd number of digits")]
    OddGroup {
        /// The group.
        group: String,
    },
    /// Rows are joined and the offset of the next one cannot be made out.
    #[error("the offset {expected} of the next row does not stand before the next colon")]
    NextOffsetLost {
        /// The offset that should follow.
        expected: ConfigOffset,
    },
    /// Rows are missing before this one.
    #[error("the row at {expected} should come here, rows are missing")]
    Gap {
        /// The offset that should follow.
        expected: ConfigOffset,
    },
    /// The offset was there before, or the rows run backwards.
    #[error("the row at {expected} should come here, this offset was passed")]
    Backwards {
        /// The offset that should follow.
        expected: ConfigOffset,
    },
    /// A row after the last one config space can have.
    #[error("config space ends at 0xfff")]
    PastConfigSpace,
}

/// Whether a line is a row, well formed or not. Before the first device line only what is certainly a row counts.
pub(super) fn looks_like_rows(content: &str, before_any_function: bool) -> bool {
    let Some((label, rest)) = content.split_once(':') else { return false };
    let Some(offset) = offset(label) else { return false };
    let starts_with_data = hex_digits_at_start(rest) >= DIGITS_OF_A_ROW_START;
    if before_any_function { offset == 0 && starts_with_data } else { offset.is_multiple_of(16) || starts_with_data }
}

/// Where the row 00 starts in a device line that was joined with its rows.
pub(super) fn start_in(description: &str) -> Option<usize> {
    description.match_indices("00:").map(|(at, _)| at).find(|&at| {
        let stands_alone = !description[..at].ends_with(|before: char| before.is_alphanumeric() || before == ':');
        stands_alone && hex_digits_at_start(&description[at + 3..]) >= DIGITS_OF_A_ROW_START
    })
}

/// Reads the rows of a line; `content` begins with the first one's offset.
pub(super) fn rows(content: &str) -> Result<Vec<Row>, (String, RowFault)> {
    let mut parts = content.split(':').peekable();
    let mut label = parts.next().unwrap_or_default().trim().to_owned();
    let mut rows = Vec::new();
    while let Some(body) = parts.next() {
        let Some(offset) = offset(&label) else {
            return Err((label.clone(), RowFault::NotHex { text: label }));
        };
        let (data, next_label) = if parts.peek().is_some() {
            split_next_label(body, offset).ok_or_else(|| {
                let expected = ConfigOffset(offset.saturating_add(BYTES_PER_ROW as u16));
                (label.clone(), RowFault::NextOffsetLost { expected })
            })?
        } else {
            (body, "")
        };
        let (bytes, spaces_lost) = data_bytes(data).map_err(|fault| (label.clone(), fault))?;
        rows.push(Row { label, offset, bytes, spaces_lost });
        label = next_label.to_owned();
    }
    Ok(rows)
}

/// Splits what stands between two colons into the data of a row and the offset of the next one. Where no space is left
/// between them, only the offset that must follow is taken for it.
fn split_next_label(body: &str, offset: u16) -> Option<(&str, &str)> {
    let start = body.rfind(char::is_whitespace).map_or(0, |at| at + body[at..].chars().next().map_or(1, char::len_utf8));
    let piece = &body[start..];
    if (2..=3).contains(&piece.len()) && piece.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Some((&body[..start], piece));
    }
    let expected = format!("{:02x}", offset.checked_add(BYTES_PER_ROW as u16)?);
    let at = body.len().checked_sub(expected.len())?;
    (body.is_char_boundary(at) && body[at..].eq_ignore_ascii_case(&expected)).then(|| body.split_at(at))
}

fn data_bytes(data: &str) -> Result<([u8; BYTES_PER_ROW], bool), RowFault> {
    let groups: Vec<&str> = data.split_whitespace().collect();
    if let Some(group) = groups.iter().find(|group| !group.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        return Err(RowFault::NotHex { text: (*group).to_owned() });
    }
    let digits = groups.concat();
    if digits.len() != 2 * BYTES_PER_ROW {
        return Err(RowFault::Digits { found: digits.len() });
    }
    if let Some(group) = groups.iter().find(|group| group.len() % 2 == 1) {
        return Err(RowFault::OddGroup { group: (*group).to_owned() });
    }
    let mut bytes = [0; BYTES_PER_ROW];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    Ok((bytes, groups.len() != BYTES_PER_ROW))
}

/// The value of a character already known to be a hex digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// An offset as lspci prints it, two digits and more.
fn offset(label: &str) -> Option<u16> {
    let well_formed = (2..=4).contains(&label.len()) && label.bytes().all(|digit| digit.is_ascii_hexdigit());
    well_formed.then(|| u16::from_str_radix(label, 16).ok())?
}

fn hex_digits_at_start(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).take_while(char::is_ascii_hexdigit).count()
}
