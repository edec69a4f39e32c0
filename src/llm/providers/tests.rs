//! What holds for every provider, and what the tests of each share.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;

use super::{Deadlines, answer, anthropic, gemini, openai, said::Decode};
use crate::{
    llm::{ChatEvent, ChatMessage, ChatModel, ChatRequest, ChatStream, LlmError, Role},
    net::{ClientOptions, Clients, IdleLimit, events},
};

pub(super) const KEY: &str = "sk-test-0123456789";

pub(super) fn http() -> Clients {
    Clients::new(ClientOptions::default()).unwrap()
}

/// A second for everything.
pub(super) fn patience() -> Deadlines {
    let second = Duration::from_secs(1);
    Deadlines { headers: second, first_token: second, idle: second }
}

pub(super) fn question() -> ChatRequest {
    let messages = vec![ChatMessage::new(Role::User, "Hello?")];
    ChatRequest::new("m-1", messages, 64)
}

/// All that came, and how it ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) events: Vec<ChatEvent>,
    pub(super) error: Option<LlmError>,
}

impl Answer {
    pub(super) async fn of(model: &dyn ChatModel, question: ChatRequest) -> Self {
        match model.ask(question).await {
            Ok(answering) => Self::read(answering.events).await,
            Err(error) => Self { events: vec![], error: Some(error) },
        }
    }

    async fn read(mut stream: ChatStream) -> Self {
        let mut answer = Self { events: vec![], error: None };
        while let Some(event) = stream.next().await {
            assert!(answer.error.is_none(), "something after the error");
            match event {
                Ok(event) => answer.events.push(event),
                Err(error) => answer.error = Some(error),
            }
        }
        answer
    }
}

/// A recorded stream, read from chunks that are cut at `cuts`.
async fn read(recorded: &Recorded, cuts: &[usize]) -> Vec<ChatEvent> {
    let bytes = Bytes::from_static(recorded.0.as_bytes());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    let chunks = ends.map(|end| Ok(bytes.slice(std::mem::replace(&mut from, end)..end)));
    let limit = IdleLimit::new(Duration::from_secs(5));
    let chunks: Vec<Result<Bytes, reqwest::Error>> = chunks.collect();
    let frames = events(stream::iter(chunks), limit.clone());
    let answer = Answer::read((recorded.1)(frames, limit)).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    answer.events
}

type Frames = crate::net::EventStream<reqwest::Error>;
/// A stream, what reads it, and what it says.
type Recorded = (&'static str, fn(Frames, IdleLimit) -> ChatStream, fn() -> Vec<ChatEvent>);

fn reader<D: Decode + Default + 'static>(frames: Frames, limit: IdleLimit) -> ChatStream {
    answer::streamed(frames, limit, patience(), D::default(), None)
}

fn recorded() -> [Recorded; 3] {
    [
        (openai::tests::CALLS, reader::<openai::Decoder>, openai::tests::calls),
        (anthropic::tests::CALLS, reader::<anthropic::Decoder>, anthropic::tests::calls),
        (gemini::tests::CALLS, reader::<gemini::Decoder>, gemini::tests::calls),
    ]
}

#[tokio::test]
async fn every_cut_gives_the_same_events() {
    for recorded in recorded() {
        for at in 0..=recorded.0.len() {
            assert_eq!(read(&recorded, &[at]).await, recorded.2(), "cut at {at}");
        }
        let all: Vec<usize> = (1..recorded.0.len()).collect();
        assert_eq!(read(&recorded, &all).await, recorded.2(), "byte by byte");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_never_taken_for_a_whole_one() {
    for (text, reader, _) in recorded() {
        let events_of = |end: usize| async move {
            let chunk = Bytes::from_static(&text.as_bytes()[..end]);
            let limit = IdleLimit::new(Duration::from_secs(5));
            let frames = events(stream::iter([Ok(chunk)]), limit.clone());
            Answer::read(reader(frames, limit)).await
        };
        for end in 0..text.len() {
            let answer = events_of(end).await;
            let finished =
                answer.events.iter().any(|event| matches!(event, ChatEvent::Finished(_)));
            assert_eq!(finished, answer.error.is_none(), "{end}: {answer:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_events(cuts in proptest::collection::vec(any::<u16>(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for recorded in recorded() {
            let mut cuts: Vec<_> =
                cuts.iter().map(|cut| usize::from(*cut) % recorded.0.len()).collect();
            cuts.sort_unstable();
            prop_assert_eq!(runtime.block_on(read(&recorded, &cuts)), recorded.2());
        }
    }
}
