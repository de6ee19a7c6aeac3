//! Passes all.
#![expect(missing_docs, reason = "x")]
#![no_std]
#![no_main]
use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
#[xdp]
/// x
pub fn splitter(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
