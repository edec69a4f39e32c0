//! What the catalogue says, as it was read: the server's part, and a tenant's.

use super::route::AfterCut;
use crate::store::models::Model;
use crate::store::provider_keys::ProviderKey;
use crate::store::providers::Provider;
use crate::store::routes::RouteRow;
use crate::store::{Conn, DbError, allowances};
use crate::types::TenantId;
use std::collections::{HashMap, HashSet};

/// The route of assistants that name none.
pub(super) const DEFAULT: &str = "default";
/// Routes that are there without being made: they mean `default`.
pub(super) const ALIASES: [&str; 2] = ["fast", "smart"];

/// The same for all tenants.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) providers: HashMap<String, Provider>,
    /// Those that are enabled.
    pub(super) models: HashMap<String, Model>,
    pub(super) routes: HashMap<String, RouteRow>,
    /// Nobody has described a model: any name is passed on, as the settings say.
    pub(super) empty: bool,
}

/// A tenant's own.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) routes: HashMap<String, RouteRow>,
    /// By provider.
    pub(super) keys: HashMap<String, ProviderKey>,
    /// `None`: all.
    pub(super) allowed: Option<HashSet<String>>,
}

impl Shelf {
    pub(super) async fn load(conn: &mut Conn) -> Result<Self, DbError> {
        let providers = Provider::list(conn).await?;
        let models = Model::list(conn).await?;
        let routes = RouteRow::list(conn, None).await?;
        let empty = models.is_empty();
        let models = models.into_iter().filter(|model| model.enabled);
        Ok(Self {
            providers: by(providers, |provider| provider.name.clone()),
            models: by(models, |model| model.id.clone()),
            routes: by(routes, |route| route.name.clone()),
            empty,
        })
    }
}

impl Own {
    pub(super) async fn load(conn: &mut Conn, tenant: TenantId) -> Result<Self, DbError> {
        let routes = RouteRow::list(conn, Some(tenant)).await?;
        let keys = ProviderKey::list(conn, tenant).await?;
        let allowed = allowances::of_tenant(conn, tenant).await?;
        Ok(Self {
            routes: by(routes, |route| route.name.clone()),
            keys: by(keys, |key| key.provider.clone()),
            allowed: allowed.map(|models| models.into_iter().collect()),
        })
    }

    pub(super) fn allows(&self, model: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(model))
    }
}

fn by<T>(rows: impl IntoIterator<Item = T>, key: impl Fn(&T) -> String) -> HashMap<String, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

/// What a route's row says about a cut.
pub(super) fn after_cut(row: &RouteRow) -> AfterCut {
    match row.after_cut.as_str() {
        "end" => AfterCut::End,
        _ => AfterCut::Continue,
    }
}

/// The models of a row in the order in which they are asked: as written, or drawn by weight. Each draws a
/// waiting time that is shorter the heavier it is: whichever of them can answer, their chances are as their
/// weights.
pub(super) fn order(row: &RouteRow) -> Vec<&str> {
    use rand::RngExt as _;
    let Some(weights) = &row.weights else {
        return row.models.iter().map(String::as_str).collect();
    };
    let mut drawn: Vec<(f64, &str)> = row
        .models
        .iter()
        .zip(weights)
        .map(|(model, weight)| {
            let chance: f64 = rand::rng().random_range(f64::MIN_POSITIVE..1.0);
            (-chance.ln() / f64::from(*weight), model.as_str())
        })
        .collect();
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
    drawn.into_iter().map(|(_, model)| model).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(weights: Option<Vec<i32>>) -> RouteRow {
        let models = ["a", "b", "c"].map(String::from).to_vec();
        RouteRow { name: "r".into(), models, weights, after_cut: "continue".into() }
    }

    #[test]
    fn an_order_is_kept_and_weights_are_drawn() {
        assert_eq!(order(&row(None)), ["a", "b", "c"]);
        let row = row(Some(vec![6, 3, 1]));
        let mut firsts = HashMap::new();
        // `b` is down: of the others, `a` has six chances to one.
        for _ in 0..7000 {
            let order = order(&row);
            assert_eq!(order.len(), 3);
            let first = order.into_iter().find(|model| *model != "b").unwrap();
            *firsts.entry(first.to_owned()).or_insert(0) += 1;
        }
        // 6000 expected; ten standard deviations are 290.
        assert!((5700..6300).contains(&firsts["a"]), "{firsts:?}");
    }
}
