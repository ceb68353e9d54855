//! jiff's timestamps as Postgres' `timestamptz`: sqlx knows chrono and time, not jiff.

use jiff::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};

/// 2000-01-01T00:00:00Z, the zero of Postgres' binary format, in microseconds of Unix time.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A point in time as a query's argument or column; kept to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamptz(pub Timestamp);

impl From<Timestamp> for Timestamptz {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl From<Timestamptz> for Timestamp {
    fn from(timestamptz: Timestamptz) -> Self {
        timestamptz.0
    }
}

impl Type<Postgres> for Timestamptz {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl PgHasArrayType for Timestamptz {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_timestamptz")
    }
}

impl Encode<'_, Postgres> for Timestamptz {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let microseconds = self.0.as_microsecond() - POSTGRES_EPOCH;
        buffer.extend_from_slice(&microseconds.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Timestamptz {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let microseconds = i64::from_be_bytes(value.as_bytes()?.try_into()?);
                let unix = microseconds.checked_add(POSTGRES_EPOCH).ok_or("infinity is no point in time")?;
                Ok(Self(Timestamp::from_microsecond(unix)?))
            }
            PgValueFormat::Text => Ok(Self(value.as_str()?.parse()?)),
        }
    }
}
