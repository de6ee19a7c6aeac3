//! VLAN tags (IEEE 802.1Q). The tag of a frame that may concern us is taken off first, so that all else
//! sees plain frames, and the one that its next hop asks for is put on at the end.

use super::lookup;
use super::outcome::Outcome;
use super::packet::{Frame, grow_head};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Endpoint, Path};
use splitter_ebpf::headers::{ETHERNET, Packet as _, PacketMut as _, Tagged, parse_tagged};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, WirePort};

const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
/// Bytes of a tag.
const TAG: usize = 4;
/// Says that a tag was taken off.
const TAKEN: u64 = 1 << 32;
/// Marks the tag of a frame that had one.
const PRESENT: u32 = 1 << 16;

/// What became of a tagged frame.
pub enum Untagged {
    /// It meets this verdict as it is.
    Verdict(Outcome),
    /// It was taken off: its control information (priority and VLAN id) in host order, and a bit above that
    /// says that there was one.
    Taken(u32),
}

/// Takes the tag off a frame that may concern us.
#[inline(always)]
pub fn untag(context: *mut xdp_md) -> Untagged {
    let answer = take_tag(context);
    if answer & TAKEN == 0 {
        Untagged::Verdict(Outcome(answer))
    } else {
        Untagged::Taken(PRESENT | (answer & 0xffff) as u32)
    }
}

/// A frame's tag as [`Path::vlan`] has it.
#[inline(always)]
pub const fn path_of(tag: u32) -> u16 {
    if tag == 0 {
        0
    } else {
        Path::tagged(tag as u16)
    }
}

/// Takes the tag off. Gives back [`TAKEN`] and its control information, or a verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_tag(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context, 0);
    let Some(tagged) = parse_tagged(&frame) else {
        return Outcome::of(Reason::NotIp).0;
    };
    if !tagged.icmp && !concerns(&tagged) {
        return Outcome::of(Reason::Foreign).0;
    }
    if tagged.stacked {
        // ICMP alone is not known to be ours.
        let reason = if concerns(&tagged) {
            Reason::VlanTag
        } else {
            Reason::Foreign
        };
        return Outcome::of(reason).0;
    }
    if !frame.has(ETHERNET + TAG) {
        return Outcome::of(Reason::NotIp).0;
    }
    // Both MAC addresses move over the tag, the last word first.
    let (first, second, third) = (frame.word(0), frame.word(4), frame.word(8));
    frame.set_word(12, third);
    frame.set_word(8, second);
    frame.set_word(4, first);
    if !grow_head(context, -(TAG as i32)) {
        return Outcome::of(Reason::Unwritable).0;
    }
    TAKEN | tagged.control as u64
}

fn concerns(tagged: &Tagged) -> bool {
    let meta = Endpoint::meta_of(WirePort(0), 0, tagged.family);
    match tagged.family {
        Family::V4 => {
            lookup::endpoint::<false>(tagged.destination, meta).is_some()
                || lookup::endpoint::<false>(tagged.source, meta).is_some()
        }
        Family::V6 => {
            lookup::endpoint::<true>(tagged.destination, meta).is_some()
                || lookup::endpoint::<true>(tagged.source, meta).is_some()
        }
    }
}

/// Puts a tag on a frame, whose control information (host order) is in the low 16 bits. Gives back 0, or 1
/// if there was no room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn put_tag(context: *mut xdp_md, control: u32) -> u64 {
    if !grow_head(context, TAG as i32) {
        return 1;
    }
    let mut frame = Frame::new(context, 0);
    if !frame.has(ETHERNET + TAG) {
        return 1;
    }
    let (first, second, third) = (frame.word(4), frame.word(8), frame.word(12));
    frame.set_word(0, first);
    frame.set_word(4, second);
    frame.set_word(8, third);
    frame.set_half(12, ETHERTYPE_VLAN);
    frame.set_half(14, (control as u16).to_be());
    0
}
