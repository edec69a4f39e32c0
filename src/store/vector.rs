//! pgvector's `halfvec` on the wire: u16 dimensions, u16 unused, then big-endian f16 values.
//! Written here because the pgvector crate's diesel feature would link libpq.

use super::schema::sql_types::Halfvec;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use half::f16;
use std::io::Write;

/// An embedding in half precision.
#[derive(Clone, Debug, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Halfvec)]
pub struct HalfVec(Vec<f16>);

impl HalfVec {
    /// Rounds each value to the nearest half.
    #[must_use]
    pub fn new(values: &[f32]) -> Self {
        Self(values.iter().copied().map(f16::from_f32).collect())
    }

    /// How many values.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }
}

impl ToSql<Halfvec, Pg> for HalfVec {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let dimensions = u16::try_from(self.0.len())?;
        out.write_all(&dimensions.to_be_bytes())?;
        out.write_all(&[0, 0])?;
        for value in &self.0 {
            out.write_all(&value.to_be_bytes())?;
        }
        Ok(IsNull::No)
    }
}

impl FromSql<Halfvec, Pg> for HalfVec {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (header, body) = value.as_bytes().split_at_checked(4).ok_or("halfvec is too short")?;
        let values: Vec<f16> =
            body.as_chunks::<2>().0.iter().copied().map(f16::from_be_bytes).collect();
        let [high, low, ..] = header else { return Err("halfvec has no header".into()) };
        if usize::from(u16::from_be_bytes([*high, *low])) != values.len() {
            return Err("halfvec has another length than it says".into());
        }
        Ok(Self(values))
    }
}
