//! Flows that the operator has cut: every packet tells somebody, and none is sent on.

use anyhow::Result;
use lab::rig::{DROP, Plan, Rig, Segment, Service, TX, Told, split, tcp, udp};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::flow::{ACK, FIN, RST, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};
use splitter_user::dataplane::DataPlane as _;

use super::shapes::{optioned, summed};
use super::{BACKEND, CLIENT, DNS, WEB, sent, untouched};

/// What a client becomes in mode `fullnat`.
const TRANSLATED: [&str; 2] = ["198.18.2.250", "2001:db8:2::250"];
/// A backend that has the VIP answers at the listener's own port.
const SAME_PORT: [&str; 2] = ["198.18.2.1:0", "[2001:db8:2::1]:0"];

/// An established flow of a mode and family, cut; `seen` is the client's packet as its backend saw it.
struct Cut {
    rig: Rig,
    request: Segment,
    seen: Segment,
    listener: u16,
    tick: u32,
}

impl Cut {
    fn new(mode: Mode, family: usize, protocol: u8) -> Result<Self> {
        let mut rig = Rig::new()?;
        let backends = if mode == Mode::Dnat || mode == Mode::FullNat {
            BACKEND
        } else {
            SAME_PORT
        };
        let mut plan = Plan::new("web").mode(mode).track(&backends);
        for at in WEB {
            plan = plan.listen(at, TCP);
        }
        for at in DNS {
            plan = plan.listen(at, UDP);
        }
        if mode == Mode::FullNat {
            plan = plan.translated_to(&TRANSLATED, 20_000..20_001);
        }
        let service = rig.serve(&plan)?;
        let (request, listener) = if protocol == TCP {
            (tcp(CLIENT[family], WEB[family]), family)
        } else {
            (udp(CLIENT[family], DNS[family]), 2 + family)
        };
        let mut seen = request.forwarded(backends[family]);
        if mode == Mode::FullNat {
            seen.from = std::net::SocketAddr::new(TRANSLATED[family].parse()?, 20_000);
        }
        let mut cut = Self {
            request,
            seen,
            listener: service.listeners[listener],
            tick: 0,
            rig,
        };
        cut.again()?;
        Ok(cut)
    }

    /// Begins the flow anew, and cuts it.
    fn again(&mut self) -> Result<()> {
        self.rig.forget_flows();
        self.rig.run(&self.request.frame())?;
        let flow = self.rig.flow(&self.request, self.listener).expect("a pin");
        self.tick = self.rig.kernel().now()?;
        assert!(self.rig.tables().cut_flow(&flow, self.tick), "cut");
        Ok(())
    }

    /// The backend's packet.
    fn reply(&self) -> Segment {
        Segment {
            macs: [self.seen.macs[1], self.seen.macs[0]],
            ttl: 64,
            ..self.seen.answered()
        }
    }

    fn state(&self) -> Option<State> {
        let flow = self.rig.flow(&self.request, self.listener)?;
        assert_eq!(flow.value.seen(), self.tick, "no packet holds a cut flow");
        State::from_bits(flow.value.state_bits())
    }
}

fn check(cut: &Cut, row: super::Row, state: State) -> Result<()> {
    let what = row.what.clone();
    super::check(&cut.rig, &[row])?;
    assert_eq!(cut.state(), Some(state), "{what}");
    Ok(())
}

