//! The bench's driver: the program itself, on a packet of another flow each time; and the same
//! without the program, for the floor.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::headers::{ETHERNET, IPV4, IPV6, Packet as _, PacketMut as _, TCP_HEADER};
use splitter_ebpf::wire::WireAddress;

use crate::program::{self, packet::Frame};

/// The bench's orders.
#[btf_map]
pub static DRIVE: Array<Drive, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The next IPv4 packet through the program.
#[xdp(frags)]
fn drive_v4(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(ctx.ctx, 0);
    if next::<false>(&mut frame) {
        crate::split(&mut frame)
    } else {
        XDP_ABORTED
    }
}

/// The next IPv6 packet through the program.
#[xdp(frags)]
fn drive_v6(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(ctx.ctx, 0);
    if next::<true>(&mut frame) {
        crate::split(&mut frame)
    } else {
        XDP_ABORTED
    }
}

/// The next IPv4 packet alone.
#[xdp(frags)]
fn drive_v4_floor(ctx: XdpContext) -> u32 {
    if next::<false>(&mut Frame::new(ctx.ctx, 0)) {
        XDP_PASS
    } else {
        XDP_ABORTED
    }
}

/// The next IPv6 packet alone.
#[xdp(frags)]
fn drive_v6_floor(ctx: XdpContext) -> u32 {
    if next::<true>(&mut Frame::new(ctx.ctx, 0)) {
        XDP_PASS
    } else {
        XDP_ABORTED
    }
}

/// Makes the frame the next flow's packet: whatever the program changes is written anew, in words no
/// narrower than those the program reads, so that no load waits for two stores.
#[inline(always)]
fn next<const V6: bool>(frame: &mut Frame) -> bool {
    let l4 = ETHERNET + if V6 { IPV6 } else { IPV4 };
    if !frame.has(l4 + TCP_HEADER) {
        return false;
    }
    let Some(drive) = DRIVE.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the look-up succeeded, and the bench runs one driver at a time.
    let drive = unsafe { &mut *drive };
    let flow = drive.flow(drive.next);
    if let Some(bucket) = drive.swept(drive.next) {
        program::sweep(bucket);
    }
    drive.next += 1;
    let (server, mut client) = (drive.server.0, drive.client.0);
    let last = if V6 { 3 } else { 0 };
    client[last] = drive.address(flow, client[last]);
    let (client_port, server_port) = (u32::from(drive.port(flow)), drive.server_port);
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
    true
}
