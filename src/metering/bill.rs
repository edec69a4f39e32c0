//! What was used, and the ledger entries it becomes.

use crate::store::Conn;
use crate::store::ledger::NewEntry;
use crate::store::prices::Price;
use crate::types::{DocumentId, Meter, Provenance, TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::QueryResult;
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

/// What one turn or document used, for one user.
#[derive(Clone, Debug)]
pub struct Bill {
    pub tenant: TenantId,
    pub user: UserId,
    pub turn: Option<TurnId>,
    pub document: Option<DocumentId>,
    /// The chat model; prices belong to it.
    pub model: Option<String>,
    /// What embedded.
    pub embedding_model: Option<String>,
    /// At most one item per meter.
    pub items: Vec<Item>,
}

impl Bill {
    /// Priced entries for the ledger.
    pub(super) async fn entries(
        &self,
        conn: &mut Conn,
        period_start: DateTime<Utc>,
    ) -> QueryResult<Vec<NewEntry>> {
        let price = match &self.model {
            Some(model) => Price::in_force(conn, model).await?,
            None => None,
        };
        Ok(self.items.iter().map(|item| self.entry(*item, price.as_ref(), period_start)).collect())
    }

    fn entry(&self, item: Item, price: Option<&Price>, period_start: DateTime<Utc>) -> NewEntry {
        let per_unit = price.and_then(|price| match item.meter {
            Meter::InputTokens => Some(price.input_nano_usd),
            Meter::OutputTokens => Some(price.output_nano_usd),
            Meter::Requests | Meter::EmbeddingTokens | Meter::Pages => None,
        });
        NewEntry {
            tenant_id: self.tenant,
            event_id: self.event_id(item.meter),
            user_id: self.user,
            turn_id: self.turn,
            document_id: self.document,
            step: 0,
            meter: item.meter.as_str().into(),
            quantity: item.quantity,
            provenance: item.provenance.as_str().into(),
            model: match item.meter {
                Meter::EmbeddingTokens => self.embedding_model.clone(),
                _ => self.model.clone(),
            },
            price_valid_from: per_unit.and(price).map(|price| price.valid_from),
            cost_nano_usd: per_unit.map(|unit| unit.saturating_mul(item.quantity)),
            period_start,
        }
    }

    /// The same consumption always has the same id: the second insert of it is a conflict.
    fn event_id(&self, meter: Meter) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(self.tenant.uuid());
        for id in [self.turn.map(TurnId::uuid), self.document.map(DocumentId::uuid)] {
            hash.update(id.unwrap_or_default());
        }
        hash.update(0_i16.to_be_bytes());
        hash.update(meter.as_str());
        let digest: [u8; 32] = hash.finalize().into();
        let (head, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Uuid::new_v8(*head)
    }
}
