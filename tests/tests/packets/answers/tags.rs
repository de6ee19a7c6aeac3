use anyhow::Result;
use lab::rig::{Rig, Told};
use splitter_ebpf::flow::SYN;
use splitter_ebpf::verdict::Reason;

use super::super::{check, sent, web};
use super::no_backend::deserted;
use super::{VIP, requests};
use splitter_ebpf::abi::NoBackend;

/// The same frame with the tag of VLAN 7.
fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, 7]);
    frame
}

#[test]
fn an_answer_bears_the_tag_that_its_packet_came_with_and_does_not_quote_it() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, vip) in VIP.into_iter().enumerate() {
        for (what, request) in requests(family, 600) {
            let expired = request.ttl(1).frame();
            let error = Told::Expired.about(&expired, vip);
            let row = sent(what, tagged(expired), Reason::TtlExpired, tagged(error));
            check(&rig, &[row])?;
        }
    }
    Ok(())
}

#[test]
fn a_rst_bears_the_tag_that_its_segment_came_with() -> Result<()> {
    let mut rig = Rig::new()?;
    deserted(&mut rig, NoBackend::Reset)?;
    for family in 0..2 {
        let [(what, segment), _] = requests(family, 0);
        let segment = segment.flags(SYN);
        let (frame, reset) = (tagged(segment.frame()), tagged(segment.reset()));
        check(&rig, &[sent(what, frame, Reason::NoBackendReset, reset)])?;
    }
    Ok(())
}
