//! A list of prices as it is written: US dollars for a million tokens, as text, so that nothing is lost.

use crate::store::prices::NewPrice;
use crate::store::{Db, DbError};
use crate::types::TenantId;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use thiserror::Error;

/// The list that comes along.
pub const LIST: &str = include_str!("../../deploy/prices.toml");

/// Why a list was not loaded; nothing of it was.
#[derive(Debug, Error)]
pub enum PriceError {
    #[error("the list cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    #[error("{model}: `{field}` is no amount of dollars: \"{amount}\"")]
    NoAmount { model: String, field: &'static str, amount: String },
    /// A version is never changed.
    #[error("{0} is there with another price: give the new one a new date")]
    Changed(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    price: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    from: NaiveDate,
    input: String,
    cached_input: Option<String>,
    output: Option<String>,
    reasoning: Option<String>,
    request: Option<String>,
}

impl Entry {
    fn price(&self, own: bool) -> Result<NewPrice, PriceError> {
        let each = |field: &'static str, amount: &Option<String>| {
            let read = amount.as_deref().map(|amount| {
                nano(amount).ok_or_else(|| PriceError::NoAmount {
                    model: self.model.clone(),
                    field,
                    amount: amount.to_owned(),
                })
            });
            read.transpose()
        };
        let suffix = if own { "/own" } else { "" };
        Ok(NewPrice {
            version: format!("{}@{}{suffix}", self.model, self.from),
            model: self.model.clone(),
            valid_from: self.from.and_time(NaiveTime::MIN).and_utc(),
            input: each("input", &Some(self.input.clone()))?.unwrap_or(0),
            cached_input: each("cached_input", &self.cached_input)?,
            output: each("output", &self.output)?.unwrap_or(0),
            reasoning: each("reasoning", &self.reasoning)?,
            request: each("request", &self.request)?,
        })
    }
}

/// Dollars as nano-dollars, exactly: at most nine decimals.
fn nano(dollars: &str) -> Option<i64> {
    let (whole, part) = dollars.split_once('.').unwrap_or((dollars, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<9}").parse().ok()
}

/// Adds what is new in a list: to the list prices, or as a tenant's own. Returns how many were new.
///
/// # Errors
/// When the list is wrong, or one of its versions is there with another price.
pub async fn load_prices(
    db: &Db,
    text: &str,
    tenant: Option<TenantId>,
) -> Result<usize, PriceError> {
    let list: List = toml::from_str(text)?;
    let mut tx = match tenant {
        Some(tenant) => db.tenant(tenant).await?,
        None => db.owner().await?,
    };
    let mut added = 0;
    for entry in &list.price {
        let price = entry.price(tenant.is_some())?;
        if price.insert(&mut tx, tenant).await.map_err(DbError::from)? {
            added += 1;
        } else if !price.is_there(&mut tx, tenant).await.map_err(DbError::from)? {
            return Err(PriceError::Changed(price.version));
        }
    }
    tx.commit().await?;
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, amount) in [
            ("2.50", Some(2_500_000_000)),
            ("0.0375", Some(37_500_000)),
            ("10", Some(10_000_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("-1", None),
            (".5", None),
            ("1e3", None),
            ("", None),
            ("99999999999", None),
        ] {
            assert_eq!(nano(text), amount, "{text}");
        }
    }

    #[test]
    fn the_list_that_comes_along_is_right() {
        let list: List = toml::from_str(LIST).unwrap();
        let versions: std::collections::BTreeSet<String> =
            list.price.iter().map(|entry| entry.price(false).unwrap().version).collect();
        assert_eq!(versions.len(), list.price.len(), "each once");
        assert!(versions.contains("gpt-4o-mini@2026-01-01"));
    }
}
