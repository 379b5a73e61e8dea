//! Any bytes as a code object: it is refused, or everything that it names lies inside it.

use aqlprobe::runtime::loader;

pub fn run(bytes: &[u8]) {
    // ELF structures are read in place, so the file is aligned.
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(padded);
    }
    // SAFETY: the words are initialised, and a byte has no alignment and no invalid value.
    let file = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), bytes.len()) };
    match loader::read(file) {
        Ok(object) => {
            for segment in &object.segments {
                assert!(segment.file.end <= file.len() && segment.file.start <= segment.file.end);
                assert!(segment.image.end <= object.image_bytes && segment.image.start < segment.image.end);
                assert!((segment.file.len() as u64) <= segment.image.end - segment.image.start);
                assert!(!(segment.writable && segment.executable));
            }
            for kernel in object.kernels.values() {
                assert!(kernel.descriptor + 64 <= object.image_bytes);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
