//! `--hold`: the stage stays open for the audience.

use std::time::Duration;

use anyhow::Result;

use crate::scene::Scene;
use crate::screen::Screen;

const FRAME: Duration = Duration::from_millis(500);
/// The observed shares are those of the last seconds: what somebody types is seen soon.
const WINDOW: Duration = Duration::from_secs(5);

/// Prints what can be tried and goes on with the load; only a signal ends it, and takes everything away.
pub(crate) fn until_interrupted(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    scene.start_load()?;
    screen.heading(
        "Yours now; Ctrl-C ends it and takes everything away. In another terminal, as root:",
    );
    let client = scene.site.hosts.client.name();
    let lines = [
        format!(
            "export SPLITTER_SOCKET={}",
            scene.site.agent.socket().display()
        ),
        format!("export PATH={}:$PATH", lab::profile_directory().display()),
        "splitterctl get tracks web".to_owned(),
        "splitterctl set-weight web canary=10%".to_owned(),
        "splitterctl cutover web --to blue".to_owned(),
        "splitterctl undo web".to_owned(),
        "splitterctl flows --service web --track blue".to_owned(),
        "splitterctl status".to_owned(),
        format!("ip netns exec {client} curl http://198.18.1.100/"),
        format!("ip netns exec {client} curl 'http://[2001:db8:1::100]/'"),
    ];
    for line in lines {
        screen.command(&line);
    }
    screen.say("");
    loop {
        let since = scene.new_flows();
        lab::for_a_while(WINDOW, FRAME, || {
            if screen.is_live() {
                screen.draw(&scene.table(&since)?);
            }
            Ok(())
        })?;
    }
}
