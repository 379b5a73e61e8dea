//! Archives in the `newc` format of cpio, as Linux unpacks them into its first root file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

/// `S_IFDIR`, `S_IFREG`, `S_IFCHR` of inode(7).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// What an archive holds, written as it is added. Directories must be added before what is in them.
pub struct Archive<W: Write> {
    to: W,
    inode: u32,
}

/// Major and minor number of a device node.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// Its device.
    pub minor: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub fn new(to: W) -> Self {
        Self { to, inode: 0 }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY | 0o755, Device { major: 0, minor: 0 }, &[])
    }

    /// Adds a file with its permissions.
    ///
    /// # Errors
    /// When it cannot be written, or is larger than the format can say.
    pub fn file(&mut self, name: &str, permissions: u32, bytes: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR | (permissions & 0o7777), Device { major: 0, minor: 0 }, bytes)
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn character_device(&mut self, name: &str, device: Device) -> io::Result<()> {
        self.entry(name, CHARACTER_DEVICE | 0o600, device, &[])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(TRAILER, 0, Device { major: 0, minor: 0 }, &[])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &str, mode: u32, device: Device, data: &[u8]) -> io::Result<()> {
        let too_large =
            |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} does not fit into an archive of this format"));
        let size = u32::try_from(data.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        if name != TRAILER {
            self.inode += 1;
        }
        // magic; ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.major, device.minor, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        header.push_str(name);
        header.push('\0');
        self.padded(header.as_bytes())?;
        self.padded(data)
    }

    /// Header and data each end at a multiple of four.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_of_110_bytes_the_name_and_the_data_each_padded_to_four() {
        let mut archive = Archive::new(Vec::new());
        archive.file("init", 0o755, b"12345").unwrap();
        let bytes = archive.finish().unwrap();
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&bytes[range]).unwrap();
        assert_eq!(text(0..6), "070701");
        assert_eq!(text(14..22), "000081ED", "a regular file that everybody may execute");
        assert_eq!(text(54..62), "00000005", "five bytes of data");
        assert_eq!(text(94..102), "00000005", "a name of five bytes with its zero");
        assert_eq!(text(110..114), "init");
        assert_eq!(&bytes[114..116], [0, 0], "115 bytes of header and name end at 116");
        assert_eq!(&bytes[116..124], b"12345\0\0\0");
        assert_eq!(text(124..130), "070701");
        assert_eq!(text(234..244), "TRAILER!!!");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_device_node_carries_its_numbers() {
        let mut archive = Archive::new(Vec::new());
        archive.character_device("dev/console", Device { major: 5, minor: 1 }).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(&bytes[14..22], b"00002180");
        assert_eq!(&bytes[78..94], b"0000000500000001");
    }

    #[test]
    fn every_entry_has_an_inode_of_its_own_so_that_none_is_taken_for_a_hard_link() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("a").unwrap();
        archive.directory("b").unwrap();
        let bytes = archive.finish().unwrap();
        assert_ne!(bytes[6..14], bytes[112 + 6..112 + 14]);
    }
}
