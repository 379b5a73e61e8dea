//! The ioctls of VFIO (Linux, `include/uapi/linux/vfio.h`), each with the type that the kernel expects.
//!
//! * **Invariant of [`Call`]**: the argument is an integer, or points to a live, exclusively borrowed structure of the layout that
//!   vfio.h documents for the opcode. Each public function below makes exactly one such pair.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `VFIO_API_VERSION`.
pub const API_VERSION: c_int = 0;
/// `VFIO_TYPE1v2_IOMMU`.
pub const TYPE1V2_IOMMU: usize = 3;
/// `VFIO_PCI_CONFIG_REGION_INDEX`.
pub const CONFIG_REGION: u32 = 7;
/// `VFIO_REGION_INFO_FLAG_MMAP`.
pub const REGION_MAPPABLE: u32 = 1 << 2;

/// `VFIO_GROUP_FLAGS_VIABLE`.
const GROUP_VIABLE: u32 = 1;
/// `VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE`.
const DMA_READ_WRITE: u32 = 3;

/// `_IO(';', 100 + number)`: no opcode of VFIO encodes a size; the structures begin with their own.
const fn vfio(number: u8) -> Opcode {
    opcode::none(b';', 100 + number)
}

#[repr(C)]
#[derive(Default)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

/// `struct vfio_region_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionInfo {
    argsz: u32,
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    index: u32,
    capabilities: u32,
    /// Bytes.
    pub size: u64,
    /// Where in the device's file the region begins.
    pub offset: u64,
}

#[repr(C)]
struct DmaMap {
    argsz: u32,
    flags: u32,
    address: u64,
    iova: u64,
    size: u64,
}

#[repr(C)]
struct DmaUnmap {
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

const fn argsz<Structure>() -> u32 {
    size_of::<Structure>() as u32
}

struct Call {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: the opcodes and arguments fit each other (invariant), and the result is the plain return value.
unsafe impl Ioctl for Call {
    type Output = c_int;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _argument: *mut c_void) -> rustix::io::Result<c_int> {
        Ok(output)
    }
}

/// # Safety
/// The pair obeys the invariant of [`Call`].
unsafe fn call(fd: BorrowedFd<'_>, opcode: Opcode, argument: *mut c_void) -> io::Result<c_int> {
    // SAFETY: the caller's promise.
    Ok(unsafe { rustix::ioctl::ioctl(fd, Call { opcode, argument }) }?)
}

/// `VFIO_GET_API_VERSION`.
pub fn api_version(container: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: takes no argument.
    unsafe { call(container, vfio(0), std::ptr::null_mut()) }
}

/// `VFIO_CHECK_EXTENSION`.
pub fn has_extension(container: BorrowedFd<'_>, extension: usize) -> io::Result<bool> {
    // SAFETY: takes an integer.
    unsafe { call(container, vfio(1), std::ptr::without_provenance_mut(extension)) }.map(|answer| answer > 0)
}

/// `VFIO_SET_IOMMU`.
pub fn set_iommu(container: BorrowedFd<'_>, kind: usize) -> io::Result<()> {
    // SAFETY: takes an integer.
    unsafe { call(container, vfio(2), std::ptr::without_provenance_mut(kind)) }.map(drop)
}

/// `VFIO_GROUP_GET_STATUS`: whether every device of the group belongs to VFIO or to nobody.
pub fn group_is_viable(group: BorrowedFd<'_>) -> io::Result<bool> {
    let mut status = GroupStatus { argsz: argsz::<GroupStatus>(), flags: 0 };
    // SAFETY: takes struct vfio_group_status.
    unsafe { call(group, vfio(3), (&raw mut status).cast()) }?;
    Ok(status.flags & GROUP_VIABLE != 0)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> io::Result<()> {
    let mut descriptor: c_int = container.as_raw_fd();
    // SAFETY: takes a pointer to a descriptor.
    unsafe { call(group, vfio(4), (&raw mut descriptor).cast()) }.map(drop)
}

/// `VFIO_GROUP_GET_DEVICE_FD`.
pub fn device(group: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes a C string, which it only reads.
    let descriptor = unsafe { call(group, vfio(6), name.as_ptr().cast_mut().cast()) }?;
    // SAFETY: the kernel returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `VFIO_DEVICE_GET_REGION_INFO`.
pub fn region(device: BorrowedFd<'_>, index: u32) -> io::Result<RegionInfo> {
    let mut info = RegionInfo { argsz: argsz::<RegionInfo>(), index, ..RegionInfo::default() };
    // SAFETY: takes struct vfio_region_info; the kernel writes no more than argsz bytes.
    unsafe { call(device, vfio(8), (&raw mut info).cast()) }?;
    Ok(info)
}

/// `VFIO_IOMMU_MAP_DMA`: pins `size` bytes at `address` and lets the device read and write them at the same IOVA.
///
/// # Safety
/// Until they are unmapped or the container ends, the bytes are reached by atomic or volatile accesses only: the device may change them
/// at any time. That they are pinned makes an earlier `munmap` harmless.
pub unsafe fn map_dma(container: impl AsFd, address: u64, size: u64) -> io::Result<()> {
    let mut map = DmaMap { argsz: argsz::<DmaMap>(), flags: DMA_READ_WRITE, address, iova: address, size };
    // SAFETY: takes struct vfio_iommu_type1_dma_map.
    unsafe { call(container.as_fd(), vfio(13), (&raw mut map).cast()) }.map(drop)
}

/// `VFIO_IOMMU_UNMAP_DMA` of whole mappings.
pub fn unmap_dma(container: impl AsFd, address: u64, size: u64) -> io::Result<()> {
    let mut unmap = DmaUnmap { argsz: argsz::<DmaUnmap>(), flags: 0, iova: address, size };
    // SAFETY: takes struct vfio_iommu_type1_dma_unmap without the bitmap, which flag 0 does not ask for.
    unsafe { call(container.as_fd(), vfio(14), (&raw mut unmap).cast()) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_vfio_h() {
        assert_eq!(
            [size_of::<GroupStatus>(), size_of::<RegionInfo>(), size_of::<DmaMap>(), size_of::<DmaUnmap>()],
            [8, 32, 32, 24]
        );
    }

    #[test]
    fn opcodes_are_those_of_vfio_h() {
        assert_eq!([vfio(0), vfio(6), vfio(14)].map(u64::from), [0x3b64, 0x3b6a, 0x3b72]);
    }

    #[test]
    fn a_file_that_is_no_vfio_device_refuses_every_call() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(api_version(file.as_fd()).is_err());
        assert!(region(file.as_fd(), 0).is_err());
        assert!(device(file.as_fd(), "0000:01:00.0").is_err());
        assert!(device(file.as_fd(), "a\0b").is_err());
        // SAFETY: /dev/null maps nothing.
        assert!(unsafe { map_dma(&file, 0x1000, 0x1000) }.is_err());
    }
}
