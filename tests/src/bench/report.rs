use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::measure::Measurement;
use super::target;
use super::world::World;
use crate::memory;
use crate::verifier::Figures;

/// A case and its figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Its name, the same from run to run.
    pub name: String,
    /// Nanoseconds a piece.
    pub nanoseconds: Measurement,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The programs that ship.
    #[serde(default)]
    pub verifier: Figures,
    /// Bytes of kernel memory of each map of the table for a million flows.
    #[serde(default)]
    pub memory: BTreeMap<String, u64>,
    /// Flows in the table and slots, by case, counted after warm-up.
    pub loads: BTreeMap<String, [usize; 2]>,
    /// The figures.
    pub cases: Vec<Case>,
}

impl Report {
    pub(super) fn add(&mut self, name: String, nanoseconds: Measurement) {
        eprintln!("{name}: {:.1} ns", nanoseconds.median);
        self.cases.push(Case { name, nanoseconds });
    }

    pub(super) fn note(&mut self, name: &str, world: &World) {
        let load = [
            world.rig.flows().len(),
            world.rig.tables().layout.flow_slots(),
        ];
        self.loads.insert(name.to_owned(), load);
    }

    fn median(&self, name: &str) -> Option<f64> {
        self.cases
            .iter()
            .find(|case| case.name == name)
            .map(|case| case.nanoseconds.median)
    }

    /// A table for people, beside an earlier report's medians if there is one.
    #[must_use]
    pub fn table(&self, old: Option<&Self>) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        let mut header = vec![
            "case",
            "median ns",
            "target",
            "minimum ns",
            "floor ns",
            "load",
        ];
        header.extend(old.map(|_| "before"));
        header.extend(old.map(|_| "change"));
        table.set_header(header);
        for case in &self.cases {
            let ns = case.nanoseconds;
            let load = self
                .loads
                .get(&case.name)
                .map_or(String::new(), |[flows, slots]| {
                    format!(
                        "{flows} of {slots}, {:.1} %",
                        100.0 * *flows as f64 / *slots as f64
                    )
                });
            let mut row = vec![
                case.name.clone(),
                round(ns.median),
                target::of(&case.name).map_or(String::new(), |target| {
                    let over = if ns.median > target { " missed" } else { "" };
                    format!("{target:.0}{over}")
                }),
                round(ns.minimum),
                round(ns.floor),
                load,
            ];
            if let Some(old) = old {
                let before = old.median(&case.name);
                row.push(before.map_or("-".to_owned(), round));
                row.push(before.map_or("-".to_owned(), |before| {
                    format!("{:+.1}", ns.median - before)
                }));
            }
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!(
            "{table}\n{}\nmaps for a million flows: {}",
            self.verifier.table(),
            memory::table(&self.memory)
        )
    }
}

fn round(nanoseconds: f64) -> String {
    format!("{nanoseconds:.1}")
}
