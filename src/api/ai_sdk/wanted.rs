//! Which question is meant. Clients have ids of their own for what the person said, so a stored question is known by
//! the answer that it follows.

use super::request::ChatBody;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{AskedError, What};
use crate::store::conversations::Conversation;
use crate::store::messages::{self, Place};
use crate::store::{Conn, DbError};
use crate::types::{ChatName, ConversationId, Ctx, MessageId, Question};
use diesel::QueryResult;

pub(super) async fn wanted(state: &State, ctx: Ctx, body: &ChatBody) -> Result<What, Problem> {
    let (name, text) = (body.name()?, body.text()?);
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = find(&mut tx, ctx, &name, body).await;
    tx.commit().await?;
    let (conversation, stored) = found.map_err(DbError::from)?.unzip();
    if let (Some(conversation), Some(message)) = (conversation, stored.flatten())
        && body.regenerates()
    {
        return Ok(What::Regenerate { conversation, message });
    }
    let text = Question::parse(&text).map_err(AskedError::from)?;
    Ok(match (conversation, stored.flatten()) {
        (Some(conversation), Some(of)) => What::Edit { conversation, of, text },
        // What was never stored, because it was refused, is asked anew.
        _ => What::Named { name, conversation, text },
    })
}

/// The conversation, and the stored question that is meant.
async fn find(
    tx: &mut Conn,
    ctx: Ctx,
    name: &ChatName,
    body: &ChatBody,
) -> QueryResult<Option<(ConversationId, Option<MessageId>)>> {
    let found = Conversation::find_named(tx, ctx.tenant, ctx.user, name.as_str()).await?;
    let Some(Conversation { id, .. }) = found else { return Ok(None) };
    if !body.of_stored() {
        return Ok(Some((id, None)));
    }
    let tree = messages::tree(tx, ctx.tenant, id).await?;
    Ok(Some((id, stored(&tree, body))))
}

/// The message that is named, or the question after the last answer of ours. Of several that stand beside each other
/// the newest is answered again; to edit, any of them will do, and the oldest is the same for a repeat.
fn stored(tree: &[Place], body: &ChatBody) -> Option<MessageId> {
    let ours = |id: &MessageId| tree.iter().any(|place| place.id == *id);
    if let Some(named) = body.message().filter(ours) {
        return Some(named);
    }
    let parent = body.answers().find(ours);
    let mut questions = tree.iter().filter(|place| place.parent_id == parent);
    let found = if body.regenerates() { questions.next_back() } else { questions.next() };
    found.map(|place| place.id)
}
