//! RSTs that get lost on their way to an idle end.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use lab::{Deaf, IdleEnd, SOON, await_until};

use super::closing::{dumb, dumb_at};

/// Waits until a connection ends by a RST.
fn assert_reset(mut stream: &TcpStream, who: IdleEnd) -> Result<()> {
    stream.set_read_timeout(Some(SOON))?;
    let ended = stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{who:?}");
    Ok(())
}

#[test]
fn an_end_whose_rst_was_lost_gets_another() -> Result<()> {
    let site = dumb(&[("blue", "100%")], "drain: {timeout: 10m}")?;
    let at = dumb_at()[0];
    let backends = &site.hosts.backends;
    let listener = backends.enter(|| TcpListener::bind(("0.0.0.0", at.port())))?;
    for deaf in [IdleEnd::Client, IdleEnd::Backend] {
        let client = site.hosts.client.enter(|| TcpStream::connect(at))?;
        let backend = listener.accept()?.0;
        let (lost, other, whose) = match deaf {
            IdleEnd::Client => (&client, &backend, IdleEnd::Backend),
            IdleEnd::Backend => (&backend, &client, IdleEnd::Client),
        };
        let deafness = Deaf::to_resets(lost)?;
        let before = site.agent.verdicts("flow_cut")?;
        site.agent.ctl("quarantine dumb blue")?.succeeded()?;
        assert_reset(other, whose)?;
        await_until(SOON, "both ends to be answered", || {
            site.agent
                .verdicts("flow_cut")
                .is_ok_and(|now| now >= before + 2)
        })?;
        drop(deafness);
        assert_reset(lost, deaf)?;
        site.agent.ctl("ready dumb blue")?.succeeded()?;
    }
    Ok(())
}
