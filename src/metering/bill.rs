//! What was used, and the ledger entries it becomes.

use crate::store::ledger::NewEntry;
use crate::store::prices::Price;
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
    /// `None`: the chat model is unpriced.
    pub chat: Option<Price>,
    /// `None`: what embeds is unpriced.
    pub embedding: Option<Price>,
}

impl Prices {
    fn of(&self, meter: Meter) -> Option<&Price> {
        match meter {
            Meter::EmbeddingTokens => self.embedding.as_ref(),
            _ => self.chat.as_ref(),
        }
    }
}

/// What one turn or document used, for one user.
#[derive(Clone, Debug)]
pub struct Bill {
    pub tenant: TenantId,
    pub user: UserId,
    pub assistant: Option<AssistantId>,
    pub turn: Option<TurnId>,
    pub document: Option<DocumentId>,
    /// The chat model.
    pub model: Option<String>,
    /// What embedded.
    pub embedding_model: Option<String>,
    pub prices: Prices,
    /// 0 for what was used; later steps for what became known of it later.
    pub step: i16,
    /// At most one item per meter.
    pub items: Vec<Item>,
}

impl Bill {
    /// Priced entries for the ledger.
    pub(super) fn entries(&self) -> Vec<NewEntry> {
        self.items.iter().map(|item| self.entry(*item)).collect()
    }

    /// The sum; `None` when the chat model has no price.
    pub(super) fn cost(&self) -> Option<i64> {
        self.prices.chat.as_ref()?;
        let costs = self.items.iter().filter_map(|item| self.cost_of(*item));
        Some(costs.fold(0, i64::saturating_add))
    }

    fn cost_of(&self, item: Item) -> Option<i64> {
        self.prices.of(item.meter)?.cost(item.meter, item.quantity)
    }

    fn entry(&self, item: Item) -> NewEntry {
        let cost_nano_usd = self.cost_of(item);
        let price = cost_nano_usd.and_then(|_| self.prices.of(item.meter));
        NewEntry {
            event_id: self.event_id(item.meter),
            kind: match (self.step, item.meter) {
                (0, _) | (_, Meter::StoredBytes) => "usage".into(),
                _ => "adjustment".into(),
            },
            turn_id: self.turn,
            document_id: self.document,
            step: self.step,
            meter: item.meter.as_str().into(),
            quantity: item.quantity,
            provenance: item.provenance.as_str().into(),
            model: match item.meter {
                Meter::EmbeddingTokens => self.embedding_model.clone(),
                _ => self.model.clone(),
            },
            price_version: price.map(|price| price.version.clone()),
            cost_nano_usd,
        }
    }

    /// What the entries are of; its id says in which month's part of the ledger they lie.
    pub(super) fn source(&self) -> Uuid {
        let document = self.document.map(DocumentId::uuid);
        self.turn.map(TurnId::uuid).or(document).unwrap_or_default()
    }

    /// The same consumption always has the same id: the second insert of it is a conflict.
    fn event_id(&self, meter: Meter) -> Uuid {
        let turn = self.turn.map(TurnId::uuid).unwrap_or_default();
        let document = self.document.map(DocumentId::uuid).unwrap_or_default();
        let (tenant, step) = (self.tenant.uuid(), self.step.to_be_bytes());
        id_of(&[
            tenant.as_bytes(),
            turn.as_bytes(),
            document.as_bytes(),
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