#[test]
fn both_sides_get_the_rst_that_answers_their_packets() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        for family in 0..2 {
            let mut cut = Cut::new(mode, family, TCP)?;
            for flags in [ACK, FIN | ACK, 0] {
                for data in [&b""[..], b"data"] {
                    cut.again()?;
                    let what = format!("{mode:?} {family} {flags:#x}");
                    let request = cut.request.clone().flags(flags).with(data);
                    let row = sent(&what, request.frame(), Reason::FlowCut, request.reset());
                    check(&cut, row, State::CutFirst)?;
                    let reply = cut.reply().flags(flags).with(data);
                    let row = sent(&what, reply.frame(), Reason::FlowCut, reply.reset());
                    check(&cut, row, State::CutTold)?;
                    // Again and again: a RST may be lost.
                    let row = sent(&what, request.frame(), Reason::FlowCut, request.reset());
                    check(&cut, row, State::CutTold)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_challenge_to_the_agents_syn_is_answered_with_the_number_that_it_names() -> Result<()> {
    // What meets a SYN on a connection's tuple is an ACK with the exact numbers (RFC 5961 section 4.2).
    for mode in [Mode::Dnat, Mode::FullNat] {
        let cut = Cut::new(mode, 0, TCP)?;
        let challenge = cut.reply().flags(ACK);
        let row = sent(
            "backend",
            challenge.frame(),
            Reason::FlowCut,
            challenge.reset(),
        );
        check(&cut, row, State::CutSecond)?;
        // A backend that knows of no such connection opens one half: that goes too.
        let opens = cut.reply().flags(SYN | ACK);
        let row = sent("half open", opens.frame(), Reason::FlowCut, opens.reset());
        check(&cut, row, State::CutSecond)?;
    }
    Ok(())
}

#[test]
fn a_rst_is_not_answered_and_says_that_its_sender_knows() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        for family in 0..2 {
            let cut = Cut::new(mode, family, TCP)?;
            let request = cut.request.clone().flags(RST).frame();
            check(
                &cut,
                untouched("client", request, Reason::FlowCut),
                State::CutFirst,
            )?;
            let reply = cut.reply().flags(RST | ACK).frame();
            check(
                &cut,
                untouched("backend", reply, Reason::FlowCut),
                State::CutTold,
            )?;
        }
    }
    Ok(())
}

/// The RST that a client's packet becomes: between the same ends, with its own number.
fn onward(request: &Segment, backend: &str) -> Segment {
    Segment {
        macs: request.forwarded(backend).macs,
        ..request.clone()
    }
}

#[test]
fn where_the_backend_answers_by_itself_the_clients_packets_become_its_rst() -> Result<()> {
    for (family, backend) in SAME_PORT.into_iter().enumerate() {
        let cut = Cut::new(Mode::DsrL2, family, TCP)?;
        let request = cut.request.clone().with(b"data");
        let rst = onward(&request, backend).turned_into_reset();
        for state in [State::CutFirst, State::CutSecond] {
            let row = sent(
                "onward",
                request.frame(),
                Reason::FlowCutOnward,
                rst.clone(),
            );
            check(&cut, row, state)?;
        }
        for _ in 0..2 {
            let row = sent("client", request.frame(), Reason::FlowCut, request.reset());
            check(&cut, row, State::CutTold)?;
        }
        // The client's own RST is what the backend wants.
        let own = request.clone().flags(RST).frame();
        check(
            &cut,
            sent("RST", own, Reason::FlowCutOnward, rst),
            State::CutTold,
        )?;
    }
    Ok(())
}

#[test]
fn through_a_tunnel_the_rst_goes_the_way_of_the_flows_packets() -> Result<()> {
    for (family, backend) in SAME_PORT.into_iter().enumerate() {
        let cut = Cut::new(Mode::Ipip, family, TCP)?;
        let request = cut.request.clone().with(b"data");
        let (outcome, counted) = cut.rig.run_counted(&request.frame())?;
        assert_eq!((outcome.action, counted), (TX, vec![Reason::FlowCutOnward]));
        let inner = Segment {
            ttl: request.ttl - 1,
            ..onward(&request, backend)
        };
        let head = if family == 0 { 34 } else { 54 };
        assert_eq!(outcome.packet[..6], inner.macs[0], "to the backend's MAC");
        assert_eq!(outcome.packet[head..], inner.turned_into_reset()[14..]);
        cut.rig.run(&request.frame())?;
        let row = sent("client", request.frame(), Reason::FlowCut, request.reset());
        check(&cut, row, State::CutTold)?;
    }
    Ok(())
}

#[test]
fn through_a_tunnel_the_rst_has_the_outer_source_of_the_flows_packets() -> Result<()> {
    for family in 0..2 {
        let mut cut = Cut::new(Mode::Ipip, family, TCP)?;
        // The outer addresses, and the flow label of IPv6.
        let outer = |frame: &[u8]| match family {
            0 => frame[26..34].to_vec(),
            _ => [&frame[14..18], &frame[22..54]].concat(),
        };
        for port in 40_000..40_016 {
            cut.request.from.set_port(port);
            cut.rig.forget_flows();
            let sent = cut.rig.run(&cut.request.frame())?.packet;
            cut.again()?;
            let rst = cut.rig.run(&cut.request.frame())?.packet;
            assert_eq!(outer(&rst), outer(&sent), "port {port}");
        }
    }
    Ok(())
}

#[test]
fn udp_is_told_that_the_port_is_unreachable() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat, Mode::DsrL2, Mode::Ipip] {
        for family in 0..2 {
            let cut = Cut::new(mode, family, UDP)?;
            let request = cut.request.frame();
            let told = Told::Unreachable.about(&request, &cut.request.to.ip().to_string());
            let row = sent("client", request, Reason::FlowCut, told);
            check(&cut, row, State::CutFirst)?;
            if mode == Mode::Dnat || mode == Mode::FullNat {
                let reply = cut.reply();
                let told = Told::Unreachable.about(&reply.frame(), &reply.to.ip().to_string());
                let row = sent("backend", reply.frame(), Reason::FlowCut, told);
                check(&cut, row, State::CutTold)?;
            }
        }
    }
    Ok(())
}

