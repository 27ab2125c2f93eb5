//! Whether one version is worse than another, by what both were measured at in turns.

use std::fmt::Write;

/// Below this, a row is worse.
const LEAST: f64 = 0.95;

/// A row's pairs: this version's figure and the other's, of which less is better.
pub struct Row {
    pub title: String,
    pub unit: String,
    pub pairs: Vec<(f64, f64)>,
}

/// What the rows say, and those that could not be measured with the reason.
#[derive(Default)]
pub struct Comparison {
    pub rows: Vec<Row>,
    pub voids: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Worse,
    Same,
    Better,
    /// A figure is missing or no number.
    Void,
}

impl Row {
    /// The other's figure by this version's, ascending: above 1 this version is better.
    fn ratios(&self) -> Vec<f64> {
        let mut ratios: Vec<f64> = self.pairs.iter().map(|(this, other)| other / this).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    pub fn verdict(&self) -> Verdict {
        let positive = |figure: f64| figure.is_finite() && figure > 0.0;
        if self.pairs.is_empty() || !self.pairs.iter().all(|(this, other)| positive(*this) && positive(*other)) {
            return Verdict::Void;
        }
        match median(&self.ratios()) {
            ratio if ratio < LEAST => Verdict::Worse,
            ratio if ratio > 1.0 / LEAST => Verdict::Better,
            _ => Verdict::Same,
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}

impl Comparison {
    /// A line of what the benchmarks print.
    pub fn read(&mut self, line: &str) -> Result<(), String> {
        let strange = || format!("the benchmarks print a line that nobody understands: {line}");
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["pair", title, unit, this, other] => {
                let number = |text: &str| text.parse::<f64>().map_err(|_| strange());
                let pair = (number(this)?, number(other)?);
                match self.rows.last_mut().filter(|row| row.title == *title) {
                    Some(row) => row.pairs.push(pair),
                    None => {
                        self.rows.push(Row { title: (*title).to_owned(), unit: (*unit).to_owned(), pairs: vec![pair] })
                    }
                }
                Ok(())
            }
            ["void", title, why] => {
                self.voids.push(((*title).to_owned(), (*why).to_owned()));
                Ok(())
            }
            _ => Err(strange()),
        }
    }

    /// Whether there is something to compare, and nothing is worse or could not be measured.
    pub fn passes(&self) -> bool {
        let good = |row: &Row| !matches!(row.verdict(), Verdict::Worse | Verdict::Void);
        !self.rows.is_empty() && self.voids.is_empty() && self.rows.iter().all(good)
    }

    pub fn table(&self) -> String {
        let mut text = String::from("| row | here | there | ratio | least | greatest | pairs | verdict |\n");
        text += "|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let side = |pick: fn(&(f64, f64)) -> f64| {
                let mut figures: Vec<f64> = row.pairs.iter().map(pick).collect();
                figures.sort_by(f64::total_cmp);
                format!("{:.1} {}", median(&figures), row.unit)
            };
            let ratios = row.ratios();
            let at = |place: Option<&f64>| place.copied().unwrap_or(f64::NAN);
            let verdict = match row.verdict() {
                Verdict::Worse => "**worse**",
                Verdict::Same => "the same",
                Verdict::Better => "better",
                Verdict::Void => "**void**",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {verdict} |",
                row.title,
                side(|pair| pair.0),
                side(|pair| pair.1),
                median(&ratios),
                at(ratios.first()),
                at(ratios.last()),
                row.pairs.len(),
            );
        }
        for (title, why) in &self.voids {
            let _ = writeln!(text, "| {title} | | | | | | | **void**: {} |", why.replace('|', "/"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine pairs, the other's figure being 100 and this version's as given.
    fn row(title: &str, this: [f64; 9]) -> Comparison {
        let mut read = Comparison::default();
        for figure in this {
            read.read(&format!("pair\t{title}\tus\t{figure}\t100")).expect("a pair");
        }
        read
    }

    #[test]
    fn a_version_that_needs_a_tenth_more_is_worse() {
        let slower = row("a", [108.0, 110.0, 112.0, 109.0, 111.0, 110.0, 110.0, 109.0, 113.0]);
        assert_eq!(slower.rows[0].verdict(), Verdict::Worse);
        assert!(!slower.passes());
        assert!(slower.table().contains("| a | 110.0 us | 100.0 us | 0.91 | 0.88 | 0.93 | 9 | **worse** |"));
    }

    #[test]
    fn noise_around_the_same_is_not_worse() {
        let same = row("a", [99.0, 101.0, 104.0, 97.0, 100.0, 103.0, 98.0, 102.0, 100.0]);
        assert_eq!(same.rows[0].verdict(), Verdict::Same);
        assert!(same.passes());
    }

    #[test]
    fn four_pairs_that_a_neighbour_spoilt_do_not_decide() {
        let spoilt = row("a", [150.0, 170.0, 100.0, 99.0, 190.0, 101.0, 100.0, 160.0, 100.0]);
        assert_eq!(spoilt.rows[0].verdict(), Verdict::Same);
        let hidden = row("a", [60.0, 110.0, 110.0, 70.0, 110.0, 55.0, 110.0, 80.0, 110.0]);
        assert_eq!(hidden.rows[0].verdict(), Verdict::Worse);
    }

    #[test]
    fn the_line_is_at_0_95() {
        assert_eq!(row("a", [105.2; 9]).rows[0].verdict(), Verdict::Same);
        assert_eq!(row("a", [105.3; 9]).rows[0].verdict(), Verdict::Worse);
        assert_eq!(row("a", [94.0; 9]).rows[0].verdict(), Verdict::Better);
    }

    #[test]
    fn what_was_not_measured_does_not_pass() {
        assert!(!Comparison::default().passes());
        assert_eq!(row("a", [0.0; 9]).rows[0].verdict(), Verdict::Void);
        let mut with_a_void = row("a", [100.0; 9]);
        with_a_void.read("void\tb\tthe other version: it does not come up").expect("a void");
        assert!(!with_a_void.passes());
        assert!(with_a_void.table().contains("the other version: it does not come up"));
        assert!(with_a_void.read("pair\ta\tus\tmany\t1").is_err());
        assert!(with_a_void.read("hello").is_err());
    }

    #[test]
    fn rows_are_kept_apart() {
        let mut two = row("a", [100.0; 9]);
        two.read("pair\tb\tms\t120\t100").expect("a pair");
        assert_eq!(two.rows.iter().map(Row::verdict).collect::<Vec<_>>(), [Verdict::Same, Verdict::Worse]);
        assert!(!two.passes());
    }
}
