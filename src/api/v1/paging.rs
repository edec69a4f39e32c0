//! Lists: a limit, an opaque cursor, and where the next page begins.

use crate::api::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The query of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// 1 to 100, default 50.
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    /// Null on the last page.
    pub(crate) next_cursor: Option<String>,
}

impl PageQuery {
    /// The limit, within bounds.
    pub(crate) fn limit(&self) -> i64 {
        self.limit.unwrap_or(50).clamp(1, 100)
    }

    /// What the cursor says.
    pub(crate) fn cursor(&self) -> Result<Option<String>, Problem> {
        let Some(cursor) = self.cursor.as_deref().filter(|cursor| !cursor.is_empty()) else {
            return Ok(None);
        };
        let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|b| String::from_utf8(b).ok());
        text.map(Some).ok_or_else(bad_cursor)
    }

    /// A page made of one row more than was asked for, which only says that there is more.
    pub(crate) fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> String,
        show: impl Fn(R) -> T,
    ) -> Page<T> {
        let limit = usize::try_from(self.limit()).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|row| URL_SAFE_NO_PAD.encode(place(row)));
        Page { data: rows.into_iter().map(show).collect(), next_cursor }
    }
}

/// The cursor is not one of ours.
pub(crate) fn bad_cursor() -> Problem {
    Problem::invalid("`cursor` is not one that this list gave out.")
}
