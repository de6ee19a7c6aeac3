use anyhow::Result;
use lab::rig::{Rig, Segment, TX, split, tcp, udp};
use splitter_ebpf::flow::{ACK, FIN, RST, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::{BACKEND, CLIENT, DNS, WEB, web};

/// One flow between a client and a backend.
struct Talk {
    rig: Rig,
    listener: u16,
    request: Segment,
    backend: &'static str,
}

impl Talk {
    fn new(family: usize, protocol: u8) -> Result<Self> {
        let mut rig = Rig::new()?;
        let service = web(&mut rig)?;
        let (request, listener) = if protocol == TCP {
            (tcp(CLIENT[family], WEB[family]), service.listeners[family])
        } else {
            (
                udp(CLIENT[family], DNS[family]),
                service.listeners[2 + family],
            )
        };
        Ok(Self {
            rig,
            listener,
            request,
            backend: BACKEND[family],
        })
    }

    /// The client sends; the flow's state afterwards.
    fn client(&self, flags: u8, data: &[u8]) -> Result<State> {
        let packet = self.request.clone().flags(flags).with(data);
        assert_eq!(
            self.rig.run(&packet.frame())?.packet,
            packet.forwarded(self.backend).frame()
        );
        Ok(self.state())
    }

    /// The backend sends; the flow's state afterwards.
    fn backend(&self, flags: u8, data: &[u8]) -> Result<State> {
        let packet = self
            .request
            .forwarded(self.backend)
            .answered()
            .flags(flags)
            .with(data);
        let out = packet.returned(&self.request.to.to_string()).frame();
        let (outcome, counted) = self.rig.run_counted(&packet.frame())?;
        assert_eq!(
            (outcome.action, outcome.packet, counted),
            (TX, out, vec![Reason::Reply])
        );
        Ok(self.state())
    }

    fn state(&self) -> State {
        let flow = self
            .rig
            .flow(&self.request, self.listener)
            .expect("a pinned flow");
        State::from_bits(flow.value.state_bits()).expect("a state")
    }

    /// Up to the handshake's end.
    fn connected(family: usize) -> Result<Self> {
        let talk = Self::new(family, TCP)?;
        assert_eq!(talk.client(SYN, b"")?, State::New);
        assert_eq!(talk.backend(SYN | ACK, b"")?, State::Replied);
        assert_eq!(talk.client(ACK, b"")?, State::Established);
        Ok(talk)
    }
}

#[test]
fn a_connection_opens_and_closes_in_order() -> Result<()> {
    for family in 0..2 {
        let talk = Talk::connected(family)?;
        assert_eq!(talk.client(ACK, b"request")?, State::Established);
        assert_eq!(talk.client(FIN | ACK, b"")?, State::FinClient);
        assert_eq!(
            talk.backend(ACK, b"the rest of the answer")?,
            State::FinClient
        );
        assert_eq!(talk.backend(FIN | ACK, b"")?, State::Closing);
        assert_eq!(talk.client(ACK, b"")?, State::Closing);
    }
    Ok(())
}

#[test]
fn a_backend_may_close_first() -> Result<()> {
    let talk = Talk::connected(0)?;
    assert_eq!(talk.backend(FIN | ACK, b"bye")?, State::FinBackend);
    assert_eq!(talk.client(FIN | ACK, b"")?, State::Closing);
    Ok(())
}

#[test]
fn a_reset_is_undone_by_whoever_goes_on() -> Result<()> {
    for family in 0..2 {
        let talk = Talk::connected(family)?;
        assert_eq!(talk.client(RST, b"")?, State::Reset);
        assert_eq!(
            talk.backend(ACK, b"the reset was forged")?,
            State::Established
        );
        assert_eq!(talk.backend(RST | ACK, b"")?, State::Reset);
        assert_eq!(talk.client(ACK, b"")?, State::Established);
    }
    Ok(())
}

#[test]
fn a_forged_close_is_undone_by_data() -> Result<()> {
    let talk = Talk::connected(0)?;
    talk.client(FIN | ACK, b"")?;
    assert_eq!(talk.backend(FIN | ACK, b"")?, State::Closing);
    assert_eq!(talk.client(ACK, b"still here")?, State::Established);
    Ok(())
}

#[test]
fn a_reset_of_what_was_never_established_leaves_it_unestablished() -> Result<()> {
    let talk = Talk::new(0, TCP)?;
    assert_eq!(talk.client(SYN, b"")?, State::New);
    assert_eq!(talk.client(RST, b"")?, State::ResetNew);
    assert_eq!(talk.client(ACK, b"")?, State::New);
    Ok(())
}

#[test]
fn a_reset_without_a_flow_is_sent_on_and_pins_nothing() -> Result<()> {
    let talk = Talk::new(0, TCP)?;
    let reset = talk.request.clone().flags(RST);
    let (outcome, counted) = talk.rig.run_counted(&reset.frame())?;
    assert_eq!((outcome.action, counted), (TX, vec![Reason::StrayReset]));
    assert_eq!(outcome.packet, reset.forwarded(talk.backend).frame());
    assert!(talk.rig.flows().is_empty());
    Ok(())
}

#[test]
fn a_flow_taken_up_in_the_middle_is_established_by_the_backend_and_not_by_lasting() -> Result<()> {
    let talk = Talk::new(0, TCP)?;
    assert_eq!(talk.client(ACK, b"taken up in the middle")?, State::New);
    talk.rig.wait_ticks(5)?;
    assert_eq!(talk.client(ACK, b"data")?, State::New);
    assert_eq!(talk.backend(ACK, b"answer")?, State::Replied);
    assert_eq!(talk.client(ACK, b"")?, State::Established);
    Ok(())
}

#[test]
fn a_udp_flow_is_established_by_its_first_reply() -> Result<()> {
    for family in 0..2 {
        let talk = Talk::new(family, splitter_ebpf::wire::UDP)?;
        assert_eq!(talk.client(0, b"question")?, State::UdpNew);
        assert_eq!(talk.client(0, b"question")?, State::UdpNew);
        assert_eq!(talk.backend(0, b"answer")?, State::UdpEstablished);
        assert_eq!(talk.client(0, b"another")?, State::UdpEstablished);
    }
    Ok(())
}

#[test]
fn a_udp_flow_is_established_by_lasting_over_a_second() -> Result<()> {
    let talk = Talk::new(0, splitter_ebpf::wire::UDP)?;
    assert_eq!(talk.client(0, b"one")?, State::UdpNew);
    talk.rig.wait_ticks(5)?;
    assert_eq!(talk.client(0, b"two")?, State::UdpEstablished);
    Ok(())
}

/// Two tracks of one backend each, all to the first.
fn blue_and_green() -> Result<(Rig, lab::rig::Service)> {
    let mut rig = Rig::new()?;
    let plan = lab::rig::Plan::new("web")
        .listen(WEB[0], TCP)
        .track(&["198.18.2.1:8080"])
        .track(&["198.18.3.1:8080"]);
    let service = rig.serve(&plan)?;
    rig.write_split(&service, 1, &split(&[(1, 1)]))?;
    Ok((rig, service))
}

const BLUE: &str = "198.18.2.1:8080";
const GREEN: &str = "198.18.3.1:8080";

#[test]
fn a_repeated_syn_follows_the_pin_that_it_meets() -> Result<()> {
    let (rig, service) = blue_and_green()?;
    let request = tcp(CLIENT[0], WEB[0]);
    let syn = request.clone().flags(SYN);
    assert_eq!(rig.run(&syn.frame())?.packet, syn.forwarded(BLUE).frame());
    rig.flip(&[(service.id, 1)])?;
    assert_eq!(
        rig.run(&syn.frame())?.packet,
        syn.forwarded(BLUE).frame(),
        "half open"
    );
    rig.run(&tcp(BLUE, CLIENT[0]).flags(SYN | ACK).frame())?;
    rig.run(&request.frame())?;
    assert_eq!(
        rig.run(&syn.frame())?.packet,
        syn.forwarded(BLUE).frame(),
        "established"
    );
    let flow = rig.flow(&request, service.listeners[0]).unwrap();
    assert_eq!(flow.value.state_bits(), State::Established as u8);
    Ok(())
}

#[test]
fn a_port_used_again_after_its_flow_closed_selects_anew() -> Result<()> {
    let (rig, service) = blue_and_green()?;
    let request = tcp(CLIENT[0], WEB[0]);
    let syn = request.clone().flags(SYN);
    let reply = tcp(BLUE, CLIENT[0]);
    for packet in [syn.clone(), reply.clone().flags(SYN | ACK), request.clone()] {
        rig.run(&packet.frame())?;
    }
    rig.flip(&[(service.id, 1)])?;
    for packet in [request.clone().flags(FIN | ACK), reply.flags(FIN | ACK)] {
        rig.run(&packet.frame())?;
    }
    assert_eq!(
        rig.run(&request.frame())?.packet,
        request.forwarded(BLUE).frame(),
        "its last ACK"
    );
    let (outcome, counted) = rig.run_counted(&syn.frame())?;
    assert_eq!(
        (outcome.packet, counted),
        (syn.forwarded(GREEN).frame(), vec![Reason::NewFlow])
    );
    let flow = rig.flow(&request, service.listeners[0]).unwrap();
    assert_eq!(
        (flow.value.backend(), flow.value.state_bits()),
        (service.backends[1][0], State::New as u8)
    );
    assert_eq!(rig.flows().len(), 1, "in the old one's place");
    Ok(())
}

#[test]
fn a_port_used_again_after_a_reset_selects_anew() -> Result<()> {
    let (rig, service) = blue_and_green()?;
    let syn = tcp(CLIENT[0], WEB[0]).flags(SYN);
    rig.run(&syn.frame())?;
    rig.run(&tcp(BLUE, CLIENT[0]).flags(RST | ACK).frame())?;
    rig.flip(&[(service.id, 1)])?;
    assert_eq!(rig.run(&syn.frame())?.packet, syn.forwarded(GREEN).frame());
    Ok(())
}

#[test]
fn a_forged_reset_and_a_forged_syn_after_it_do_not_move_a_flow_that_lives() -> Result<()> {
    let (rig, service) = blue_and_green()?;
    let from_client = |flags| tcp(CLIENT[0], WEB[0]).flags(flags);
    rig.run(&from_client(SYN).frame())?;
    rig.run(&tcp(BLUE, CLIENT[0]).flags(SYN | ACK).frame())?;
    rig.run(&from_client(ACK).frame())?;
    rig.flip(&[(service.id, 1)])?;
    for flags in [RST, SYN, ACK] {
        let packet = from_client(flags);
        let out = packet.forwarded(BLUE).frame();
        assert_eq!(rig.run(&packet.frame())?.packet, out, "flags {flags:#x}");
    }
    // A second of silence after a RST, and it was no forgery.
    rig.run(&from_client(RST).frame())?;
    rig.wait_ticks(5)?;
    let syn = from_client(SYN);
    assert_eq!(rig.run(&syn.frame())?.packet, syn.forwarded(GREEN).frame());
    Ok(())
}
