//! Packets in, whole packets out.

use anyhow::Result;
use lab::rig::{Plan, Rig, TX, tcp};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

#[test]
fn a_packet_to_a_listener_reaches_its_backend() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(
        &Plan::new("web")
            .listen("198.18.1.100:80", TCP)
            .track(&["198.18.2.1:8080"]),
    )?;
    let request = tcp("198.18.0.9:40000", "198.18.1.100:80").with(b"GET / HTTP/1.1\r\n");
    let (outcome, counted) = rig.run_counted(&request.frame())?;
    assert_eq!(outcome.packet, request.forwarded("198.18.2.1:8080").frame());
    assert_eq!((outcome.action, counted), (TX, vec![Reason::NewFlow]));
    Ok(())
}
