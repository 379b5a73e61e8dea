//! Messages of the vfio-user protocol, version 0 (QEMU, `docs/interop/vfio-user.rst`): little-endian, a header of 16 bytes, then what the
//! command asks for.

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of region data in one message at most, as we tell the client.
pub(super) const MOST_DATA: u32 = 1 << 20;
/// Bytes of a message at most.
pub(super) const MOST_BYTES: usize = MOST_DATA as usize + 4096;
/// Files in one message at most, as we tell the client.
pub(super) const MOST_FILES: usize = 8;

const FLAG_REPLY: u32 = 1;
const FLAG_TYPE: u32 = 0xf;
const FLAG_NO_REPLY: u32 = 1 << 4;
const FLAG_ERROR: u32 = 1 << 5;

const DMA_READ: u32 = 1;
const DMA_WRITE: u32 = 1 << 1;
const UNMAP_ALL: u32 = 1 << 1;

/// A message that is not what its command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("a message of {0} bytes")]
    Size(u32),
    #[error("a message that is no command")]
    NotACommand,
    #[error("command {command} needs more than {bytes} bytes")]
    Short { command: u16, bytes: usize },
    #[error("command {0} is not supported")]
    Unsupported(u16),
    #[error("protocol version {0}")]
    Version(u16),
    #[error("an access of {0} bytes")]
    Data(u32),
    #[error("DMA flags {0:#x}")]
    DmaFlags(u32),
}

/// Who asks what, and whether an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) command: u16,
    pub(super) wants_reply: bool,
    /// Bytes behind the header.
    pub(super) body_bytes: usize,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, MessageError> {
        let mut fields = Fields { command: 0, rest: bytes };
        let (id, command, size, flags) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
        if flags & FLAG_TYPE != 0 {
            return Err(MessageError::NotACommand);
        }
        let total = usize::try_from(size).ok().filter(|total| (HEADER_BYTES..=MOST_BYTES).contains(total));
        let body_bytes = total.ok_or(MessageError::Size(size))? - HEADER_BYTES;
        Ok(Self { id, command, wants_reply: flags & FLAG_NO_REPLY == 0, body_bytes })
    }

    /// The reply with this behind its header.
    pub(super) fn reply(&self, body: &[u8]) -> Vec<u8> {
        self.answer(FLAG_REPLY, 0, body)
    }

    /// The reply that says why not, as an `errno` number.
    pub(super) fn refusal(&self, errno: u32) -> Vec<u8> {
        self.answer(FLAG_REPLY | FLAG_ERROR, errno, &[])
    }

    fn answer(&self, flags: u32, errno: u32, body: &[u8]) -> Vec<u8> {
        let size = (HEADER_BYTES + body.len()) as u32;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.command.to_le_bytes());
        bytes.extend([size, flags, errno].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(body);
        bytes
    }
}

/// The kind of access that a DMA map allows, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DmaFlags {
    ReadOnly,
    ReadWrite,
    /// Neither or only writes, which no memory of a guest is for.
    Unusable,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'body> {
    Version,
    DmaMap { flags: DmaFlags, file_offset: u64, iova: u64, bytes: u64 },
    DmaUnmap { iova: u64, bytes: u64 },
    DmaUnmapAll,
    DeviceInfo,
    RegionInfo { room: u32, region: u32 },
    InterruptInfo { kind: u32 },
    SetInterrupts { kind: u32, flags: u32, start: u32, count: u32 },
    RegionRead { region: u32, offset: u64, count: u32 },
    RegionWrite { region: u32, offset: u64, data: &'body [u8] },
    Reset,
}

struct Fields<'body> {
    command: u16,
    rest: &'body [u8],
}

impl<'body> Fields<'body> {
    fn take(&mut self, bytes: usize) -> Result<&'body [u8], MessageError> {
        let short = MessageError::Short { command: self.command, bytes: self.rest.len() };
        let (field, rest) = self.rest.split_at_checked(bytes).ok_or(short)?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], MessageError> {
        let mut field = [0; BYTES];
        field.copy_from_slice(self.take(BYTES)?);
        Ok(field)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_le_bytes)
    }
}

impl<'body> Request<'body> {
    pub(super) fn parse(command: u16, body: &'body [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields { command, rest: body };
        match command {
            1 => Self::version(&mut fields),
            2 => Self::dma_map(&mut fields),
            3 => Self::dma_unmap(&mut fields),
            4 => Ok(Self::DeviceInfo),
            5 => Self::region_info(&mut fields),
            7 => Self::interrupt_info(&mut fields),
            8 => Self::set_interrupts(&mut fields),
            9 => Self::region_read(&mut fields),
            10 => Self::region_write(&mut fields),
            13 => Ok(Self::Reset),
            other => Err(MessageError::Unsupported(other)),
        }
    }

