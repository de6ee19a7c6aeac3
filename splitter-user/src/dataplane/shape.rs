//! Tables that go into maps of maps.
//!
//! Up to 6.1 the kernel takes an inner map only if it has types (BTF) exactly when the map that the
//! outer one was made with has them (kernel/bpf/map_in_map.c, `bpf_map_meta_equal`, by way of where
//! a timer might lie). The object's have, so ours carry a description of their own: a structure of
//! the right size, with nothing in it.

use std::io;
use std::os::fd::OwnedFd;

use super::sys;

/// What the tables of one kind look like.
#[derive(Debug)]
pub struct Shape {
    types: OwnedFd,
    value_size: u32,
}

/// The key's type, and the value's.
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// `BTF_KIND_INT` and `BTF_KIND_STRUCT` (include/uapi/linux/btf.h), where a type has its kind.
const INT: u32 = 1 << 24;
const STRUCT: u32 = 4 << 24;

impl Shape {
    /// The shape of arrays of values of `value_size` bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(value_size: usize) -> io::Result<Self> {
        let value_size = u32::try_from(value_size).map_err(io::Error::other)?;
        let types = sys::load_types(&description(value_size))?;
        Ok(Self { types, value_size })
    }

    /// A fresh, zeroed, mappable array of this shape.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(&self, entries: usize) -> io::Result<OwnedFd> {
        let entries = u32::try_from(entries).map_err(io::Error::other)?;
        sys::create_array(self.value_size, entries, &self.types, [KEY, VALUE])
    }
}

/// The types as the kernel reads them: a header, two types, their names.
fn description(value_size: u32) -> Vec<u8> {
    let names = b"\0u32\0";
    let types = [1, INT, 4, 32, 0, STRUCT, value_size];
    let (types_length, names_length) = (28, 5);
    let header = [24, 0, types_length, types_length, names_length];
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    // Version 1, no flags.
    bytes.extend([1, 0]);
    for word in header.iter().chain(&types) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(names);
    bytes
}

#[cfg(test)]
mod tests {
    use super::description;

    #[test]
    fn the_description_says_its_own_lengths() {
        let bytes = description(0x1234);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let [header, types, names] = [word(4), word(12), word(20)];
        assert_eq!(bytes.len(), (header + types + names) as usize);
        assert_eq!(word(16), types, "names follow the types");
        assert_eq!(word((header + types) as usize - 4), 0x1234);
    }
}
