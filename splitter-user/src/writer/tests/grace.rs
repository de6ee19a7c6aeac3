//! What packets may still read is not written again, however long that takes.

use super::*;

/// A writer for whom no grace period ever passes.
fn stuck() -> Under {
    Writer::recover(
        Memory::new(layout(), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        SECRET,
        false,
        Grace::start(|| Err(std::io::Error::other("never"))).unwrap(),
        watch::channel(BTreeSet::new()).0,
    )
    .unwrap()
}

fn apply(yaml: String) -> ChangeRequest {
    ChangeRequest::new(Command::Apply {
        yaml,
        origin: "test".into(),
    })
}

/// A service of another name, at another VIP, with other backends.
fn service(name: &str, place: u8) -> String {
    YAML.replace("name: web", &format!("name: {name}"))
        .replace("198.18.1.100", &format!("198.18.1.{place}"))
        .replace("198.18.2.", &format!("198.18.{place}."))
}

/// Why the first of these cutovers is refused that is, and how many were made before it.
fn refusal(writer: &mut Under, cutovers: &[(&str, &str)]) -> Option<(usize, String)> {
    cutovers.iter().enumerate().find_map(|(made, (name, to))| {
        let cutover = Command::Cutover {
            target: Target::Service((*name).to_owned()),
            to: (*to).to_owned(),
            existing: Existing::Keep,
        };
        let done = writer.change(&ChangeRequest::new(cutover), ROOT);
        Some((made, done.err()?.message))
    })
}

#[test]
fn a_split_table_that_packets_may_read_is_not_written() {
    let mut writer = stuck();
    writer.change(&apply(YAML.to_owned()), ROOT).unwrap();
    let there_and_back = [("web", "green"), ("web", "blue")].repeat(3);
    let (made, why) = refusal(&mut writer, &there_and_back).unwrap();
    assert!(why.contains("an old split in use"), "{why}");
    assert_eq!(made, 3, "four tables, each of them written once");
}

#[test]
fn a_row_that_packets_may_read_is_not_written() {
    let mut writer = stuck();
    let names = ["a", "b", "c", "d"];
    let services = names.iter().zip(110_u8..);
    let services: Vec<String> = services.map(|(name, place)| service(name, place)).collect();
    writer.change(&apply(services.join("---\n")), ROOT).unwrap();
    let all_to = |track| names.map(|name| (name, track));
    let cutovers = [all_to("green"), all_to("blue"), all_to("green")].concat();
    let (made, why) = refusal(&mut writer, &cutovers).unwrap();
    assert!(why.contains("an old row in use"), "{why}");
    assert_eq!(
        made, 6,
        "eight rows: the first, that of the apply, and six more"
    );
}

#[test]
fn a_listener_does_not_change_its_owner_again_while_packets_may_see_the_one_before_the_last() {
    let mut writer = stuck();
    writer.change(&apply(YAML.to_owned()), ROOT).unwrap();
    let moved = format!("{}---\n{}", service("web", 101), service("cart", 100));
    let error = writer.change(&apply(moved), ROOT).unwrap_err();
    assert!(
        error.message.contains("an old owner of a listener in use"),
        "{}",
        error.message
    );
}
