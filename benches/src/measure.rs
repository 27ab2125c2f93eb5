//! Two sides, measured in turns, and what their ratio says about a goal.

use crate::load::Span;

#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What a ratio is read from when requests per second are too uneven.
#[derive(Clone, Copy, PartialEq)]
pub enum Bound {
    /// By the processor: then processor time per request says the same as the rate, and repeats better.
    Processor,
    /// By something else, a disk or a queue: only the rate says anything.
    Other,
}

/// Beyond this spread, the width from the least to the greatest by the median, the rate is not believed.
const NOISY: f64 = 0.15;
/// Nor when others use more than this share of the machine: they need not hit both sides alike.
const SHARED: f64 = 0.1;

/// A row: our side and the yardstick's, a span of each for every round.
pub struct Row {
    pub work: String,
    pub yardstick: String,
    pub goal: Goal,
    pub bound: Bound,
    pub ours: Vec<Span>,
    pub theirs: Vec<Span>,
    /// What a reader must know of this row.
    pub remark: String,
}

/// Median, least and greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Verdict {
    Met,
    NotMet,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let half = values.len() / 2;
        let median =
            if values.len().is_multiple_of(2) { (at(half.wrapping_sub(1)) + at(half)) / 2.0 } else { at(half) };
        Spread { median, least: at(0), greatest: at(values.len().wrapping_sub(1)) }
    }

    pub fn width(&self) -> f64 {
        (self.greatest - self.least) / self.median
    }
}

impl Row {
    /// Measures both sides in turns: A B A B …
    pub fn alternate(
        rounds: usize,
        mut ours: impl FnMut() -> Result<Span, String>,
        mut theirs: impl FnMut() -> Result<Span, String>,
    ) -> Result<(Vec<Span>, Vec<Span>), String> {
        let mut spans = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            spans.0.push(ours()?);
            spans.1.push(theirs()?);
        }
        Ok(spans)
    }

    /// How many requests we answer for each of theirs.
    pub fn by_rate(&self) -> Spread {
        Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours.rate() / theirs.rate()))
    }

    /// How many we could answer for each of theirs if the processors were all that counts: everybody's processor time
    /// is in it, the client's too, for on one machine it is taken from the server.
    pub fn by_processor(&self) -> Spread {
        Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs.whole_cost() / ours.whole_cost()))
    }

    /// The spread that is judged, and whether it is the rate's.
    pub fn judged(&self) -> (Spread, bool) {
        let rate = self.by_rate();
        let quiet = self.ours.iter().chain(&self.theirs).all(|span| span.others <= SHARED);
        let by_rate = self.bound == Bound::Other || (quiet && rate.width() <= NOISY);
        if by_rate { (rate, true) } else { (self.by_processor(), false) }
    }

    pub fn verdict(&self) -> Verdict {
        self.goal.verdict(self.judged().0.median)
    }
}

impl Goal {
    pub fn verdict(self, value: f64) -> Verdict {
        let met = match self {
            Goal::AtLeast(least) => value >= least,
            Goal::AtMost(most) => value <= most,
        };
        if met { Verdict::Met } else { Verdict::NotMet }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::AtLeast(least) => write!(f, ">= {least}"),
            Goal::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Met => "met",
            Verdict::NotMet => "**not met**",
        })
    }
}
