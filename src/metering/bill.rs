//! What was used, and the ledger entries it becomes.

use crate::store::ledger::NewEntry;
use crate::store::prices::Price;
use crate::store::reservations::Quoted;
use crate::types::{AssistantId, DocumentId, Meter, Provenance, TenantId, TurnId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A metered quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub meter: Meter,
    pub quantity: i64,
    pub provenance: Provenance,
}

impl Item {
    /// Counted or reported by the provider.
    #[must_use]
    pub fn exact(meter: Meter, quantity: i64) -> Self {
        Self { meter, quantity, provenance: Provenance::Exact }
    }
}

/// What was quoted: the bill is made with it, whatever the price is by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// Of the chat models that may answer; `None`, or not there: unpriced.
    pub chat: Quoted,
    /// `None`: what embeds is unpriced.
    pub embedding: Option<Price>,
}

impl Prices {
    /// Of a chat model.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        self.chat.get(model)?.as_ref()
    }
}

/// What a model was asked for, and used: a turn may ask more than once, and more than one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBill {
    /// The chat model.
    pub model: Option<String>,
    /// At most one item per meter.
    pub items: Vec<Item>,
}

/// What one turn, document or request used, for one user.
#[derive(Clone, Debug)]
pub struct Bill {
    pub tenant: TenantId,
    pub user: UserId,
    pub assistant: Option<AssistantId>,
    pub source: Source,
    /// What embedded.
    pub embedding_model: Option<String>,
    pub prices: Prices,
    /// The number of the first step: 0 for what was used, [`Bill::LATER`] for what became known of it later.
    pub first_step: i16,
    pub steps: Vec<StepBill>,
}

/// What the entries are of; its id says in which month's part of the ledger they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Turn(TurnId),
    Document(DocumentId),
    /// A request that is neither, by an id of its own (UUIDv7).
    Request(Uuid),
}

impl Source {
    pub(super) fn uuid(self) -> Uuid {
        match self {
            Self::Turn(id) => id.uuid(),
            Self::Document(id) => id.uuid(),
            Self::Request(id) => id,
        }
    }

    fn turn(self) -> Option<TurnId> {
        if let Self::Turn(id) = self { Some(id) } else { None }
    }

    pub(super) fn document(self) -> Option<DocumentId> {
        if let Self::Document(id) = self { Some(id) } else { None }
    }
}

impl Bill {
    /// Steps from here on are adjustments of the steps before.
    pub const LATER: i16 = 1_000;

    /// Priced entries for the ledger.
    pub(super) fn entries(&self) -> Vec<NewEntry> {
        let steps = (self.first_step..).zip(&self.steps);
        steps
            .flat_map(|(n, step)| step.items.iter().map(move |item| self.entry(n, step, *item)))
            .collect()
    }

    /// The sum; `None` when a chat model that was asked has no price.
    pub(super) fn cost(&self) -> Option<i64> {
        let price = |step: &StepBill| self.prices.of(step.model.as_deref()?).map(drop);
        self.steps.iter().map(price).collect::<Option<Vec<()>>>().filter(|all| !all.is_empty())?;
        let costs = self.entries().into_iter().filter_map(|entry| entry.cost_nano_usd);
        Some(costs.fold(0, i64::saturating_add))
    }

    fn price(&self, step: &StepBill, meter: Meter) -> Option<&Price> {
        match meter {
            Meter::EmbeddingTokens => self.prices.embedding.as_ref(),
            _ => self.prices.of(step.model.as_deref()?),
        }
    }

    fn entry(&self, step: i16, of: &StepBill, item: Item) -> NewEntry {
        let price = self.price(of, item.meter);
        let cost_nano_usd = price.and_then(|price| price.cost(item.meter, item.quantity));
        let price = price.filter(|_| cost_nano_usd.is_some());
        let later = step >= Self::LATER && item.meter != Meter::StoredBytes;
        NewEntry {
            event_id: self.event_id(step, item.meter),
            kind: if later { "adjustment" } else { "usage" }.into(),
            turn_id: self.source.turn(),
            document_id: self.source.document(),
            step,
            meter: item.meter.as_str().into(),
            quantity: item.quantity,
            provenance: item.provenance.as_str().into(),
            model: match item.meter {
                Meter::EmbeddingTokens => self.embedding_model.clone(),
                _ => of.model.clone(),
            },
            price_version: price.map(|price| price.version.clone()),
            cost_nano_usd,
        }
    }

    /// The same consumption always has the same id: the second insert of it is a conflict.
    fn event_id(&self, step: i16, meter: Meter) -> Uuid {
        let turn = self.source.turn().map(TurnId::uuid).unwrap_or_default();
        let document = self.source.document().map(DocumentId::uuid).unwrap_or_default();
        let (tenant, step) = (self.tenant.uuid(), step.to_be_bytes());
        let request = match &self.source {
            Source::Request(id) => id.as_bytes().as_slice(),
            _ => &[],
        };
        id_of(&[
            tenant.as_bytes(),
            turn.as_bytes(),
            document.as_bytes(),
            request,
            &step,
            meter.as_str().as_bytes(),
        ])
    }
}

/// An id that is made of what it stands for.
pub(super) fn id_of(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let digest: [u8; 32] = hash.finalize().into();
    let (head, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Uuid::new_v8(*head)
}
