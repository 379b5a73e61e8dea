//! Reads what people really have of `lspci`: any verbosity, decoded, numeric or hex, trees, alone or mixed, and mangled by
//! mail, terminals and web pages.
//!
//! The layouts are those of pciutils 2.2 to 3.14 (ls-caps.c, ls-tree.c). What a text does not show stays unknown: `lspci`
//! before 3.5.3 prints no AtomicOps lines at all, so a missing line says nothing. Where a text has both the hex rows and the
//! decoded lines of a function, the rows win and a contradiction is noted.
//!
//! Time is linear in the text. Memory is bounded by [`Listing::FUNCTIONS_AT_MOST`] and [`Listing::NOTES_AT_MOST`].

mod chain;
mod draft;
mod header;
mod link;
mod note;
mod reader;
mod stanza;
#[cfg(test)]
mod tests;
mod tree;

use super::{Bdf, ConfigSpace, Hop};
pub use link::{Link, LinkState};
pub use note::{Note, RegisterField};
use std::collections::HashMap;
use thiserror::Error;
use tree::BusTree;

/// Everything a text says of PCI functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The functions, in the order in which the text first names them.
    pub functions: Vec<ListedFunction>,
    /// What a reader of the verdict should know about the text.
    pub notes: Vec<Note>,
    /// The `lspci -t` trees of the text.
    tree: BusTree,
    /// Position of each function.
    index: HashMap<Bdf, usize>,
    /// The first bridge that has a bus (by domain and number) right below it.
    bridge_above: HashMap<(u32, u8), usize>,
}

/// A function as the text shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedFunction {
    /// Its address.
    pub bdf: Bdf,
    /// The device line without its address; empty when only a tree without names has the function.
    pub description: String,
    /// Class and sub-class (`0x0300`: VGA compatible controller), when the text gives the number or a name we know.
    pub class: Option<u16>,
    /// Its registers, as far as the text shows them.
    pub hop: Hop,
    /// The buses below it, when it is a bridge.
    pub buses: Option<BusRange>,
    /// The kernel driver bound to it.
    pub driver: Option<String>,
    /// Whether the text says that capabilities could not be read without privileges.
    pub access: Access,
    /// Speed and width of its link.
    pub link: Option<Link>,
    /// Its config space, when the text has hex rows.
    pub config: Option<ConfigSpace>,
}

/// The bus numbers of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusRange {
    /// The bus above it.
    pub primary: u8,
    /// The bus right below it.
    pub secondary: u8,
    /// The highest bus below it.
    pub subordinate: u8,
}

/// Whether `lspci` could read a function's capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The text does not say otherwise.
    #[default]
    NotRefused,
    /// The text has `Capabilities: <access denied>`: `lspci` ran without privileges.
    Denied,
}

/// Why a text is no listing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListingError {
    /// Neither a device line nor a tree.
    #[error(
        "the text names no PCI function: no line such as `0b:00.0 Display controller: ...` and no `lspci -t` tree; take the whole \
         output of `lspci -vvv` as root"
    )]
    NoFunction,
    /// More functions than any machine has.
    #[error("the text names more than {limit} PCI functions (line {line}): this is no listing of one machine")]
    TooManyFunctions {
        /// The limit.
        limit: usize,
        /// Line in the text, from 1.
        line: usize,
    },
}

/// Reads a text.
///
/// # Errors
/// [`ListingError`] when the text names no function, or more than [`Listing::FUNCTIONS_AT_MOST`]. Everything else that is wrong
/// with the text becomes a [`Note`] and leaves what it concerns unknown.
pub fn read(text: &str) -> Result<Listing, ListingError> {
    reader::read(text)
}
