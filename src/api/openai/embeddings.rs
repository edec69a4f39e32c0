//! Texts to vectors, as OpenAI's clients ask for them.

use super::refusal::{no_model, shape, wrong};
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::text::tokens;
use crate::vectors::Vectorised;
use actix_web::middleware::from_fn;
use actix_web::{post, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Texts in one call.
const MOST_TEXTS: usize = 2048;
/// Tokens of one text.
const LONGEST: u32 = 8192;

/// Other fields, such as `user`, are ignored.
#[derive(Deserialize, ToSchema)]
pub(crate) struct EmbeddingsBody {
    /// A text, or a list of 1 to 2048.
    #[schema(value_type = Vec<String>)]
    input: Value,
    /// As `GET /v1/models` names it; the number of dimensions at its end may be left out.
    model: String,
    #[serde(default)]
    encoding_format: Option<Encoding>,
    /// What the model has; or less, where it can shorten its vectors.
    dimensions: Option<usize>,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// Numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingList {
    /// `list`.
    object: &'static str,
    data: Vec<EmbeddingView>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingView {
    /// `embedding`.
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl Vector {
    fn new(numbers: Vec<f32>, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float => Self::Float(numbers),
            Encoding::Base64 => {
                let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// The texts of `input`.
fn texts(input: Value) -> Result<Vec<String>, Problem> {
    let list = match input {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(list) => list,
        _ => return Err(wrong("input", "`input` is a text or a list of texts.")),
    };
    if list.is_empty() || list.len() > MOST_TEXTS {
        return Err(wrong("input", format!("`input` has 1 to {MOST_TEXTS} texts.")));
    }
    let text = |one: Value| match one {
        Value::String(text) if text.is_empty() => {
            Err(wrong("input", "`input` has an empty text: leave it out."))
        }
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => Err(wrong(
            "input",
            "`input` has tokens: send texts, as each model has tokens of its own. (In LangChain: \
             check_embedding_ctx_length=False.)",
        )),
        _ => Err(wrong("input", "`input` is a text or a list of texts.")),
    };
    list.into_iter().map(text).collect()
}

/// Their tokens, by our count.
fn count(texts: &[String]) -> Result<u32, Problem> {
    let mut sum: u32 = 0;
    for (i, text) in texts.iter().enumerate() {
        let tokens = tokens::count(text);
        if tokens > LONGEST {
            let detail = format!("Text {i} of `input` has {tokens} tokens; {LONGEST} are taken.");
            return Err(wrong("input", detail));
        }
        sum = sum.saturating_add(tokens);
    }
    Ok(sum)
}

/// Vectors for texts. They are billed as embedding tokens and not kept.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai", security(("bearer" = [])),
    request_body = EmbeddingsBody,
    responses((status = 200, body = EmbeddingList), (status = 400), (status = 404), (status = 429)))]
#[post("/v1/embeddings", wrap = "from_fn(shape)")]
pub(crate) async fn embeddings(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<EmbeddingsBody>,
) -> Result<web::Json<EmbeddingList>, Problem> {
    let space = state.vectors.space(ctx.tenant).await?;
    let (name, dimensions) = (space.name().to_owned(), space.dimensions());
    if body.model != name && format!("{}-{dimensions}", body.model) != name {
        return Err(no_model());
    }
    let wanted = body.dimensions.unwrap_or(dimensions);
    let space = space.of_length(wanted).ok_or_else(|| {
        let detail = format!("This model has {dimensions} dimensions and cannot have {wanted}.");
        wrong("dimensions", detail)
    })?;
    let texts = texts(body.input)?;
    // Counting a large body takes milliseconds: not those of other requests of this worker.
    let counted = web::block(move || count(&texts).map(|tokens| (texts, tokens))).await;
    let (texts, tokens) = counted.map_err(|_died| Problem::invalid("It cannot be counted."))??;
    let Vectorised { vectors, tokens } = state.vectors.embed(ctx, space, texts, tokens).await?;
    let encoding = body.encoding_format.unwrap_or_default();
    let view = |(index, numbers)| EmbeddingView {
        object: "embedding",
        index,
        embedding: Vector::new(numbers, encoding),
    };
    Ok(web::Json(EmbeddingList {
        object: "list",
        data: vectors.into_iter().enumerate().map(view).collect(),
        model: name,
        usage: EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}
