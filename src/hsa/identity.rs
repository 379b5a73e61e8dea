//! Which runtime this really is: the file behind a function, and what the file says of itself without being asked through HSA.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::api::{Api, Origin};

/// A runtime library that is loaded, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryIdentity {
    /// The file that the functions lie in.
    pub path: PathBuf,
    /// ROCr's build identifier, which every build carries as text; `None` for a runtime that is not ROCr.
    pub build: Option<String>,
    /// The ROCm release in the file name, where AMD's own packages put it.
    pub release: Option<RocmRelease>,
}

/// A release of ROCm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RocmRelease {
    /// 7 of 7.2.4.
    pub major: u32,
    /// 2 of 7.2.4.
    pub minor: u32,
    /// 4 of 7.2.4.
    pub patch: u32,
}

impl fmt::Display for RocmRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl RocmRelease {
    /// From `libhsa-runtime64.so.1.12.60002`: AMD's packages number the file's patch level by release, two digits for minor and
    /// patch. Distributions do not (Debian's 5.2.3 is `.so.1.5.0`).
    fn of_file_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (_, version) = name.split_once(".so.")?;
        let number: u32 = version.split('.').nth(2)?.parse().ok()?;
        (10_000..1_000_000).contains(&number).then_some(Self {
            major: number / 10_000,
            minor: number / 100 % 100,
            patch: number % 100,
        })
    }
}

impl fmt::Display for LibraryIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (", self.path.display())?;
        match &self.build {
            Some(build) => write!(formatter, "ROCr {build}")?,
            None => formatter.write_str("it does not say its version")?,
        }
        if let Some(release) = self.release {
            write!(formatter, ", ROCm {release}")?;
        }
        formatter.write_str(")")
    }
}

impl Api {
    /// The library behind the table; `None` for the runtime inside this program, or where `/proc` does not tell.
    ///
    /// It holds for a runtime that cannot be initialised too.
    #[must_use]
    pub fn library(&self) -> Option<LibraryIdentity> {
        match self.origin() {
            Origin::Embedded => None,
            Origin::Library(_) => {
                let mut maps = String::new();
                File::open("/proc/self/maps").ok()?.read_to_string(&mut maps).ok()?;
                let path = mapped_file(&maps, self.functions().hsa_init as usize)?;
                let build = fs::read(&path).ok().and_then(|bytes| build_in(&bytes));
                Some(LibraryIdentity { release: RocmRelease::of_file_name(&path), path, build })
            }
        }
    }
}

/// The file mapped at `address`, from the lines of proc(5)'s maps: `start-end permissions offset device inode path`.
fn mapped_file(maps: &str, address: usize) -> Option<PathBuf> {
    let hex = |digits: &str| usize::from_str_radix(digits, 16).ok();
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let path = &rest[rest.find('/')?..];
        (hex(start)?..hex(end)?).contains(&address).then(|| PathBuf::from(path))
    })
}

/// ROCr keeps `ROCR BUILD ID: "1.5.0-…"` as text for whoever has only the file (runtime.cpp).
fn build_in(file: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"ROCR BUILD ID: ";
    const LONGEST: usize = 128;
    let at = file.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let text = &file[at..file.len().min(at + LONGEST)];
    let end = text.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&text[..end]).ok()?;
    unquoted(text)
}

/// ROCr's build identifier comes with the quotation marks of its build system.
pub(super) fn unquoted(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"');
    let printable = !text.is_empty() && text.chars().all(|character| character.is_ascii_graphic() || character == ' ');
    printable.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_address_is_that_of_its_mapping() {
        let maps = "55d0a0000000-55d0a0001000 r--p 00000000 fe:01 42                         /usr/bin/aqlprobe\n\
                    7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n\
                    7f0000200000-7f0000300000 r-xp 00001000 fe:01 43                         /opt/my rocm/lib/libhsa-runtime64.so.1.12.60002\n\
                    7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n";
        let file = |address| mapped_file(maps, address).map(|path| path.display().to_string());
        assert_eq!(file(0x7f00_0020_0000).as_deref(), Some("/opt/my rocm/lib/libhsa-runtime64.so.1.12.60002"));
        assert_eq!(file(0x7f00_0030_0000), None, "the end is outside");
        assert_eq!(file(0x7f00_0000_0000), None, "anonymous memory has no file");
        assert_eq!(file(0x7ffc_0000_0000), None, "the stack has no file");
    }

    #[test]
    fn a_function_of_this_process_lies_in_its_own_executable() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let here = a_function_of_this_process_lies_in_its_own_executable as fn() as usize;
        assert_eq!(mapped_file(&maps, here), std::env::current_exe().and_then(fs::canonicalize).ok());
    }

    #[test]
    fn the_build_identifier_is_found_as_text_in_the_file() {
        let file = |text: &[u8]| build_in(&[b"\0\x7fjunk ROCR BUILD".as_slice(), text, b"\0more"].concat());
        // As `strings` shows it in Debian's 5.2.3 and 7.2.4.
        assert_eq!(file(b"\0ROCR BUILD ID: \"1.5.0-local-build-unknown\""), Some("1.5.0-local-build-unknown".to_owned()));
        assert_eq!(file(b"\0ROCR BUILD ID: \"\""), None);
        assert_eq!(file(b"\0ROCR BUILD ID: \xff\xfe"), None);
        assert_eq!(build_in(b"ROCR BUILD ID: never ends"), None);
        assert_eq!(build_in(b""), None);
    }

    #[test]
    fn only_amds_file_names_hold_the_release() {
        let release = |name: &str| RocmRelease::of_file_name(Path::new(name)).map(|release| release.to_string());
        assert_eq!(release("/opt/rocm-6.0.2/lib/libhsa-runtime64.so.1.12.60002").as_deref(), Some("6.0.2"));
        assert_eq!(release("libhsa-runtime64.so.1.18.70204").as_deref(), Some("7.2.4"));
        assert_eq!(release("/usr/lib/x86_64-linux-gnu/libhsa-runtime64.so.1.5.0"), None);
        assert_eq!(release("libhsa-runtime64.so.1"), None);
        assert_eq!(release("runtime"), None);
    }
}
