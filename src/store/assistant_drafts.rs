//! Assistants as their editors see them: the draft, which version is published, how often it was changed.

use super::Conn;
use super::assistant_versions::NewVersion;
use super::schema::assistants;
use super::sql::sql;
use crate::types::{AssistantId, Persona, TenantId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

/// An assistant at work or at rest.
#[derive(Clone, Debug, QueryableByName)]
pub struct Draft {
    #[diesel(sql_type = Uuid)]
    pub id: AssistantId,
    #[diesel(sql_type = Text)]
    pub slug: String,
    /// Counts every change.
    #[diesel(sql_type = Integer)]
    pub revision: i32,
    /// What is published; `None`: nothing yet.
    #[diesel(sql_type = Nullable<Integer>)]
    pub version: Option<i32>,
    /// The draft is not what is published.
    #[diesel(sql_type = Bool)]
    pub changed: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub archived_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Jsonb)]
    pub draft: Persona,
}

const SELECT: &str =
    "SELECT a.id, a.slug, a.revision, a.version, v.body IS DISTINCT FROM a.draft AS changed,
       a.archived_at, a.draft
     FROM assistants a LEFT JOIN assistant_versions v
       ON v.tenant_id = a.tenant_id AND v.assistant_id = a.id AND v.number = a.version
     WHERE a.tenant_id = $1";

/// The columns that an assistant has from its persona, in both directions.
const FIELDS: &str =
    "name, description, greeting, instructions, model, temperature, language, collections, tools";

impl Draft {
    /// All of a tenant, archived ones too, oldest first.
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        let text = format!("{SELECT} ORDER BY a.id");
        sql(text).bind::<Uuid, _>(tenant).load(conn).await
    }

    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: AssistantId,
    ) -> QueryResult<Option<Self>> {
        let query = sql(format!("{SELECT} AND a.id = $2"));
        query.bind::<Uuid, _>(tenant).bind::<Uuid, _>(id).get_result(conn).await.optional()
    }

    /// The same, locked: nobody else changes it, and no conversation begins with it meanwhile.
    pub async fn lock(
        conn: &mut Conn,
        tenant: TenantId,
        id: AssistantId,
    ) -> QueryResult<Option<Self>> {
        let query = sql(format!("{SELECT} AND a.id = $2 FOR UPDATE OF a"));
        query.bind::<Uuid, _>(tenant).bind::<Uuid, _>(id).get_result(conn).await.optional()
    }

    /// Writes address and draft as they are here.
    pub async fn save(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
        use assistants::{draft, revision, slug};
        diesel::update(assistants::table.find((tenant, self.id)))
            .set((slug.eq(&self.slug), draft.eq(&self.draft), revision.eq(revision + 1)))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// `version` is what is asked from now on, also when it had been archived.
    pub async fn publish(&self, conn: &mut Conn, version: &NewVersion<'_>) -> QueryResult<()> {
        version.insert(conn).await?;
        sql(format!(
            "UPDATE assistants a SET version = $3, archived_at = NULL, revision = revision + 1,
               ({FIELDS}) = (SELECT {FIELDS} FROM jsonb_populate_record(a, $4))
             WHERE tenant_id = $1 AND id = $2"
        ))
        .bind::<Uuid, _>(version.tenant_id)
        .bind::<Uuid, _>(self.id)
        .bind::<Integer, _>(version.number)
        .bind::<Jsonb, _>(version.body)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// New conversations do not begin with it any more.
    pub async fn archive(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
        use assistants::{archived_at, revision};
        diesel::update(assistants::table.find((tenant, self.id)))
            .set((archived_at.eq(diesel::dsl::now), revision.eq(revision + 1)))
            .execute(conn)
            .await?;
        Ok(())
    }

    pub async fn delete(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
        diesel::delete(assistants::table.find((tenant, self.id))).execute(conn).await?;
        Ok(())
    }

    /// Whether conversations or bills name it.
    pub async fn is_used(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<bool> {
        #[derive(QueryableByName)]
        struct Used {
            #[diesel(sql_type = Bool)]
            used: bool,
        }
        let used: Used = sql(
            "SELECT EXISTS (SELECT FROM conversations WHERE tenant_id = $1 AND assistant_id = $2)
                 OR EXISTS (SELECT FROM usage_daily WHERE tenant_id = $1 AND assistant_id = $2) AS used",
        )
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(self.id)
        .get_result(conn)
        .await?;
        Ok(used.used)
    }
}

/// Makes an assistant that is not published yet, or one that is.
pub async fn create(
    conn: &mut Conn,
    tenant: TenantId,
    id: AssistantId,
    slug: &str,
    draft: &Persona,
) -> QueryResult<()> {
    insert(conn, tenant, id, slug, draft, None).await
}

/// The first assistant of a new tenant: published as version 1, by nobody. Needs a system transaction.
pub async fn create_published(
    conn: &mut Conn,
    tenant: TenantId,
    slug: &str,
    body: &Persona,
) -> QueryResult<()> {
    let id = AssistantId::new();
    insert(conn, tenant, id, slug, body, Some(1)).await?;
    let version = NewVersion {
        tenant_id: tenant,
        assistant_id: id,
        number: 1,
        body,
        user_id: None,
        note: "",
    };
    version.insert(conn).await
}

async fn insert(
    conn: &mut Conn,
    tenant: TenantId,
    id: AssistantId,
    slug: &str,
    draft: &Persona,
    version: Option<i32>,
) -> QueryResult<()> {
    sql(format!(
        "INSERT INTO assistants (tenant_id, id, slug, draft, version, {FIELDS})
         SELECT $1, $2, $3, $4, $5, {FIELDS} FROM jsonb_populate_record(NULL::assistants, $4)"
    ))
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(id)
    .bind::<Text, _>(slug)
    .bind::<Jsonb, _>(draft)
    .bind::<Nullable<Integer>, _>(version)
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the assistants that can be asked, and says how many there are: two of them are not archived
/// at once by two people who each left the other one.
pub async fn lock_published(conn: &mut Conn, tenant: TenantId) -> QueryResult<usize> {
    let ids: Vec<AssistantId> = assistants::table
        .filter(assistants::tenant_id.eq(tenant))
        .filter(assistants::version.is_not_null().and(assistants::archived_at.is_null()))
        .order(assistants::id)
        .select(assistants::id)
        .for_update()
        .load(conn)
        .await?;
    Ok(ids.len())
}
