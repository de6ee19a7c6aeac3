//! The bench's driver: the program itself, on a packet of another flow each time; and the same
//! without the program, for the floor.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_md};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::headers::{ETHERNET, IPV4, IPV6, Packet as _, PacketMut as _, TCP_HEADER};
use splitter_ebpf::wire::WireAddress;

use crate::program;
use crate::program::packet::{Frame, grow_head};

/// The bench's orders.
#[btf_map]
pub static DRIVE: Array<Drive, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Other ends of flows, as [`Drive::listed_end`] packs them.
#[btf_map]
pub static DRIVE_ENDS: Array<u64, { Drive::LISTED }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The next IPv4 packet through the program.
#[xdp(frags)]
fn drive_v4(ctx: XdpContext) -> u32 {
    match next::<false>(ctx.ctx, Program::Runs) {
        Some(mut frame) => crate::split(&mut frame),
        None => XDP_ABORTED,
    }
}

/// The next IPv6 packet through the program.
#[xdp(frags)]
fn drive_v6(ctx: XdpContext) -> u32 {
    match next::<true>(ctx.ctx, Program::Runs) {
        Some(mut frame) => crate::split(&mut frame),
        None => XDP_ABORTED,
    }
}

/// The next IPv4 packet alone.
#[xdp(frags)]
fn drive_v4_floor(ctx: XdpContext) -> u32 {
    next::<false>(ctx.ctx, Program::IsLeftOut).map_or(XDP_ABORTED, |_| XDP_PASS)
}

/// The next IPv6 packet alone.
#[xdp(frags)]
fn drive_v6_floor(ctx: XdpContext) -> u32 {
    next::<true>(ctx.ctx, Program::IsLeftOut).map_or(XDP_ABORTED, |_| XDP_PASS)
}

/// Whether the program follows the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Runs,
    IsLeftOut,
}

/// Takes off what the program put before the last packet. Where there is no program, every other packet
/// is made longer and shorter, so that the floor has as much of that as the driver: once a packet.
#[inline(always)]
fn shrink<const V6: bool>(context: *mut xdp_md, drive: &Drive, program: Program) -> bool {
    if drive.overhead == 0 {
        return true;
    }
    let overhead = if V6 { IPV6 } else { IPV4 } as i32;
    if program == Program::IsLeftOut {
        return drive.next & 1 == 0
            || (grow_head(context, overhead) && grow_head(context, -overhead));
    }
    let frame = Frame::new(context, 0);
    if !frame.has(ETHERNET + IPV4) {
        return false;
    }
    let carried = if V6 {
        frame.byte(ETHERNET + 6) == 41
    } else {
        frame.byte(ETHERNET + 9) == 4
    };
    !carried || grow_head(context, -overhead)
}

/// Makes the frame the next flow's packet: whatever the program changes is written anew, in words no
/// narrower than those the program reads, so that no load waits for two stores.
#[inline(always)]
fn next<const V6: bool>(context: *mut xdp_md, program: Program) -> Option<Frame> {
    let drive = DRIVE.get_ptr_mut(0)?;
    // SAFETY: the look-up succeeded, and the bench runs one driver at a time.
    let drive = unsafe { &mut *drive };
    if !shrink::<V6>(context, drive, program) {
        return None;
    }
    let mut frame = Frame::new(context, 0);
    let l4 = ETHERNET + if V6 { IPV6 } else { IPV4 };
    if !frame.has(l4 + TCP_HEADER) {
        return None;
    }
    let flow = drive.flow(drive.next);
    if let Some(bucket) = drive.swept(drive.next) {
        program::sweep(bucket);
    }
    drive.next += 1;
    let (server, mut client) = (drive.server.0, drive.client.0);
    let last = if V6 { 3 } else { 0 };
    client[last] = drive.address(flow, client[last]);
    let (mut client_port, server_port) = (u32::from(drive.port(flow)), drive.server_port);
    if drive.listed == 1 {
        let end = *DRIVE_ENDS.get(flow)?;
        client[last] = end as u32;
        client_port = (end >> 32) as u32 & 0xffff;
    }
    let (source, destination, ports) = if drive.forward == 1 {
        (client, server, client_port | (server_port << 16))
    } else {
        (server, client, server_port | (client_port << 16))
    };
    if V6 {
        let word = u32::from(frame.half(ETHERNET + 4))
            | u32::from_le_bytes([0, 0, frame.byte(ETHERNET + 6), 64]);
        frame.set_word(ETHERNET + 4, word);
        let ([a, b], [c, d]) = (
            WireAddress(source).halves(),
            WireAddress(destination).halves(),
        );
        frame.set_long(ETHERNET + 8, a);
        frame.set_long(ETHERNET + 16, b);
        frame.set_long(ETHERNET + 24, c);
        frame.set_long(ETHERNET + 32, d);
    } else {
        let word = u32::from_le_bytes([64, frame.byte(ETHERNET + 9), 0, 0]);
        frame.set_word(ETHERNET + 8, word);
        frame.set_word(ETHERNET + 12, source[0]);
        frame.set_word(ETHERNET + 16, destination[0]);
    }
    frame.set_word(l4, ports);
    if drive.overhead != 0 {
        // What was put before the packet lay over this.
        let ethertype = if V6 { 0x86dd_u16 } else { 0x0800 };
        frame.set_half(12, ethertype.to_be());
    }
    Some(frame)
}
