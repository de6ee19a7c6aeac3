//! A split's table names its preview by the number of a listener, and numbers are given out again.

use super::*;

fn text(more: &str) -> Command {
    Command::Apply {
        yaml: YAML.replace("spec:\n", &format!("spec:\n{more}")),
        origin: "test".into(),
    }
}

const PREVIEW: &str = "  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}\n";

/// Deletes the number of a listener that is no longer there at once, as a scan does that finds no pin of it.
fn free(writer: &mut Under, listener: &crate::model::Listener) {
    if let Some(id) = writer.world.listener_ids.get(listener) {
        writer.world.listener_ids.free(id);
        writer.world.listener_services.remove(&id);
    }
}

#[test]
fn an_undo_never_flips_to_a_table_that_calls_another_listener_its_preview() {
    let mut writer = web();
    run(&mut writer, text(PREVIEW));
    let preview = writer.world.services["web"].spec.preview.clone().unwrap();
    run(&mut writer, cutover("green"));
    let weights = |text: Command| match text {
        Command::Apply { yaml, origin } => Command::Apply {
            yaml: yaml
                .replace("weight: 100%", "weight: x")
                .replace("weight: 0%", "weight: 100%")
                .replace("weight: x", "weight: 0%"),
            origin,
        },
        other => other,
    };
    run(&mut writer, weights(text("")));
    scans(&mut writer);
    free(&mut writer, &preview.listener);
    // A new listener takes its number.
    let more = "  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}, {vip: 198.18.1.100, port: 443, protocol: tcp}]\n";
    let two = |before: Command| match before {
        Command::Apply { yaml, origin } => Command::Apply {
            yaml: yaml.replace(
                "  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]\n",
                more,
            ),
            origin,
        },
        other => other,
    };
    run(&mut writer, two(weights(text(""))));
    run(&mut writer, two(weights(text(PREVIEW))));
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            to_generation: None,
            existing: Existing::Keep,
        },
    );
    let tables = writer.plane.tables();
    let table = tables.row(tables.selector().row()).table[1];
    let (header, _) = tables.read_split(1, table).unwrap();
    let id = writer.world.listener_ids.get(&preview.listener).unwrap();
    assert_eq!(header.preview_listener, id);
    assert_eq!(owner(&writer, 77), 0, "and blue has the slots again");
}
