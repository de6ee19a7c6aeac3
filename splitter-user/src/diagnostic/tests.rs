use super::{Position, Report, closest};

fn rendered(text: &str, at: Position) -> String {
    let mut report = Report::new("web.yaml", text);
    report.error(at, "spec.x", "`tcpp` is not known", "write tcp");
    match report.finish(()) {
        Ok(()) => String::new(),
        Err(found) => found.to_string(),
    }
}

#[test]
fn a_diagnostic_shows_the_line_and_a_caret_under_the_value() {
    let at = Position {
        line: 2,
        column: 13,
        width: 4,
    };
    assert_eq!(
        rendered("a: 1\n  protocol: tcpp\n", at),
        "web.yaml:2:13: spec.x: `tcpp` is not known\n\
         \x20 2 |   protocol: tcpp\n\
         \x20   |             ^^^^\n\
         \x20 fix: write tcp\n"
    );
}

#[test]
fn a_long_line_is_cropped_around_the_caret_and_control_characters_are_not_printed() {
    let text = format!("{}\x1b[31mvalue", "x".repeat(400));
    let at = Position {
        line: 1,
        column: 406,
        width: 90,
    };
    let rendered = rendered(&text, at);
    assert!(!rendered.contains('\x1b'));
    let mut lines = rendered.lines().skip(1);
    let source = lines.next().map(str::len);
    assert_eq!(source, lines.next().map(str::len), "{rendered}");
}

#[test]
fn the_nearest_known_word_is_suggested_and_a_far_one_is_not() {
    let known = ["weight", "name", "version", "backends"];
    assert_eq!(closest("wieght", known), Some("weight"));
    assert_eq!(closest("Weight", known), Some("weight"));
    assert_eq!(closest("backend", known), Some("backends"));
    assert_eq!(closest("colour", known), None);
}

#[test]
fn however_much_is_wrong_what_is_kept_and_told_is_bounded() {
    let text = "x".repeat(200_000);
    let mut report = Report::new("web.yaml", &text);
    for column in 0..5_000 {
        let at = Position {
            line: 1,
            column: 190_000 + column,
            width: 1,
        };
        report.error(at, text.as_str(), text.as_str(), text.as_str());
    }
    assert_eq!(report.len(), 5_000, "everything counts");
    let Err(found) = report.finish(()) else {
        panic!("nothing was found");
    };
    assert_eq!(found.iter().count(), 101);
    let kept = serde_json::to_string(&found).map_or(0, |json| json.len());
    assert!(kept < 500_000, "{kept} bytes are kept");
    let told = found.to_string();
    assert!(told.len() < 500_000, "{} bytes are told", told.len());
    assert!(told.contains("4900 more are wrong"), "{told}");
}
