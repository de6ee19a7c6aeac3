use anyhow::Result;
use lab::rig::{Rig, Segment, Service, Told, route_to_clients, tcp, udp};
use splitter_ebpf::abi::{Mode, Path};
use splitter_ebpf::verdict::Reason;

use super::super::{BACKEND, CLIENT, DNS, WEB, check, round_trip, untouched, web};
use super::{requests, told};

/// Bytes of headers before the data of TCP over each family.
const HEADERS: [usize; 2] = [40, 60];

/// Gives the ways to every backend of a service this MTU, and this mode to the backends.
fn limit(rig: &Rig, service: &Service, mtu: u16, mode: Mode) {
    for id in service.backends.iter().flatten() {
        let mut backend = rig.tables().backend(*id);
        backend.mode = mode as u8;
        backend.paths = [Path { mtu, vlan: 0 }; 2];
        rig.tables().write_backend(*id, backend);
    }
}

#[test]
fn a_request_too_big_for_its_way_is_answered_with_the_mtu_and_one_that_fits_goes_on() -> Result<()>
{
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    limit(&rig, &service, 1300, Mode::Dnat);
    for family in 0..2 {
        let fits = tcp(CLIENT[family], WEB[family]).with(&vec![1; 1300 - HEADERS[family]]);
        check(&rig, &round_trip("fits", &fits, BACKEND[family]))?;
        let big = fits.with(&vec![1; 1301 - HEADERS[family]]).frame();
        let row = told("TCP", family, &big, Reason::TooBig, Told::TooBig(1300));
        check(&rig, &[row])?;
        let [_, (_, datagram)] = requests(family, 1400);
        let datagram = datagram.frame();
        let row = told("UDP", family, &datagram, Reason::TooBig, Told::TooBig(1300));
        check(&rig, &[row])?;
    }
    Ok(())
}

#[test]
fn a_tunnel_leaves_less_room_by_its_header() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    limit(&rig, &service, 1500, Mode::Ipip);
    for (family, mtu) in [1480, 1460].into_iter().enumerate() {
        let data = usize::from(mtu) + 1 - HEADERS[family];
        let big = tcp(CLIENT[family], WEB[family])
            .with(&vec![1; data])
            .frame();
        let row = told("tunnel", family, &big, Reason::TooBig, Told::TooBig(mtu));
        check(&rig, &[row])?;
    }
    Ok(())
}

#[test]
fn without_dont_fragment_nobody_is_told() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    limit(&rig, &service, 1300, Mode::Dnat);
    let mut big = udp(CLIENT[0], DNS[0]).with(&[1; 1400]).frame();
    big[20] = 0;
    check(&rig, &[untouched("no DF", big, Reason::TooBigToFragment)])
}

#[test]
fn a_reply_too_big_for_the_way_to_the_client_is_answered_by_the_vip() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    route_to_clients()?;
    lab::rig::limit_clients(1300)?;
    for (family, client) in ["198.19.3.4:5000", "[2001:db8:c::4]:5000"]
        .into_iter()
        .enumerate()
    {
        let request = tcp(client, WEB[family]);
        rig.run(&request.frame())?;
        let forwarded = request.forwarded(BACKEND[family]);
        let reply = Segment {
            macs: [forwarded.macs[1], forwarded.macs[0]],
            ttl: 64,
            ..forwarded.answered()
        };
        let big = reply.with(&vec![1; 1301 - HEADERS[family]]).frame();
        let row = told("reply", family, &big, Reason::TooBig, Told::TooBig(1300));
        check(&rig, &[row])?;
    }
    Ok(())
}

#[test]
fn a_frame_in_several_buffers_is_answered_as_well() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    limit(&rig, &service, 1500, Mode::Dnat);
    for family in 0..2 {
        for data in [3000, 5000, 8900] {
            for (what, request) in requests(family, data) {
                let (what, frame) = (format!("{what}, {data} bytes"), request.frame());
                let row = told(&what, family, &frame, Reason::TooBig, Told::TooBig(1500));
                check(&rig, &[row])?;
            }
        }
    }
    Ok(())
}
