//! Embedding models: vectors of two of them are never compared. A row's name, length and provider never
//! change once there are vectors of it.

use super::Conn;
use super::providers::Provider;
use super::schema::{embedding_models, providers};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = embedding_models)]
pub struct EmbeddingModel {
    pub id: i32,
    /// The vector space, as it is shown and billed.
    pub name: String,
    pub dimensions: i32,
    pub provider: String,
    /// As its provider calls it.
    pub model: String,
    /// Whether its provider is asked for that many dimensions: it has more.
    pub shortened: bool,
    /// The most texts of one request.
    pub batch_texts: i32,
    /// The most tokens of one request.
    pub batch_tokens: i32,
    /// The most tokens of one text; a longer one is cut.
    pub text_tokens: i32,
}

/// A model as somebody describes it: what is left out has its default, or stays as it is.
#[derive(Clone, Debug, Insertable, AsChangeset)]
#[diesel(table_name = embedding_models)]
pub struct NewEmbeddingModel {
    /// Ends in the dimensions: what is there under a name has them, too.
    name: String,
    dimensions: i32,
    pub provider: String,
    pub model: String,
    pub shortened: bool,
    pub batch_texts: Option<i32>,
    pub batch_tokens: Option<i32>,
    pub text_tokens: Option<i32>,
}

impl NewEmbeddingModel {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A model with the limits that most have.
    #[must_use]
    pub fn new(provider: &str, model: &str, dimensions: i32, shortened: bool) -> Self {
        Self {
            name: format!("{model}-{dimensions}"),
            dimensions,
            provider: provider.to_owned(),
            model: model.to_owned(),
            shortened,
            batch_texts: None,
            batch_tokens: None,
            text_tokens: None,
        }
    }

    /// Adds it, or changes how what is there is asked. Needs a system transaction.
    pub async fn put(&self, conn: &mut Conn) -> QueryResult<()> {
        let insert = diesel::insert_into(embedding_models::table).values(self);
        insert.on_conflict(embedding_models::name).do_update().set(self).execute(conn).await?;
        Ok(())
    }
}

impl EmbeddingModel {
    pub async fn list(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        let all = embedding_models::table.order(embedding_models::name);
        all.select(Self::as_select()).load(conn).await
    }

    pub async fn find(mut conn: &Conn, id: i32) -> QueryResult<Option<(Self, Provider)>> {
        embedding_models::table
            .inner_join(providers::table)
            .filter(embedding_models::id.eq(id))
            .select((Self::as_select(), Provider::as_select()))
            .first(&mut conn)
            .await
            .optional()
    }

    /// The model that `word` names: a name, or what the provider calls it. With other `dimensions` than any
    /// that is there it is made, where one is there that can be shortened. Needs a system transaction.
    pub async fn named(
        conn: &mut Conn,
        word: &str,
        dimensions: Option<i32>,
    ) -> QueryResult<Option<Self>> {
        let fits = |model: &Self| dimensions.is_none_or(|wanted| wanted == model.dimensions);
        let all = Self::list(conn).await?;
        let mut called: Vec<&Self> = all.iter().filter(|model| model.model == word).collect();
        // Without a wish: as it is, before any shortened one.
        called.sort_by_key(|model| (model.shortened, -model.dimensions));
        let found = all.iter().find(|model| model.name == word);
        if let Some(found) = found.into_iter().chain(called.iter().copied()).find(|it| fits(it)) {
            return Ok(Some(found.clone()));
        }
        let (Some(whole), Some(wanted)) = (called.as_slice().first(), dimensions) else {
            return Ok(None);
        };
        if !(1..whole.dimensions).contains(&wanted) {
            return Ok(None);
        }
        let shorter = NewEmbeddingModel {
            batch_texts: Some(whole.batch_texts),
            batch_tokens: Some(whole.batch_tokens),
            text_tokens: Some(whole.text_tokens),
            ..NewEmbeddingModel::new(&whole.provider, &whole.model, wanted, true)
        };
        shorter.put(conn).await?;
        let named = embedding_models::table.filter(embedding_models::name.eq(&shorter.name));
        named.select(Self::as_select()).first(conn).await.optional()
    }
}
