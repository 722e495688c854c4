//! Draws what was measured as curves: `bench plot DIRECTORY FILE…`, from what `--json` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use plotters::prelude::*;
use serde_json::Value;

/// A plot: how a metric goes with the number that a case or a system has in its name.
struct Plot {
    file: &'static str,
    title: &'static str,
    scenario: &'static str,
    /// Cases whose name begins like this.
    cases: &'static str,
    metric: &'static str,
    x: &'static str,
    y: &'static str,
}

const PLOTS: [Plot; 8] = [
    Plot {
        file: "writes",
        title: "Writes of one existing key",
        scenario: "writes",
        cases: "",
        metric: "ops/s",
        x: "clients",
        y: "a second",
    },
    Plot {
        file: "keys-reads",
        title: "Reads, all keys alike",
        scenario: "keys",
        cases: "keys",
        metric: "CPU µs/op",
        x: "keys",
        y: "CPU µs",
    },
    Plot {
        file: "keys-memory",
        title: "Memory after reads (RSS)",
        scenario: "keys",
        cases: "keys",
        metric: "read: RSS MB",
        x: "keys",
        y: "MB",
    },
    Plot {
        file: "keys-start",
        title: "Start after SIGKILL",
        scenario: "keys",
        cases: "keys",
        metric: "start ms",
        x: "keys",
        y: "ms",
    },
    Plot {
        file: "nodes-load",
        title: "An op's way to one node",
        scenario: "fan-out",
        cases: "",
        metric: "CPU µs/delivery",
        x: "nodes",
        y: "CPU µs",
    },
    Plot {
        file: "nodes-idle",
        title: "Idle nodes, all together",
        scenario: "fan-out",
        cases: "",
        metric: "idle CPU ms/s, all",
        x: "nodes",
        y: "CPU ms a second",
    },
    Plot {
        file: "siblings",
        title: "Reads of a key with siblings",
        scenario: "siblings",
        cases: "",
        metric: "CPU µs/op",
        x: "siblings",
        y: "CPU µs",
    },
    Plot {
        file: "values",
        title: "Reads of values",
        scenario: "values",
        cases: "reads",
        metric: "ops/s",
        x: "bytes",
        y: "a second",
    },
];

const SIZE: (u32, u32) = (560, 320);

/// Name → points.
type Curves = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws every plot for which there are numbers.
pub fn draw_all(directory: &Path, measured: &[PathBuf]) -> Result<()> {
    let mut cases = Vec::new();
    for file in measured {
        let document: Value = serde_json::from_slice(&fs::read(file)?)?;
        cases.extend(document["cases"].as_array().with_context(|| format!("{} has no cases", file.display()))?.clone());
    }
    fs::create_dir_all(directory)?;
    for plot in &PLOTS {
        let curves = plot.curves(&cases);
        if curves.values().any(|points| points.len() > 1) {
            let file = directory.join(plot.file).with_extension("svg");
            plot.draw(&file, &curves).with_context(|| file.display().to_string())?;
            println!("{}", file.display());
        }
    }
    Ok(())
}

impl Plot {
    fn curves(&self, cases: &[Value]) -> Curves {
        let mut curves = Curves::new();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for case in cases.iter().filter(|case| case["scenario"] == self.scenario) {
            let name = text(&case["case"]);
            for row in case["rows"].as_array().into_iter().flatten().filter(|_| name.starts_with(self.cases)) {
                let system = text(&row["system"]);
                let in_system = quantity(&system).map(|(number, _)| (number, String::new()));
                let in_case = || quantity(&name).map(|(number, rest)| (number, format!("{rest} {system}")));
                let Some((x, curve)) = in_system.or_else(in_case) else { continue };
                if let Some(y) = median(row, self.metric) {
                    curves.entry(curve.trim().to_owned()).or_default().push((x, y));
                }
            }
        }
        curves.values_mut().for_each(|points| points.sort_by(|left, right| left.0.total_cmp(&right.0)));
        curves
    }

    fn draw(&self, file: &Path, curves: &Curves) -> Result<()> {
        let points = || curves.values().flatten();
        let least = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let most = points().map(|point| point.0).fold(0.0, f64::max);
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d((least * 0.9..most * 1.1).log_scale(), 0.0..highest * 1.1)?;
        chart.configure_mesh().light_line_style(TRANSPARENT).x_desc(self.x).y_desc(self.y).draw()?;
        for (index, (name, points)) in curves.iter().enumerate() {
            let color = Palette99::pick(index).to_rgba();
            let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
            let drawn = chart.draw_series(line)?;
            if curves.len() > 1 {
                drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            }
        }
        if curves.len() > 1 {
            let place = SeriesLabelPosition::UpperLeft;
            chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).draw()?;
        }
        Ok(root.present()?)
    }
}

/// The first number of a text, with its unit of bytes taken into account, and the text without it.
fn quantity(text: &str) -> Option<(f64, String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| word.replace(',', "").parse::<f64>().is_ok())?;
    let number: f64 = words[at].replace(',', "").parse().ok()?;
    let unit = match words.get(at + 1) {
        Some(&"KiB") => 1024.0,
        Some(&"MiB") => 1024.0 * 1024.0,
        _ => 1.0,
    };
    Some((number * unit, words[..at].join(" ")))
}

fn median(row: &Value, metric: &str) -> Option<f64> {
    let metrics = row["metrics"].as_array()?;
    let values = metrics.iter().find(|pair| pair[0] == metric)?[1].as_array()?;
    let mut values: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_names() {
        assert_eq!(quantity("64 clients"), Some((64.0, String::new())));
        assert_eq!(quantity("reads of 64 KiB"), Some((65536.0, "reads of".to_owned())));
        assert_eq!(quantity("the last of 8"), Some((8.0, "the last of".to_owned())));
        assert_eq!(quantity("1,000 keys"), Some((1000.0, String::new())));
        assert_eq!(quantity("causeway"), None);
    }

    #[test]
    fn a_plot_takes_the_median_of_each_point() {
        let cases = serde_json::json!([
            { "scenario": "writes", "case": "1 clients", "rows": [
                { "system": "causeway", "metrics": [["ops/s", [1.0, 9.0, 2.0]]] } ] },
            { "scenario": "writes", "case": "64 clients", "rows": [
                { "system": "causeway", "metrics": [["ops/s", [7.0]]] } ] },
            { "scenario": "reads", "case": "2 clients", "rows": [
                { "system": "causeway", "metrics": [["ops/s", [5.0]]] } ] },
        ]);
        let curves = PLOTS[0].curves(cases.as_array().expect("an array"));
        assert_eq!(curves, Curves::from([("causeway".to_owned(), vec![(1.0, 2.0), (64.0, 7.0)])]));
        let directory = tempfile::tempdir().expect("a place for files");
        PLOTS[0].draw(&directory.path().join("writes.svg"), &curves).expect("it is drawn");
        let drawn = fs::read_to_string(directory.path().join("writes.svg")).expect("it was drawn");
        assert!(drawn.contains("Writes of one existing key"));
    }
}
