//! A moderator's word on the question, while passages are looked for.

use super::answer::{Answer, End, Work, failed};
use super::search::Search;
use crate::guard::Verdict;
use crate::llm::FinishReason;

impl Work<'_> {
    /// Finds the passages and hears the moderator, where there is one; then the model may be asked.
    pub(super) async fn prepare(
        &self,
        search: Option<Search>,
        answer: &mut Answer,
    ) -> Result<(), End> {
        let Some(moderator) = self.parts.guard.moderator() else {
            return self.retrieve(search, answer).await;
        };
        let (found, verdict) =
            tokio::join!(self.retrieve(search, answer), moderator.judge(&self.opened.text));
        match verdict {
            Verdict::Passed => found,
            Verdict::Flagged => {
                answer.passages.clear();
                answer.finish = Some(FinishReason::ContentFilter);
                self.notice("moderated", "This question is not answered here.");
                Err(End::Complete)
            }
            Verdict::Unknown => {
                answer.passages.clear();
                let message = "The question could not be checked. Try again in a moment.";
                Err(failed("moderation_failed", message, true))
            }
        }
    }
}
