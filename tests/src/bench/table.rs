//! Figures with what they are held against.

use std::fmt::Write as _;

/// One figure.
#[derive(Debug)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// How much it is.
    pub measured: String,
    /// The least that it can be.
    pub floor: String,
    /// How many times that it is.
    pub ratio: String,
    /// What it ought to be at most.
    pub goal: String,
    /// Whether it is.
    pub is_met: Option<bool>,
}

impl Row {
    /// A figure without a floor and a goal.
    #[must_use]
    pub fn new(figure: &str, measured: impl Into<String>) -> Self {
        let (floor, ratio, goal) = (String::new(), String::new(), String::new());
        Self { figure: figure.to_owned(), measured: measured.into(), floor, ratio, goal, is_met: None }
    }

    /// With a goal, in words, and whether it is met.
    #[must_use]
    pub fn goal(self, goal: impl Into<String>, is_met: bool) -> Self {
        Self { goal: goal.into(), is_met: Some(is_met), ..self }
    }

    /// With a floor, and how many times that it is. `most` is the goal of the ratio.
    #[must_use]
    pub fn floor(self, floor: impl Into<String>, ratio: f64, most: f64) -> Self {
        let row = Self { floor: floor.into(), ratio: format!("{ratio:.2}"), ..self };
        row.goal(format!("≤ {most} × floor"), ratio <= most)
    }
}

/// The rows as Markdown.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from("| figure | measured | floor | ratio | goal | met |\n|---|---|---|---|---|---|");
    for Row { figure, measured, floor, ratio, goal, is_met } in rows {
        let met = match is_met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        // A string takes all.
        let _ = write!(text, "\n| {figure} | {measured} | {floor} | {ratio} | {goal} | {met} |");
    }
    text
}

/// The middle one, or the mean of the two in the middle.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Seconds.
#[must_use]
pub fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

/// Megabytes, of a million bytes.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

/// Goals for 10,000 and 50,000 pods, and on the line between and beyond them.
#[must_use]
pub fn on_line(pods: usize, at_10_000: f64, at_50_000: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a number of pods")]
    let part = (pods as f64 - 10_000.0) / 40_000.0;
    // Smaller clusters are not held to less than what the first goal is.
    at_10_000 + (at_50_000 - at_10_000) * part.max(0.0)
}
