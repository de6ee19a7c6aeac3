use anyhow::Result;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};
use lab::rig::{BALANCER_MAC, CLIENT_MAC, Echo, Rig};
use splitter_ebpf::verdict::Reason;

use super::{check, sent, untouched, web};

const CLIENT_V4: [u8; 4] = [198, 18, 0, 9];
const VIP_V4: [u8; 4] = [198, 18, 1, 100];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const VIP_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

fn v4(destination: [u8; 4], message: Icmpv4Type) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, BALANCER_MAC)
        .ipv4(CLIENT_V4, destination, 64)
        .icmpv4(message)
        .write(&mut frame, &[0; 28])
        .expect("a vector takes any packet");
    frame
}

fn v6(destination: [u8; 16], message: Icmpv6Type) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, BALANCER_MAC)
        .ipv6(CLIENT_V6, destination, 255)
        .icmpv6(message)
        .write(&mut frame, &[0; 48])
        .expect("a vector takes any packet");
    frame
}

#[test]
fn echo_requests_to_a_vip_are_answered_here() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (client, vip, elsewhere) in [
        ("198.18.0.9", "198.18.1.100", "198.18.1.101"),
        ("2001:db8::9", "2001:db8:1::100", "2001:db8:1::101"),
    ] {
        let echo = Echo::request(client, vip);
        let padded = |mut frame: Vec<u8>| {
            frame.extend(b"padding");
            frame
        };
        let (request, reply) = (echo.frame(), echo.answered().frame());
        check(
            &rig,
            &[
                sent("echo", request.clone(), Reason::EchoReply, reply.clone()),
                sent(
                    "padded echo",
                    padded(request),
                    Reason::EchoReply,
                    padded(reply.clone()),
                ),
                untouched(
                    "an answer to the host's own",
                    Echo {
                        reply: true,
                        ..echo
                    }
                    .frame(),
                    Reason::HostIcmp,
                ),
                untouched(
                    "elsewhere",
                    Echo::request(client, elsewhere).frame(),
                    Reason::Foreign,
                ),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn icmp_errors_to_a_vip_are_dropped_and_other_messages_are_the_hosts() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let unreachable = || Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
    let too_big = || Icmpv6Type::PacketTooBig { mtu: 1280 };
    let expired = Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit);
    let unknown = |type_u8| Icmpv6Type::Unknown {
        type_u8,
        code_u8: 0,
        bytes5to8: [0; 4],
    };
    let mut solicited_node = [0; 16];
    solicited_node[..2].copy_from_slice(&[0xff, 2]);
    solicited_node[11..].copy_from_slice(&[1, 0xff, 0, 1, 0]);
    check(
        &rig,
        &[
            untouched(
                "port unreachable",
                v4(VIP_V4, unreachable()),
                Reason::IcmpError,
            ),
            untouched("TTL exceeded", v4(VIP_V4, expired), Reason::IcmpError),
            untouched(
                "elsewhere",
                v4([198, 18, 1, 1], unreachable()),
                Reason::Foreign,
            ),
            untouched(
                "timestamp",
                v4(
                    VIP_V4,
                    Icmpv4Type::Unknown {
                        type_u8: 13,
                        code_u8: 0,
                        bytes5to8: [0; 4],
                    },
                ),
                Reason::HostIcmp,
            ),
            untouched("packet too big", v6(VIP_V6, too_big()), Reason::IcmpError),
            untouched(
                "destination unreachable",
                v6(
                    VIP_V6,
                    Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port),
                ),
                Reason::IcmpError,
            ),
            untouched(
                "an error yet unknown",
                v6(VIP_V6, unknown(100)),
                Reason::IcmpError,
            ),
            untouched("elsewhere", v6(CLIENT_V6, too_big()), Reason::Foreign),
            // Neighbour discovery (RFC 4861): the host answers for the VIP.
            untouched(
                "neighbour solicitation",
                v6(VIP_V6, unknown(135)),
                Reason::HostIcmp,
            ),
            untouched(
                "neighbour advertisement",
                v6(VIP_V6, unknown(136)),
                Reason::HostIcmp,
            ),
            untouched(
                "first solicitation",
                v6(solicited_node, unknown(135)),
                Reason::Foreign,
            ),
        ],
    )
}
