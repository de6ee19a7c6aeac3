use super::Resize;
use crate::headers::{Frame, Packet, PacketMut};

/// A frame in a slice with room in front, for the host.
#[derive(Debug)]
pub struct Roomy<'a> {
    bytes: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> Roomy<'a> {
    /// The frame that begins behind `room` bytes.
    pub const fn new(bytes: &'a mut [u8], room: usize) -> Self {
        let end = bytes.len();
        Self {
            bytes,
            start: room,
            end,
        }
    }

    /// The frame as it is now.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn frame_mut(&mut self) -> Frame<'_> {
        Frame(&mut self.bytes[self.start..self.end])
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.frame()[at..at + N]);
        array
    }
}

impl Resize for Roomy<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        let start = self.start.checked_sub(bytes);
        self.start = start.unwrap_or(self.start);
        start.is_some()
    }
    fn trim(&mut self, length: usize) -> bool {
        let fits = self.has(length);
        if fits {
            self.end = self.start + length;
        }
        fits
    }
}

impl Packet for Roomy<'_> {
    fn has(&self, length: usize) -> bool {
        self.frame().len() >= length
    }
    fn byte(&self, at: usize) -> u8 {
        self.frame()[at]
    }
    fn half(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.array(at))
    }
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }
    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }
}

impl PacketMut for Roomy<'_> {
    fn set_byte(&mut self, at: usize, value: u8) {
        self.frame_mut().set_byte(at, value);
    }
    fn set_half(&mut self, at: usize, value: u16) {
        self.frame_mut().set_half(at, value);
    }
    fn set_word(&mut self, at: usize, value: u32) {
        self.frame_mut().set_word(at, value);
    }
    fn set_long(&mut self, at: usize, value: u64) {
        self.frame_mut().set_long(at, value);
    }
}
