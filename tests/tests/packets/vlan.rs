//! VLAN tags: taken off, put on, given back (IEEE 802.1Q).

use anyhow::Result;
use lab::rig::{PASS, Rig, TX, tcp};
use splitter_ebpf::abi::Path;
use splitter_ebpf::verdict::Reason;

use super::{BACKEND, CLIENT, ELSEWHERE, Row, WEB, check, round_trip, sent, untouched, web};

fn tagged(mut frame: Vec<u8>, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

#[test]
fn a_tagged_request_leaves_without_a_tag_where_the_next_hop_asks_for_none() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        let request = tcp(CLIENT[family], WEB[family]).with(b"data");
        let out = request.forwarded(BACKEND[family]).frame();
        let row = sent("tagged", tagged(request.frame(), 42), Reason::NewFlow, out);
        check(&rig, &[row])?;
    }
    Ok(())
}

#[test]
fn a_request_leaves_with_the_tag_of_its_next_hop_and_its_reply_with_the_one_it_came_with()
-> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    for family in 0..2 {
        let id = service.backends[0][family];
        let (hop, path) = {
            let backend = rig.tables().backend(id);
            (backend.hops[0], backend.paths[0])
        };
        let vlan = Path {
            vlan: Path::tagged(7),
            ..path
        };
        assert!(rig.tables().set_hop(id, hop, vlan));
        let request = tcp(CLIENT[family], WEB[family]);
        let [to, back] = round_trip("across", &request, BACKEND[family]);
        let rows = [
            Row {
                packet: tagged(to.packet, 4094),
                out: tagged(to.out, 7),
                ..to
            },
            Row {
                packet: tagged(back.packet, 7),
                out: tagged(back.out, 4094),
                ..back
            },
        ];
        check(&rig, &rows)?;
    }
    Ok(())
}

#[test]
fn what_is_not_ours_keeps_its_tag() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        let foreign = tagged(tcp(CLIENT[family], ELSEWHERE[family]).frame(), 0x602a);
        // From a backend, but of no flow: the tag is off by the time that is known.
        let direct = tagged(tcp(BACKEND[family], ELSEWHERE[family]).frame(), 0x602a);
        let rows = [
            untouched("foreign", foreign, Reason::Foreign),
            untouched("direct", direct, Reason::BackendDirect),
        ];
        assert!(
            rows.iter()
                .all(|row| row.action == PASS && row.action != TX)
        );
        check(&rig, &rows)?;
    }
    Ok(())
}
