//! What names stand for: the database's catalogue, read every few seconds and not for every turn.

use super::book::{self, ALIASES, DEFAULT, Own, Shelf};
use super::breaker::Guarded;
use super::breakers::{BreakerReport, Breakers};
use super::providers::{Line, Providers, milliseconds};
use super::route::{AfterCut, Candidate, Capabilities, Route};
use super::vault::Vault;
use crate::cluster::Cluster;
use crate::config::ModelSettings;
use crate::net::Clients;
use crate::store::models::Model;
use crate::store::{Conn, Db, DbError};
use crate::types::{Secret, TenantId};
use dashmap::DashMap;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

const FRESH: Duration = Duration::from_secs(5);
const KEPT: Duration = Duration::from_secs(600);

/// Why a name stands for nothing.
#[derive(Debug, Error)]
pub enum RouteError {
    #[error("there is no model or route '{0}'")]
    Unknown(String),
    #[error("no model of '{0}' is allowed here")]
    NotAllowed(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A model or a route that a tenant may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// `None`: a route.
    pub provider: Option<String>,
}

/// The server's part and a tenant's.
type Pages = (Arc<Shelf>, Arc<Own>);

/// Looks names up. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue(Arc<Inner>);

struct Inner {
    db: Db,
    providers: Providers,
    vault: Vault,
    breakers: Breakers,
    shelf: Mutex<Option<(Instant, Arc<Shelf>)>>,
    own: DashMap<TenantId, (Instant, Arc<Own>)>,
}

impl Catalogue {
    /// Nothing is read yet. Tenants' keys are sealed under `secret`.
    #[must_use]
    pub fn new(db: Db, clients: Clients, settings: ModelSettings, secret: &Secret) -> Self {
        Self(Arc::new(Inner {
            db,
            providers: Providers::new(clients, settings),
            vault: Vault::new(secret),
            breakers: Breakers::default(),
            shelf: Mutex::default(),
            own: DashMap::new(),
        }))
    }

    /// What providers say of keys is shared with the other nodes from now on.
    pub fn join(&self, cluster: &Cluster) {
        self.0.breakers.join(cluster);
    }

    /// What answers for assistants that name nothing: the route of that name, or while there is none, the model
    /// of the settings. Within a transaction of the tenant.
    ///
    /// # Errors
    /// When the database cannot be asked and nothing is remembered.
    pub async fn default_in(&self, conn: &mut Conn, tenant: TenantId) -> Result<String, DbError> {
        let (shelf, own) = self.read_in(conn, tenant).await?;
        let routed = own.routes.contains_key(DEFAULT) || shelf.routes.contains_key(DEFAULT);
        Ok(if routed { DEFAULT.to_owned() } else { self.default_model() })
    }

    fn default_model(&self) -> String {
        self.0.providers.default_model().1
    }

    /// What `name` (a route's, a model's id, or `None` for `default`) stands for at a tenant. A model that
    /// nobody set up is left out while there is another.
    ///
    /// # Errors
    /// When there is no such model or route, when this tenant may use none of it, or when the database cannot
    /// be asked and nothing is remembered.
    pub async fn resolve(
        &self,
        tenant: TenantId,
        name: Option<&str>,
    ) -> Result<Arc<Route>, RouteError> {
        let pages = self.read(tenant).await?;
        self.route(&pages, tenant, name.unwrap_or(DEFAULT))
    }

    /// The same within a transaction of the tenant that is open already: whoever holds a connection must not
    /// wait for another one.
    ///
    /// # Errors
    /// As those of [`Self::resolve`].
    pub async fn resolve_in(
        &self,
        conn: &mut Conn,
        tenant: TenantId,
        name: Option<&str>,
    ) -> Result<Arc<Route>, RouteError> {
        let pages = self.read_in(conn, tenant).await?;
        self.route(&pages, tenant, name.unwrap_or(DEFAULT))
    }

