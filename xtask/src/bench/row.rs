//! A row of the table: one figure, what it is measured against, and whether its goal is met.

use super::pairs;

/// The headings of the table, in Markdown.
pub const HEAD: &str =
    "| figure | base | median | 95 % interval | goal | met |\n| --- | --- | --- | --- | --- | --- |\n";

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

/// One figure, measured several times.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is measured; no other row has the same.
    pub figure: String,
    /// What it is measured against, or how.
    pub base: String,
    /// What stands behind the numbers, such as `ms`.
    pub unit: &'static str,
    /// The measurements.
    pub values: Vec<f64>,
    /// None where a figure only informs.
    pub goal: Option<Goal>,
}

impl Row {
    /// The row in Markdown.
    pub fn render(&self) -> String {
        let (median, (low, high)) = (pairs::median(&self.values), pairs::interval(&self.values));
        let goal = match self.goal {
            Some(Goal::AtLeast(least)) => format!("≥ {}", amount(least)),
            Some(Goal::AtMost(most)) => format!("≤ {}", amount(most)),
            None => "–".to_string(),
        };
        let met = match self.goal {
            Some(goal) if goal.met(median) => "yes",
            Some(_) => "**no**",
            None => "–",
        };
        let Row { figure, base, unit, .. } = self;
        let [median, low, high] = [median, low, high].map(amount);
        format!("| {figure} | {base} | {median} {unit} | {low} to {high} | {goal} | {met} |\n")
    }
}

impl Goal {
    fn met(self, median: f64) -> bool {
        match self {
            Goal::AtLeast(least) => median >= least,
            Goal::AtMost(most) => median <= most,
        }
    }
}

/// Three digits that count, and no more.
fn amount(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (thousands, rest) = digits.split_at(digits.len() - 3);
            format!("{thousands},{rest}")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_goal_is_met() {
        let row = |goal| {
            let (figure, base) = ("rate".to_string(), "24 agents".to_string());
            Row { figure, base, unit: "tasks/s", values: vec![19_000.0, 21_500.0, 24_000.0], goal }.render()
        };
        assert_eq!(
            row(Some(Goal::AtLeast(20_000.0))),
            "| rate | 24 agents | 21,500 tasks/s | 19,000 to 24,000 | ≥ 20,000 | yes |\n"
        );
        assert!(row(Some(Goal::AtMost(15.0))).ends_with("| ≤ 15.0 | **no** |\n"));
        assert!(row(None).ends_with("| – | – |\n"));
    }

    #[test]
    fn amounts_have_the_digits_that_count() {
        let texts = [0.1512, 1.0, 14.96, 123.4, 20_000.0].map(amount);
        assert_eq!(texts, ["0.151", "1.00", "15.0", "123", "20,000"]);
    }
}
