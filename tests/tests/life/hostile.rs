//! What callers of the API may cost: bounded memory, bounded time, and no other caller's answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Agent, SOON, Site, await_until};

/// More than the agent takes of one request (`api::server::MAX_BODY`).
const HUGE: usize = 64 << 20;
/// Memory that hostile calls may make the agent hold, all together. One body of the largest size, its text and
/// what is made of it lie in memory at a time, and allocators keep some of it.
const ROOM: u64 = 96 << 20;

fn site() -> Result<Site> {
    Site::web(&[("blue", "50%"), ("green", "50%")])
}

fn call(agent: &Agent) -> Result<UnixStream> {
    let stream = UnixStream::connect(agent.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// What the agent answers to a request with this body: status and text.
fn post(agent: &Agent, path: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = call(agent)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // It may answer, and close, before it has read everything.
    if let Err(error) = stream.write_all(body) {
        anyhow::ensure!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            error
        );
    }
    answer(stream)
}

fn answer(mut stream: UnixStream) -> Result<(u16, String)> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(error.into()),
        _ => {}
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((
        status.with_context(|| format!("no answer: {text:?}"))?,
        text,
    ))
}

/// An apply of this YAML, as the API takes it.
fn apply(yaml: &str) -> Result<Vec<u8>> {
    let command = serde_json::json!({"command": {"apply": {"yaml": yaml, "origin": "hostile"}}});
    Ok(serde_json::to_vec(&command)?)
}

/// A figure of `/proc/PID/status` in bytes: `VmRSS`, or `VmHWM`, its highest.
fn memory(agent: &Agent, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(agent.proc("status")?)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("no {name}"))? << 10)
}

const CHANGES: &str = "/v1/changes";

#[test]
fn hostile_calls_cost_bounded_memory_and_leave_the_agent_at_work() -> Result<()> {
    let site = site()?;
    let agent = &site.agent;
    let before = memory(agent, "VmRSS")?;
    let in_force = site.split()?;

    // Huge: refused by its length, and with the limit named.
    let (status, text) = post(agent, CHANGES, &vec![b' '; HUGE])?;
    assert_eq!(status, 413, "{text}");
    assert!(
        text.contains("bytes") || text.contains("MiB"),
        "the limit is not named: {text}"
    );

    // Deep: nested without end, as JSON and as YAML, and what would grow without end.
    let deep = "[".repeat(1 << 20);
    let (status, text) = post(agent, CHANGES, deep.as_bytes())?;
    assert_eq!(status, 400, "{text}");
    let deep_maps = "{a: ".repeat(100_000);
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let all = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{all}]\n");
    }
    for yaml in [&deep[..1 << 18], &deep_maps, &laughs] {
        let began = Instant::now();
        let (status, text) = post(agent, CHANGES, &apply(yaml)?)?;
        assert!((400..500).contains(&status), "{status}: {text}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    }

    // Malformed.
    for body in [
        "",
        "{",
        "null",
        "{\"command\": {\"apply\": 3}}",
        "{\"command\": {\"nothing\": {}}}",
        "\u{0}\u{1}",
    ] {
        let (status, text) = post(agent, CHANGES, body.as_bytes())?;
        assert!((400..500).contains(&status), "{body:?}: {status}: {text}");
    }

    // Many at once, each as large as is read at all.
    std::thread::scope(|scope| -> Result<()> {
        let callers: Vec<_> = (0..32)
            .map(|_| scope.spawn(|| post(agent, CHANGES, &vec![b'['; 1 << 20])))
            .collect();
        for caller in callers {
            let (status, _) = caller.join().unwrap()?;
            assert_eq!(status, 400);
        }
        Ok(())
    })?;

    let (now, highest) = (memory(agent, "VmRSS")?, memory(agent, "VmHWM")?);
    println!("before: {before} bytes, now: {now}, at most: {highest}");
    assert!(
        highest < before + ROOM,
        "{before} before, {highest} at most"
    );
    assert_eq!(site.split()?, in_force, "nothing was changed");
    site.agent.change("cutover web --to green")?;
    Ok(())
}

#[test]
fn half_a_request_for_metrics_holds_up_neither_a_stop_nor_a_detach() -> Result<()> {
    let mut site = site()?;
    let bound = Duration::from_secs(20);
    for detach in [false, true] {
        let half = site.agent.begin_scrape()?;
        // Connections are accepted in order: the half one is being served by now.
        assert!(site.agent.metrics()?.contains("splitter_"));
        let began = Instant::now();
        if detach {
            site.agent.detach()?;
        } else {
            site.agent.stop()?;
        }
        assert!(began.elapsed() < bound, "{:?}", began.elapsed());
        drop(half);
        if !detach {
            site.agent.restart()?;
        }
    }
    Ok(())
}

#[test]
fn slow_and_silent_callers_are_given_up_and_others_served_meanwhile() -> Result<()> {
    let site = site()?;
    let agent = &site.agent;
    // One that never ends its request, and some that say nothing.
    let mut slow = call(agent)?;
    slow.write_all(b"POST /v1/changes HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")?;
    let silent: Vec<_> = (0..40).map(|_| call(agent)).collect::<Result<_>>()?;
    let began = Instant::now();
    site.agent.change("cutover web --to green")?;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let (status, text) = answer(slow)?;
    assert_eq!(status, 504, "{text}");
    drop(silent);
    // More than are served at once: the others wait, and nobody is lost.
    let crowd: Vec<_> = (0..150).map(|_| call(agent)).collect::<Result<_>>()?;
    let descriptors = std::fs::read_dir(agent.proc("fd")?)?.count();
    assert!(descriptors < 130, "{descriptors} descriptors are open");
    drop(crowd);
    await_until(SOON, "an answer after the crowd has gone", || {
        agent.ctl("version").is_ok_and(|answer| answer.code == 0)
    })
}
