//! Statements that are prepared once for each connection.
//!
//! diesel prepares its own `sql_query`, `INSERT` and `UPDATE` anew each time: the database is asked twice, once to
//! prepare and once to run, and parses the same text again.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, BoxedSqlQuery, Query, QueryFragment, QueryId, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};
use diesel::{QueryResult, sql_query};

/// A statement with the values that are bound to `$1`, `$2` and so on. Its connection keeps it by its text: that
/// must not grow with what people send.
pub(super) struct Sql<'a>(BoxedSqlQuery<'a, Pg, SqlQuery>);

/// A statement without values.
pub(super) fn sql<'a>(text: impl Into<String>) -> Sql<'a> {
    Sql(sql_query(text).into_boxed())
}

impl<'a> Sql<'a> {
    /// Binds the next value.
    pub(super) fn bind<T, V>(self, value: V) -> Self
    where
        Pg: HasSqlType<T>,
        T: Send + 'a,
        V: ToSql<T, Pg> + Send + 'a,
    {
        Self(self.0.bind::<T, V>(value))
    }
}

impl QueryFragment<Pg> for Sql<'_> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// Known by its text.
impl QueryId for Sql<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql<'_> {
    type SqlType = Untyped;
}

/// A statement of diesel's that is prepared once. Its text must not depend on what people send: with the values of
/// one row, or of a few, it does not.
pub(super) struct Kept<Q>(pub(super) Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// Known by its text.
impl<Q> QueryId for Kept<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}
