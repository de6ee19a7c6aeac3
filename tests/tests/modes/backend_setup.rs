//! Backends that `splitterctl backend-setup --apply` has set up, and nobody else.

use anyhow::Result;
use lab::{BackendHost, Blob, Configuration, MB, Mode, SOLE, Topology, VIP_V4, VIP_V6, echo};

use super::{ECHOES, ModeSite};

fn set_up(mode: Mode) -> Result<()> {
    let line = format!(
        "--mode {} --interface eth0 --vip {VIP_V4},{VIP_V6}",
        mode.name()
    );
    let mut backend = None;
    let topology = Topology::routed(mode).without_backend_setup();
    let site = ModeSite::prepared(topology, mode, &Configuration::new(), |hosts| {
        let host = BackendHost::new(&hosts.backends)?;
        host.setup(&format!("{line} --apply"))?.succeeded()?;
        backend = Some(host);
        Ok(())
    })?;
    let backend = backend.unwrap();
    let blob = Blob::new(10 * MB)?;
    for vip in [VIP_V4, VIP_V6] {
        site.upload(&blob, vip)?;
        site.download(&blob, vip)?;
    }
    for target in ECHOES {
        assert_eq!(
            echo(&site.hosts.client, target, &[8, 1400], 100)?,
            SOLE.name
        );
    }
    // Its advice on segments leaves room for the tunnel: nobody has to be told later.
    assert_eq!(site.agent.drops()?, [""; 0]);

    let steps = backend.steps(&format!("{line} --apply"))?;
    assert!(
        steps.iter().all(|(_, state)| state == "asItShould"),
        "{steps:?}"
    );
    backend.setup("--undo")?.succeeded()?;
    let loopback = site.hosts.backends.exec("ip addr show dev lo")?;
    assert!(!loopback.contains("198.18.1.100"), "{loopback}");
    Ok(())
}

#[test]
fn a_backend_that_was_set_up_serves_dsr_l2() -> Result<()> {
    set_up(Mode::DsrL2)
}

#[test]
fn a_backend_that_was_set_up_serves_ipip() -> Result<()> {
    set_up(Mode::Ipip)
}