#[test]
fn options_and_first_fragments_of_a_cut_flow_go_nowhere_either() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat, Mode::DsrL2] {
        let cut = Cut::new(mode, 0, TCP)?;
        let with_options = optioned(cut.request.frame(), &[1, 1, 1, 0]);
        let reset = cut.request.reset();
        if mode == Mode::DsrL2 {
            let rst = onward(&cut.request, SAME_PORT[0]).turned_into_reset();
            let row = sent("options", with_options, Reason::FlowCutOnward, rst);
            check(&cut, row, State::CutFirst)?;
        } else {
            let row = sent("options", with_options, Reason::FlowCut, reset);
            check(&cut, row, State::CutFirst)?;
            let reply = cut.reply();
            let frame = optioned(reply.frame(), &[1, 1, 1, 0]);
            let row = sent("options", frame, Reason::FlowCut, reply.reset());
            check(&cut, row, State::CutTold)?;
        }
        // A fragment's length says nothing about its segment's: nobody is told, and nothing follows it.
        let mut first = cut.request.clone().with(b"datadata").frame();
        first[20] = 0x20;
        let first = summed(first);
        let (outcome, _) = cut.rig.run_counted(&first)?;
        assert_eq!(outcome.action, DROP, "{mode:?}");
    }
    Ok(())
}

#[test]
fn a_syn_on_a_cut_flows_tuple_selects_anew() -> Result<()> {
    const GREEN: &str = "198.18.3.1:8080";
    for mode in [Mode::Dnat, Mode::FullNat] {
        let mut rig = Rig::new()?;
        let mut plan = Plan::new("web")
            .listen(WEB[0], TCP)
            .track(&[BACKEND[0]])
            .track(&[GREEN]);
        if mode == Mode::FullNat {
            plan = plan.translated_to(&TRANSLATED, 20_000..20_008);
        }
        let service: Service = rig.serve(&plan)?;
        rig.write_split(&service, 1, &split(&[(1, 1)]))?;
        let request = tcp(CLIENT[0], WEB[0]);
        rig.run(&request.frame())?;
        let flow = rig.flow(&request, service.listeners[0]).expect("a pin");
        assert!(rig.tables().cut_flow(&flow, rig.kernel().now()?));
        rig.flip(&[(service.id, 1)])?;
        let syn = request.clone().flags(SYN);
        let (_, counted) = rig.run_counted(&syn.frame())?;
        assert_eq!(counted, [Reason::NewFlow], "{mode:?}");
        let flow = rig.flow(&request, service.listeners[0]).expect("a pin");
        assert_eq!(flow.value.backend(), service.backends[1][0]);
        assert_eq!(flow.value.state_bits(), State::New as u8);
        let (_, counted) = rig.run_counted(&request.frame())?;
        assert_eq!(counted, [Reason::Pinned], "{mode:?}");
        let entries = if mode == Mode::FullNat { 2 } else { 1 };
        assert_eq!(rig.flows().len(), entries, "nothing of the old one is left");
    }
    Ok(())
}

#[test]
fn a_flow_that_changed_since_it_was_read_is_not_cut() -> Result<()> {
    let cut = Cut::new(Mode::Dnat, 0, TCP)?;
    let mut flow = cut.rig.flow(&cut.request, cut.listener).expect("a pin");
    cut.rig.run(&cut.request.frame())?;
    assert!(!cut.rig.tables().cut_flow(&flow, cut.tick));
    flow = cut.rig.flow(&cut.request, cut.listener).expect("a pin");
    assert!(cut.rig.tables().free_flow(&flow));
    assert!(!cut.rig.tables().cut_flow(&flow, cut.tick), "freed");
    Ok(())
}
