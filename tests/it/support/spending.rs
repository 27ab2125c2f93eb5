//! Budgets of requests.

use std::time::Instant;

use super::client::Answer;

/// Asks until the budget of so many a minute is spent, and gives the refusal.
pub async fn spend(per_minute: usize, ask: impl AsyncFn(usize) -> Answer) -> Answer {
    spend_from(0, per_minute, ask).await
}

/// As [`spend`], when so much of the budget was spent before. The budget fills again while we ask, so what is let
/// through is held against the time it took: on no machine does the clock decide.
pub async fn spend_from(spent: usize, per_minute: usize, ask: impl AsyncFn(usize) -> Answer) -> Answer {
    let began = Instant::now();
    for turn in 0.. {
        let answer = ask(turn).await;
        if answer.status == 429 {
            assert!(turn + spent >= per_minute, "refused after {turn}");
            let answer = answer.expect_problem(429, "rate_limited");
            let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!((1..=60).contains(&seconds), "{seconds}");
            return answer;
        }
        let refilled = began.elapsed().as_secs_f64() * per_minute as f64 / 60.0;
        assert!((turn + 1) as f64 <= per_minute as f64 + refilled, "{} were let through", turn + 1);
    }
    unreachable!("the loop ends by returning")
}