    fn route(
        &self,
        (shelf, own): &Pages,
        tenant: TenantId,
        name: &str,
    ) -> Result<Arc<Route>, RouteError> {
        let (models, after_cut) = self.models(shelf, own, name)?;
        let allowed = models.iter().filter(|model| own.allows(&model.id));
        let lines: Vec<(Option<String>, Candidate)> =
            allowed.map(|model| self.candidate(shelf, own, tenant, model)).collect();
        if lines.is_empty() {
            return Err(RouteError::NotAllowed(name.to_owned()));
        }
        let usable = lines.iter().any(|(unusable, _)| unusable.is_none());
        let kept = lines.into_iter().filter(|(unusable, _)| !usable || unusable.is_none());
        let candidates = kept.map(|(_, candidate)| Arc::new(candidate)).collect();
        Ok(Arc::new(Route { name: name.to_owned(), candidates, after_cut }))
    }

    /// What a tenant may name, routes first.
    ///
    /// # Errors
    /// When the database cannot be asked and nothing is remembered.
    pub async fn list(&self, tenant: TenantId) -> Result<Vec<Listed>, DbError> {
        let (shelf, own) = self.read(tenant).await?;
        let mut routes: Vec<&str> = [DEFAULT].into_iter().chain(ALIASES).collect();
        routes.extend(shelf.routes.keys().chain(own.routes.keys()).map(String::as_str));
        routes.sort_unstable();
        routes.dedup();
        let reachable = |name: &&str| {
            let found = self.models(&shelf, &own, name);
            found.is_ok_and(|(models, _)| models.iter().any(|model| own.allows(&model.id)))
        };
        let routes = routes.into_iter().filter(reachable);
        let mut listed: Vec<Listed> =
            routes.map(|name| Listed { name: name.to_owned(), provider: None }).collect();
        let mut models: Vec<Model> = shelf.models.values().cloned().collect();
        if shelf.empty {
            models.push(self.unlisted(&self.default_model()));
        }
        models.retain(|model| own.allows(&model.id));
        models.sort_by(|a, b| a.id.cmp(&b.id));
        listed.extend(
            models
                .into_iter()
                .map(|model| Listed { name: model.id, provider: Some(model.provider) }),
        );
        Ok(listed)
    }

    /// A tenant's key as it is kept; `None` when it cannot be one.
    #[must_use]
    pub fn seal(&self, tenant: TenantId, provider: &str, key: &Secret) -> Option<Vec<u8>> {
        self.0.vault.seal(tenant, provider, key)
    }

    /// How the models that were asked lately stand, on this node.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerReport> {
        self.0.breakers.report()
    }

    /// Something was changed: this node reads it at once, others within seconds.
    pub fn changed(&self) {
        *self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.own.clear();
    }

    /// Forgets what is old.
    pub fn sweep(&self) {
        self.0.own.retain(|_, (at, _)| at.elapsed() < KEPT);
        self.0.breakers.sweep();
    }

    /// The models of a route, of a model's own name, or of the settings.
    fn models(
        &self,
        shelf: &Shelf,
        own: &Own,
        name: &str,
    ) -> Result<(Vec<Model>, AfterCut), RouteError> {
        let alias = ALIASES.contains(&name).then_some(DEFAULT);
        for name in [Some(name), alias].into_iter().flatten() {
            if let Some(row) = own.routes.get(name).or_else(|| shelf.routes.get(name)) {
                let order = book::order(row).into_iter();
                let models: Vec<Model> =
                    order.filter_map(|id| shelf.models.get(id)).cloned().collect();
                return match models.is_empty() {
                    true => Err(RouteError::Unknown(name.to_owned())),
                    false => Ok((models, book::after_cut(row))),
                };
            }
        }
        let usual = self.default_model();
        let wanted = if name == DEFAULT || alias.is_some() { &usual } else { name };
        match shelf.models.get(wanted) {
            Some(model) => Ok((vec![model.clone()], AfterCut::Continue)),
            None if shelf.empty || wanted == usual => {
                Ok((vec![self.unlisted(wanted)], AfterCut::Continue))
            }
            None => Err(RouteError::Unknown(name.to_owned())),
        }
    }

