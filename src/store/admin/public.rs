//! What every login of the server may do in our databases.

use sqlx::AssertSqlSafe;

use super::Admin;
use crate::store::StoreError;

impl Admin {
    /// Takes away from PUBLIC that it may connect to databases that our login owns, and make temporary tables there;
    /// which. By default the login of one tenant could enter all of them, and leave large objects there. Logins of ours
    /// were granted what they need. For a server that nobody else uses.
    pub async fn close_databases(&self) -> Result<Vec<String>, StoreError> {
        let mut transaction = self.begin().await?;
        let open: Vec<(String, String)> = sqlx::query_as(
            "SELECT d.datname::text, quote_ident(d.datname) FROM pg_database AS d
             WHERE d.datallowconn AND pg_has_role(d.datdba, 'USAGE') AND EXISTS (
                SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
                WHERE a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'TEMPORARY')
             )
             ORDER BY d.datname",
        )
        .fetch_all(&mut *transaction)
        .await?;
        for (_, database) in &open {
            let revoke = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC");
            sqlx::raw_sql(AssertSqlSafe(revoke)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(open.into_iter().map(|(name, _)| name).collect())
    }
}
