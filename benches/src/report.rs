//! What was measured: tables in Markdown while it runs, everything as JSON at its end.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

/// Metrics that are compared with the first system of a case, and what more of it means.
const COMPARED: [&str; 2] = ["ops/s", "CPU µs/op"];

/// The rounds of one system in one case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Who was measured, or under what circumstances.
    pub system: String,
    /// Metric → its value in each round. In the order in which they are shown.
    pub metrics: Vec<(String, Vec<f64>)>,
}

impl Row {
    /// A row without values.
    pub fn new(system: &str) -> Self {
        Self { system: system.to_owned(), metrics: Vec::new() }
    }

    /// Adds the value of one round.
    pub fn add(&mut self, metric: &str, value: f64) {
        match self.metrics.iter_mut().find(|(name, _)| name == metric) {
            Some((_, values)) => values.push(value),
            None => self.metrics.push((metric.to_owned(), vec![value])),
        }
    }

    /// Adds all values of another row.
    pub fn add_all(&mut self, row: &Self) {
        for (metric, values) in &row.metrics {
            values.iter().for_each(|value| self.add(metric, *value));
        }
    }

    /// One more value, for rows that are made in one go.
    pub fn with(mut self, metric: &str, value: f64) -> Self {
        self.add(metric, value);
        self
    }

    fn values(&self, metric: &str) -> Option<&[f64]> {
        self.metrics.iter().find(|(name, _)| name == metric).map(|(_, values)| values.as_slice())
    }

    /// The median of a metric's rounds.
    pub fn median(&self, metric: &str) -> Option<f64> {
        self.values(metric).map(|values| Spread::of(values).median)
    }
}

/// Metric → system → the first system's value through that system's, in each round.
type Ratios = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

/// What a case came to.
#[derive(Clone, Debug, Serialize)]
struct Case {
    scenario: String,
    case: String,
    rows: Vec<Row>,
    ratios: Ratios,
}

/// All cases of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The scenario that is running.
    pub scenario: String,
    cases: Vec<Case>,
}

impl Report {
    /// Prints the rows of a case and keeps them.
    pub fn add(&mut self, case: &str, rows: Vec<Row>) {
        self.keep(case, rows, BTreeMap::new());
    }

    /// The same for rows whose rounds alternated, with what the first is in relation to the others.
    pub fn compare(&mut self, case: &str, rows: Vec<Row>) {
        let mut ratios = Ratios::new();
        for metric in COMPARED {
            let Some(ours) = rows.first().and_then(|row| row.values(metric)) else { continue };
            for row in &rows[1..] {
                let Some(theirs) = row.values(metric) else { continue };
                let values = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
                ratios.entry(metric.to_owned()).or_default().insert(row.system.clone(), values);
            }
        }
        self.keep(case, rows, ratios);
    }

    fn keep(&mut self, case: &str, rows: Vec<Row>, ratios: Ratios) {
        let case = Case { scenario: self.scenario.clone(), case: case.to_owned(), rows, ratios };
        println!("{}", case.markdown());
        self.cases.push(case);
    }

    /// Writes everything, with what it was measured on.
    pub fn write(&self, file: &Path, options: Value) -> Result<()> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo");
        let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let document = json!({
            "machine": {
                "processors": std::thread::available_parallelism()?.get(),
                "model": model.trim_start_matches(['\t', ':', ' ']),
                "kernel": read("/proc/sys/kernel/osrelease").trim(),
                "memory": read("/proc/meminfo").lines().next(),
            },
            "options": options,
            "cases": self.cases,
        });
        Ok(std::fs::write(file, serde_json::to_vec_pretty(&document)?)?)
    }
}

impl Case {
    fn markdown(&self) -> String {
        let mut metrics: Vec<&str> = Vec::new();
        for (metric, _) in self.rows.iter().flat_map(|row| &row.metrics) {
            if !metrics.contains(&metric.as_str()) {
                metrics.push(metric);
            }
        }
        let mut lines = vec![format!("\n**{}: {}**\n", self.scenario, self.case)];
        let first = self.rows.first().map_or("", |row| row.system.as_str());
        let compared: Vec<String> = self.ratios.keys().map(|metric| format!("{metric}: {first} / this")).collect();
        let head = metrics.iter().map(|metric| metric.to_string()).chain(compared);
        lines.push(line("system", head));
        lines.push(line("---", (0..metrics.len() + self.ratios.len()).map(|_| "---:".to_owned())));
        for row in &self.rows {
            let values = metrics.iter().map(|metric| row.values(metric).map_or(String::new(), show));
            let ratios =
                self.ratios.values().map(|systems| systems.get(&row.system).map_or(String::new(), |r| show(r)));
            lines.push(line(&row.system, values.chain(ratios)));
        }
        lines.join("\n")
    }
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" {cell} |")).collect();
    format!("| {first} |{cells}")
}

/// Median and extremes.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, least: sorted[0], most: sorted[sorted.len() - 1] }
    }
}

fn show(values: &[f64]) -> String {
    let Spread { median, least, most } = Spread::of(values);
    match values.len() {
        1 => figure(median),
        _ => format!("{} ({}–{})", figure(median), figure(least), figure(most)),
    }
}

/// A number with about three digits that mean something.
fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        let whole = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 0.1 || magnitude == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut ours = Row::new("ours");
        let mut other = Row::new("other");
        for (a, b) in [(90.0, 100.0), (45.0, 50.0), (180.0, 150.0)] {
            ours.add("ops/s", a);
            other.add("ops/s", b);
        }
        let mut report = Report::default();
        report.compare("case", vec![ours, other]);
        assert_eq!(report.cases[0].ratios["ops/s"]["other"], [0.9, 0.9, 1.2]);
        assert!(report.cases[0].markdown().contains("| other | 100 (50.0–150) | 0.90 (0.90–1.20) |"));
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 0.01234, 0.5, 12.34, 123.4, 1234.5, 1_234_567.0].map(figure);
        assert_eq!(shown, ["0.00", "0.0123", "0.50", "12.3", "123", "1,234", "1,234,567"]);
    }
}
