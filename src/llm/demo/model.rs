//! The demo as a model: composes at once, then streams at a readable pace.

use std::{collections::VecDeque, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::sleep;

use super::{answer, passage::Prompt};
use crate::{
    llm::{
        Answering, ChatEvent, ChatModel, ChatRequest, ChatStream, FinishReason, LlmError,
        TokenUsage, tokens,
    },
    text::tokens::pieces,
};

/// The built-in model. Needs no key, never fails, costs nothing but counts as others do.
#[derive(Debug, Clone, Copy)]
pub struct Demo {
    delay: Duration,
}

impl Demo {
    /// A model that pauses for `delay` before each piece of a word; zero streams without pause.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Default for Demo {
    /// About 60 pieces a second.
    fn default() -> Self {
        Self::new(Duration::from_millis(15))
    }
}

impl ChatModel for Demo {
    fn provider(&self) -> &'static str {
        "demo"
    }

    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        let events = events(&request);
        let delay = self.delay;
        let stream: ChatStream = stream::unfold(events, move |mut events| async move {
            let event = events.pop_front()?;
            if matches!(event, ChatEvent::Text(_)) && !delay.is_zero() {
                sleep(delay).await;
            }
            Some((Ok(event), events))
        })
        .boxed();
        std::future::ready(Ok(stream.into())).boxed()
    }
}

fn events(request: &ChatRequest) -> VecDeque<ChatEvent> {
    let answer = answer::compose(&Prompt::read(&request.messages));
    let kept = tokens::truncate(&answer, request.max_output_tokens);
    let reason = if kept.len() < answer.len() { FinishReason::Length } else { FinishReason::Stop };
    let usage = TokenUsage {
        input: Some(tokens::count_messages(&request.messages).into()),
        output: Some(tokens::count(kept).into()),
        ..TokenUsage::default()
    };
    let texts = pieces(kept).map(|piece| ChatEvent::Text(piece.to_owned()));
    texts.chain([ChatEvent::Finished(reason), ChatEvent::Usage(usage)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChatMessage, Role};

    fn request(max_output_tokens: u32) -> ChatRequest {
        let content = "<passage n=\"1\" file=\"a.md\" page=\"1\">\nThe office dog is called Rex. He \
                       is nine.\n</passage>\n\nWhat is the office dog called?";
        let messages = vec![ChatMessage::new(Role::User, content)];
        ChatRequest::new("demo", messages, max_output_tokens)
    }

    async fn run(max_output_tokens: u32) -> (Vec<String>, Vec<ChatEvent>) {
        let stream = Demo::default().ask(request(max_output_tokens)).await.unwrap().events;
        let events: Vec<_> = stream.map(Result::unwrap).collect().await;
        let (mut texts, mut rest) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                ChatEvent::Text(text) => texts.push(text),
                other => rest.push(other),
            }
        }
        (texts, rest)
    }

    #[tokio::test(start_paused = true)]
    async fn streams_pieces_at_its_pace_then_finish_then_usage() {
        let started = tokio::time::Instant::now();
        let (texts, rest) = run(500).await;
        let answer = texts.concat();
        assert!(answer.contains("The office dog is called Rex. [1]"), "{answer}");
        assert!(texts.len() > 30 && texts.iter().all(|text| !text.is_empty()));
        let pace = Duration::from_millis(15) * u32::try_from(texts.len()).unwrap();
        assert!(started.elapsed() >= pace);
        let usage = TokenUsage {
            input: Some(tokens::count_messages(&request(1).messages).into()),
            output: Some(tokens::count(&answer).into()),
            ..TokenUsage::default()
        };
        assert_eq!(rest, [ChatEvent::Finished(FinishReason::Stop), ChatEvent::Usage(usage)]);
    }

    #[tokio::test(start_paused = true)]
    async fn respects_the_limit() {
        let (texts, rest) = run(5).await;
        assert_eq!(tokens::count(&texts.concat()), 5);
        assert_eq!(rest.first(), Some(&ChatEvent::Finished(FinishReason::Length)));
        assert!(run(0).await.0.is_empty());
    }
}