    /// A model that nobody described: its provider will say what it cannot do.
    fn unlisted(&self, name: &str) -> Model {
        Model {
            id: name.to_owned(),
            provider: self.0.providers.default_model().0.to_owned(),
            name: name.to_owned(),
            context_window: 128_000,
            max_output: i32::MAX,
            tools: Capabilities::ALL.tools,
            images: Capabilities::ALL.images,
            json_schema: Capabilities::ALL.json_schema,
            reasoning: Capabilities::ALL.reasoning,
            enabled: true,
            connect_ms: 20_000,
            first_token_ms: 30_000,
            idle_ms: 20_000,
            total_ms: 300_000,
        }
    }

    /// With why it cannot be asked, if it cannot.
    fn candidate(
        &self,
        shelf: &Shelf,
        own: &Own,
        tenant: TenantId,
        model: &Model,
    ) -> (Option<String>, Candidate) {
        let sealed = own.keys.get(&model.provider);
        let key = sealed.map(|key| {
            let opened = self.0.vault.open(tenant, &model.provider, &key.sealed);
            opened
                .ok_or_else(|| "the tenant's key cannot be opened: DOCENT_SECRET is another".into())
        });
        let line = match shelf.providers.get(&model.provider) {
            Some(provider) => self.0.providers.line(provider, model, key),
            None => Line::none("its provider is not in the catalogue"),
        };
        let breaker = self.0.breakers.of(&Guarded {
            provider: model.provider.clone(),
            model: model.name.clone(),
            key: fingerprint(line.key.as_ref()),
            tenant: sealed.map(|_| tenant),
        });
        let tokens = |n: i32| u32::try_from(n).unwrap_or(0);
        let candidate = Candidate {
            id: model.id.clone(),
            provider: model.provider.clone(),
            name: model.name.clone(),
            model: line.model,
            context_window: tokens(model.context_window),
            max_output: tokens(model.max_output),
            capabilities: Capabilities {
                tools: model.tools,
                images: model.images,
                json_schema: model.json_schema,
                reasoning: model.reasoning,
            },
            total: milliseconds(model.total_ms),
            breaker,
        };
        (line.unusable, candidate)
    }

    /// What is remembered of both parts, and whether that is fresh enough.
    fn remembered(&self, tenant: TenantId) -> (Option<Pages>, bool) {
        let shelf = self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = self.0.own.get(&tenant).map(|entry| entry.value().clone());
        let (Some((at, shelf)), Some((since, own))) = (shelf, own) else { return (None, false) };
        (Some((shelf, own)), at.elapsed() < FRESH && since.elapsed() < FRESH)
    }

    async fn read(&self, tenant: TenantId) -> Result<Pages, DbError> {
        match self.remembered(tenant) {
            (Some(pages), true) => Ok(pages),
            (old, _) => {
                let read = async {
                    let mut tx = self.0.db.tenant(tenant).await?;
                    let pages = self.load(&mut tx, tenant).await?;
                    tx.commit().await?;
                    Ok(pages)
                };
                // Better an old catalogue than none.
                read.await.or_else(|error| old.ok_or(error))
            }
        }
    }

    async fn read_in(&self, conn: &mut Conn, tenant: TenantId) -> Result<Pages, DbError> {
        match self.remembered(tenant) {
            (Some(pages), true) => Ok(pages),
            _ => self.load(conn, tenant).await,
        }
    }

    async fn load(&self, conn: &mut Conn, tenant: TenantId) -> Result<Pages, DbError> {
        let inner = &*self.0;
        let now = Instant::now();
        let shelf = inner.shelf.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shelf = match shelf {
            Some((at, shelf)) if at.elapsed() < FRESH => shelf,
            _ => {
                let shelf = Arc::new(Shelf::load(conn).await?);
                let kept = Some((now, Arc::clone(&shelf)));
                *inner.shelf.lock().unwrap_or_else(PoisonError::into_inner) = kept;
                shelf
            }
        };
        let own = Arc::new(Own::load(conn, tenant).await?);
        inner.own.insert(tenant, (now, Arc::clone(&own)));
        Ok((shelf, own))
    }
}

/// Another key is another breaker; the key itself stays where it is.
fn fingerprint(key: Option<&Secret>) -> [u8; 8] {
    let digest = Sha256::digest(key.map_or("", Secret::expose));
    digest.first_chunk().copied().unwrap_or_default()
}