    fn version(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (major, _minor) = (fields.u16()?, fields.u16()?);
        // What follows is the client's capabilities as JSON. Nothing in them changes what we send.
        if major == 0 { Ok(Self::Version) } else { Err(MessageError::Version(major)) }
    }

    fn dma_map(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (_argsz, flags) = (fields.u32()?, fields.u32()?);
        let (file_offset, iova, bytes) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let flags = match flags & (DMA_READ | DMA_WRITE) {
            DMA_READ => DmaFlags::ReadOnly,
            both if both == DMA_READ | DMA_WRITE => DmaFlags::ReadWrite,
            _ => DmaFlags::Unusable,
        };
        Ok(Self::DmaMap { flags, file_offset, iova, bytes })
    }

    fn dma_unmap(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (_argsz, flags, iova, bytes) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
        match flags {
            0 => Ok(Self::DmaUnmap { iova, bytes }),
            UNMAP_ALL => Ok(Self::DmaUnmapAll),
            other => Err(MessageError::DmaFlags(other)),
        }
    }

    fn region_info(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (room, _flags, region) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Ok(Self::RegionInfo { room, region })
    }

    fn interrupt_info(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (_argsz, _flags, kind) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Ok(Self::InterruptInfo { kind })
    }

    fn set_interrupts(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (_argsz, flags) = (fields.u32()?, fields.u32()?);
        Ok(Self::SetInterrupts { kind: fields.u32()?, flags, start: fields.u32()?, count: fields.u32()? })
    }

    fn region_read(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (offset, region, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        if count > MOST_DATA { Err(MessageError::Data(count)) } else { Ok(Self::RegionRead { region, offset, count }) }
    }

    fn region_write(fields: &mut Fields<'body>) -> Result<Self, MessageError> {
        let (offset, region, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let data = fields.take(usize::try_from(count).map_err(|_| MessageError::Data(count))?)?;
        Ok(Self::RegionWrite { region, offset, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(size: u32, flags: u32) -> Result<Header, MessageError> {
        let words = [9_u32 << 16 | 0x1234, size, flags, 0];
        let mut bytes = [0; HEADER_BYTES];
        for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        Header::parse(&bytes)
    }

    #[test]
    fn a_header_is_a_command_of_at_least_its_own_size() {
        assert_eq!(header(32, 0), Ok(Header { id: 0x1234, command: 9, wants_reply: true, body_bytes: 16 }));
        assert!(header(16, FLAG_NO_REPLY).is_ok_and(|header| !header.wants_reply));
        assert_eq!(header(15, 0), Err(MessageError::Size(15)));
        assert_eq!(header(u32::MAX, 0), Err(MessageError::Size(u32::MAX)));
        assert_eq!(header(32, FLAG_REPLY), Err(MessageError::NotACommand));
    }

    #[test]
    fn an_answer_carries_the_id_of_its_command() {
        let header = header(32, 0).unwrap();
        assert_eq!(header.reply(&[7]), [0x34, 0x12, 9, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(header.refusal(22), [0x34, 0x12, 9, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]);
    }

    #[test]
    fn a_region_write_carries_all_its_data() {
        let mut body = [8_u64.to_le_bytes(), [5, 0, 0, 0, 2, 0, 0, 0]].concat();
        body.extend([1, 2]);
        assert_eq!(Request::parse(10, &body), Ok(Request::RegionWrite { region: 5, offset: 8, data: &[1, 2] }));
        body.pop();
        assert!(matches!(Request::parse(10, &body), Err(MessageError::Short { .. })));
    }

    #[test]
    fn a_region_read_is_bounded() {
        let body = [0_u64.to_le_bytes(), [5, 0, 0, 0, 0, 0, 0, 0x80]].concat();
        assert_eq!(Request::parse(9, &body), Err(MessageError::Data(0x8000_0000)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(command in 0_u16..20, body in prop::collection::vec(any::<u8>(), 0..64), head in any::<[u8; 16]>()) {
            let _ = Header::parse(&head);
            if let Ok(Request::RegionWrite { data, .. }) = Request::parse(command, &body) {
                prop_assert!(data.len() <= body.len());
            }
        }
    }
}
