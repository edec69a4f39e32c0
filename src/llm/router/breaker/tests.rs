//! Breakers on a clock that the test moves.

use super::*;
use crate::llm::Left;
use tokio::time::advance;

fn breaker() -> Arc<Breaker> {
    let guarded = Guarded { provider: "p".into(), model: "m".into(), key: [0; 8], tenant: None };
    Breaker::new(guarded)
}

fn status(status: u16, retry_after: Option<u64>) -> LlmError {
    let retry_after = retry_after.map(Duration::from_secs);
    LlmError::Status(Refusal { status, complaint: Complaint::default(), retry_after })
}

fn fail(breaker: &Arc<Breaker>, error: &LlmError) {
    breaker.admit().unwrap().failed(error);
}

/// Whole seconds until it is tried again.
fn rest(breaker: &Breaker) -> Option<u64> {
    breaker.standing().wait.map(|wait| wait.as_secs())
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_open_it_and_four_do_not() {
    let breaker = breaker();
    for _ in 0..2 {
        (0..4).for_each(|_| fail(&breaker, &status(500, None)));
        let mut permit = breaker.admit().unwrap();
        permit.began(Headroom::default());
        permit.ended();
    }
    (0..5).for_each(|_| fail(&breaker, &LlmError::Cut));
    let away = breaker.admit().unwrap_err();
    assert_eq!((away.wait, away.error.code()), (PAUSE, "model_cut_off"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_begins_and_breaks_off_is_a_failure_in_the_row() {
    let breaker = breaker();
    for _ in 0..5 {
        let mut permit = breaker.admit().unwrap();
        permit.began(Headroom::default());
        permit.failed(&LlmError::Cut);
    }
    assert_eq!(breaker.standing().state, "open");
}

#[tokio::test(start_paused = true)]
async fn one_request_tries_it_and_the_pause_doubles_until_an_answer_came_to_its_end() {
    let breaker = breaker();
    (0..5).for_each(|_| fail(&breaker, &status(500, None)));
    for pause in [10, 20, 40, 80, 120, 120] {
        assert_eq!(rest(&breaker), Some(pause));
        advance(Duration::from_secs(pause)).await;
        assert_eq!(breaker.standing().state, "half_open");
        let mut trial = breaker.admit().unwrap();
        assert_eq!(breaker.admit().unwrap_err().wait, TRYING, "one at a time");
        trial.failed(&status(502, None));
    }
    advance(Duration::from_secs(120)).await;
    // Whoever tries it and leaves lets the next one try.
    drop(breaker.admit().unwrap());
    let mut trial = breaker.admit().unwrap();
    trial.began(Headroom::default());
    let mut next = breaker.admit().unwrap();
    assert_eq!(breaker.standing().state, "closed", "the others need not wait for the end");
    trial.ended();
    next.failed(&LlmError::Cut);
    assert_eq!(breaker.standing().state, "closed", "all is forgiven");
}

#[tokio::test(start_paused = true)]
async fn just_closed_it_opens_at_the_next_failure() {
    let breaker = breaker();
    (0..5).for_each(|_| fail(&breaker, &status(500, None)));
    advance(PAUSE).await;
    breaker.admit().unwrap().began(Headroom::default());
    fail(&breaker, &status(500, None));
    assert_eq!(rest(&breaker), Some(20));
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_asks_for_is_done_and_what_needs_hands_takes_long() {
    for (error, seconds) in [
        (status(429, Some(7)), 7),
        (status(503, Some(30)), 30),
        (status(429, Some(86_400)), LONGEST_BUSY.as_secs()),
        (status(401, None), SETUP_PAUSE.as_secs()),
        (status(402, None), SETUP_PAUSE.as_secs()),
        (status(403, None), SETUP_PAUSE.as_secs()),
        (status(404, None), SETUP_PAUSE.as_secs()),
        (LlmError::Request { detail: "no key".into() }, SETUP_PAUSE.as_secs()),
    ] {
        let breaker = breaker();
        fail(&breaker, &error);
        assert_eq!(rest(&breaker), Some(seconds), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_is_never_counted() {
    let breaker = breaker();
    for code in [400, 413, 422] {
        (0..20).for_each(|_| fail(&breaker, &status(code, None)));
    }
    let standing = breaker.standing();
    assert_eq!((standing.state, standing.failures), ("closed", 0));
    // One that is tried with a bad request was there to refuse it.
    (0..5).for_each(|_| fail(&breaker, &LlmError::Cut));
    advance(PAUSE).await;
    fail(&breaker, &status(400, None));
    assert_eq!(breaker.standing().state, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_that_is_used_up_is_not_run_into() {
    let breaker = breaker();
    let left = |remaining| {
        let left = Left { remaining, resets_in: Duration::from_secs(6) };
        Headroom { requests: Some(left), tokens: None }
    };
    breaker.admit().unwrap().began(left(1));
    assert_eq!(breaker.standing().state, "closed");
    breaker.admit().unwrap().began(left(0));
    let away = breaker.admit().unwrap_err();
    assert_eq!((away.wait.as_secs(), away.error.code()), (6, "model_busy"));
    assert!(away.error.public_message().contains("busy"));
}

#[tokio::test(start_paused = true)]
async fn those_who_asked_before_it_opened_change_nothing() {
    let breaker = breaker();
    let mut early = [breaker.admit().unwrap(), breaker.admit().unwrap()];
    fail(&breaker, &status(429, Some(60)));
    early[0].failed(&status(401, None));
    early[1].ended();
    assert_eq!(rest(&breaker), Some(60));
}
