//! Code object readers, executables and their symbols.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::agents::{Agent, Info};
use super::error::RuntimeError;
use super::loader::{self, CodeObject, Kernel};
use super::pages::{AddressSpace, DeviceMemory, PAGE_BYTES};
use crate::hsa::sys;
use crate::model::memory::{Home, Protection};

/// A file in memory, aligned for reading ELF structures in place.
struct File {
    words: Vec<u64>,
    bytes: usize,
}

impl File {
    fn copy_of(bytes: &[u8]) -> Self {
        let words = bytes
            .chunks(size_of::<u64>())
            .map(|chunk| {
                let mut word = [0; size_of::<u64>()];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            })
            .collect();
        Self { words, bytes: bytes.len() }
    }

    fn bytes(&self) -> &[u8] {
        &object::pod::bytes_of_slice(&self.words)[..self.bytes]
    }
}

/// A loaded kernel.
#[derive(Clone, Debug)]
pub struct Symbol {
    name: String,
    /// The address of the kernel descriptor: what a dispatch packet holds.
    kernel_object: u64,
    kernel: Kernel,
}

impl Symbol {
    /// `hsa_executable_symbol_get_info`.
    #[must_use]
    pub fn info(&self, attribute: u32) -> Option<Info> {
        let metadata = &self.kernel.metadata;
        Some(match attribute {
            sys::HSA_EXECUTABLE_SYMBOL_INFO_TYPE => Info::U32(sys::HSA_SYMBOL_KIND_KERNEL),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_NAME_LENGTH => Info::U32(u32::try_from(self.name.len()).ok()?),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_NAME => Info::Bytes(self.name.clone().into_bytes()),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_MODULE_NAME_LENGTH => Info::U32(0),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_AGENT => Info::U64(Agent::Gpu.handle()),
            // Program linkage (HSA 1.2, hsa_symbol_linkage_t).
            sys::HSA_EXECUTABLE_SYMBOL_INFO_LINKAGE => Info::U32(1),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_IS_DEFINITION => Info::flag(true),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT => Info::U64(self.kernel_object),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_SIZE => Info::U32(metadata.kernarg_bytes),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_ALIGNMENT => Info::U32(metadata.kernarg_alignment),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_GROUP_SEGMENT_SIZE => Info::U32(metadata.group_bytes),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_PRIVATE_SEGMENT_SIZE => Info::U32(metadata.private_bytes),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_DYNAMIC_CALLSTACK => Info::flag(metadata.uses_dynamic_stack),
            sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_CALL_CONVENTION => Info::U32(0),
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Executable {
    frozen: bool,
    images: Vec<DeviceMemory>,
    /// Handles into the registry, by name.
    symbols: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Registry {
    last_handle: u64,
    readers: BTreeMap<u64, Arc<File>>,
    executables: BTreeMap<u64, Executable>,
    symbols: BTreeMap<u64, Symbol>,
}

impl Registry {
    /// A handle that was never used: stale ones stay invalid.
    fn fresh_handle(&mut self) -> u64 {
        self.last_handle += 1;
        self.last_handle
    }
}

/// Everything that is loaded.
pub struct Executables {
    space: Arc<dyn AddressSpace>,
    registry: Mutex<Registry>,
}

impl Executables {
    /// Nothing yet.
    #[must_use]
    pub fn new(space: Arc<dyn AddressSpace>) -> Self {
        Self { space, registry: Mutex::default() }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a copy of a file and returns its handle.
    #[must_use]
    pub fn create_reader(&self, file: &[u8]) -> u64 {
        let file = Arc::new(File::copy_of(file));
        let mut registry = self.registry();
        let handle = registry.fresh_handle();
        registry.readers.insert(handle, file);
        handle
    }

    /// Forgets a reader.
    ///
    /// # Errors
    /// No such reader.
    pub fn destroy_reader(&self, reader: u64) -> Result<(), RuntimeError> {
        self.registry().readers.remove(&reader).map(drop).ok_or(RuntimeError::InvalidReader(reader))
    }

    /// Makes an empty executable.
    #[must_use]
    pub fn create(&self) -> u64 {
        let mut registry = self.registry();
        let handle = registry.fresh_handle();
        registry.executables.insert(handle, Executable::default());
        handle
    }

    /// Unloads an executable. Its kernels must not run any more.
    ///
    /// # Errors
    /// No such executable.
    pub fn destroy(&self, executable: u64) -> Result<(), RuntimeError> {
        let mut registry = self.registry();
        let removed = registry.executables.remove(&executable).ok_or(RuntimeError::InvalidExecutable(executable))?;
        for symbol in removed.symbols.values() {
            registry.symbols.remove(symbol);
        }
        Ok(())
    }

    /// Loads a code object into device memory and returns a handle for it.
    ///
    /// # Errors
    /// Unknown handles, a frozen executable, a file that cannot be loaded, a kernel that is there already.
    pub fn load(&self, executable: u64, reader: u64) -> Result<u64, RuntimeError> {
        let mut registry = self.registry();
        let file = registry.readers.get(&reader).cloned();
        let target = registry.executables.get(&executable).ok_or(RuntimeError::InvalidExecutable(executable))?;
        let file = file.ok_or(RuntimeError::InvalidReader(reader))?;
        if target.frozen {
            return Err(RuntimeError::FrozenExecutable);
        }
        let code = loader::read(file.bytes())?;
        if let Some(name) = code.kernels.keys().find(|name| target.symbols.contains_key(*name)) {
            return Err(RuntimeError::AlreadyDefined(name.clone()));
        }
        let image = self.place(&code, file.bytes())?;
        let base = image.pages().address();
        let mut names = BTreeMap::new();
        for (name, kernel) in code.kernels {
            let handle = registry.fresh_handle();
            let symbol = Symbol { name: name.clone(), kernel_object: base + kernel.descriptor, kernel };
            registry.symbols.insert(handle, symbol);
            names.insert(name, handle);
        }
        let loaded = registry.fresh_handle();
        let target = registry.executables.get_mut(&executable).ok_or(RuntimeError::InvalidExecutable(executable))?;
        target.images.push(image);
        target.symbols.append(&mut names);
        Ok(loaded)
    }

    fn place(&self, code: &CodeObject, file: &[u8]) -> Result<DeviceMemory, RuntimeError> {
        let offset = |address: u64| usize::try_from(address).map_err(|_| RuntimeError::OutOfResources("the image is too large"));
        let image = DeviceMemory::unreachable(self.space.clone(), offset(code.image_bytes)?, Home::DeviceLocal)?;
        for segment in &code.segments {
            let start = offset(segment.image.start)?;
            image.pages().write(start, &file[segment.file.clone()]);
            // Whole pages, as a page table would: the loader made sure that segments share none.
            let first = start / PAGE_BYTES * PAGE_BYTES;
            let length = offset(segment.image.end)?.next_multiple_of(PAGE_BYTES) - first;
            let protection = match (segment.executable, segment.writable) {
                (true, _) => Protection::ReadExecute,
                (false, true) => Protection::ReadWrite,
                (false, false) => Protection::ReadOnly,
            };
            image.map(first, length, protection).map_err(super::pages::PagesError::from)?;
        }
        Ok(image)
    }

    /// Ends loading.
    ///
    /// # Errors
    /// No such executable, or it is frozen already.
    pub fn freeze(&self, executable: u64) -> Result<(), RuntimeError> {
        let mut registry = self.registry();
        let executable = registry.executables.get_mut(&executable).ok_or(RuntimeError::InvalidExecutable(executable))?;
        if std::mem::replace(&mut executable.frozen, true) { Err(RuntimeError::FrozenExecutable) } else { Ok(()) }
    }

    /// The handle of a symbol.
    ///
    /// # Errors
    /// No such executable or name.
    pub fn symbol(&self, executable: u64, name: &str) -> Result<u64, RuntimeError> {
        let registry = self.registry();
        let executable = registry.executables.get(&executable).ok_or(RuntimeError::InvalidExecutable(executable))?;
        executable.symbols.get(name).copied().ok_or_else(|| RuntimeError::InvalidSymbolName(name.to_owned()))
    }

    /// What a symbol says; `None` for an attribute that it does not have.
    ///
    /// # Errors
    /// No such symbol.
    pub fn symbol_info(&self, symbol: u64, attribute: u32) -> Result<Option<Info>, RuntimeError> {
        self.registry().symbols.get(&symbol).map(|symbol| symbol.info(attribute)).ok_or(RuntimeError::InvalidSymbol(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::GpuVa;
    use crate::model::memory::{Access, MemoryMap};

    static GFX803: &[u8] = include_bytes!("../../kernels/prebuilt/gfx803.hsaco");

    fn rig() -> (Arc<MemoryMap>, Executables) {
        let map = Arc::new(MemoryMap::new());
        (map.clone(), Executables::new(map))
    }

    fn kernel_object(executables: &Executables, symbol: u64) -> u64 {
        match executables.symbol_info(symbol, sys::HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT).unwrap() {
            Some(Info::U64(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_loaded_kernel_can_be_read_and_its_code_executed_until_it_is_unloaded() {
        let (map, executables) = rig();
        let (reader, executable) = (executables.create_reader(GFX803), executables.create());
        executables.load(executable, reader).unwrap();
        executables.destroy_reader(reader).unwrap();
        executables.freeze(executable).unwrap();
        let symbol = executables.symbol(executable, "vector_copy.kd").unwrap();
        let descriptor = GpuVa(kernel_object(&executables, symbol));
        assert!(descriptor.is_aligned_to(64));
        {
            let view = map.view();
            assert_eq!(view.load_u32(descriptor + 8), Ok(16), "kernarg size");
            assert!(view.store_u32(descriptor, 0).is_err(), "descriptors are constants");
            let entry = GpuVa(descriptor.0.wrapping_add(view.load_u64(descriptor + 16).unwrap()));
            assert!(entry.is_aligned_to(256));
            assert!(view.window(entry, 8, Access::Execute).is_ok());
            assert!(view.window(descriptor, 8, Access::Execute).is_err(), "constants are not code");
        }
        executables.destroy(executable).unwrap();
        assert!(map.view().load_u32(descriptor).is_err());
        assert!(matches!(executables.symbol_info(symbol, 0), Err(RuntimeError::InvalidSymbol(_))));
    }

    #[test]
    fn a_frozen_executable_takes_no_code_and_freezes_once() {
        let (_, executables) = rig();
        let (reader, executable) = (executables.create_reader(GFX803), executables.create());
        executables.freeze(executable).unwrap();
        assert!(matches!(executables.load(executable, reader), Err(RuntimeError::FrozenExecutable)));
        assert!(matches!(executables.freeze(executable), Err(RuntimeError::FrozenExecutable)));
    }

    #[test]
    fn the_same_kernel_cannot_be_loaded_twice_into_one_executable() {
        let (_, executables) = rig();
        let (reader, executable) = (executables.create_reader(GFX803), executables.create());
        executables.load(executable, reader).unwrap();
        assert!(matches!(executables.load(executable, reader), Err(RuntimeError::AlreadyDefined(_))));
        let second = executables.create();
        assert!(executables.load(second, reader).is_ok());
    }

    #[test]
    fn names_are_those_of_descriptors() {
        let (_, executables) = rig();
        let (reader, executable) = (executables.create_reader(GFX803), executables.create());
        executables.load(executable, reader).unwrap();
        assert!(matches!(executables.symbol(executable, "vector_copy"), Err(RuntimeError::InvalidSymbolName(_))));
        assert!(executables.symbol(executable, "vector_copy.kd").is_ok());
    }

    #[test]
    fn unknown_handles_are_refused_by_kind() {
        let (_, executables) = rig();
        let executable = executables.create();
        assert!(matches!(executables.load(executable, 99), Err(RuntimeError::InvalidReader(99))));
        assert!(matches!(executables.load(98, 99), Err(RuntimeError::InvalidExecutable(98))));
        assert!(matches!(executables.destroy(98), Err(RuntimeError::InvalidExecutable(98))));
        assert!(matches!(executables.destroy_reader(97), Err(RuntimeError::InvalidReader(97))));
    }

    #[test]
    fn a_file_that_is_no_code_object_is_refused() {
        let (_, executables) = rig();
        let (reader, executable) = (executables.create_reader(b"#!/bin/sh\n"), executables.create());
        assert!(matches!(executables.load(executable, reader), Err(RuntimeError::Load(_))));
    }
}
