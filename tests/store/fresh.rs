//! The roles and rights of a fresh installation, as SQL shows them and as docs/operations.md prints them.

use error_tracking_operator::store::{
    Admin, Connection,
    admin::{DeletionPolicy, PodGrant},
    connection::PoolSize,
};
use jiff::Timestamp;
use sqlx::PgPool;

use crate::{project_identity, support::restartable::Restartable};

const PAGE: &str = include_str!("../../docs/operations.md");

const ROLES: &str = "
SELECT rolname::text AS role,
    CASE WHEN rolcanlogin THEN 'yes' ELSE 'no' END AS login,
    CASE rolconnlimit WHEN -1 THEN 'any' ELSE rolconnlimit::text END AS sessions,
    coalesce(nullif(concat_ws(' ',
        CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
        CASE WHEN rolbypassrls THEN 'BYPASSRLS' END
    ), ''), 'none') AS attributes,
    coalesce((
        SELECT string_agg(m.roleid::regrole::text, ' ') FROM pg_auth_members AS m WHERE m.member = r.oid
    ), 'none') AS member_of
FROM pg_roles AS r WHERE rolname LIKE 'et\\_%' ORDER BY rolname";

const DATABASES: &str = "
SELECT d.datname::text AS database, r.role,
    coalesce(nullif(concat_ws(' ',
        CASE WHEN has_database_privilege(r.role, d.oid, 'CONNECT') THEN 'CONNECT' END,
        CASE WHEN has_database_privilege(r.role, d.oid, 'TEMPORARY') THEN 'TEMPORARY' END,
        CASE WHEN has_database_privilege(r.role, d.oid, 'CREATE') THEN 'CREATE' END
    ), ''), 'none') AS privileges
FROM pg_database AS d,
    (SELECT 'public' UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'et\\_%' AND rolcanlogin) AS r (role)
WHERE d.datallowconn ORDER BY d.datname, r.role";

const OBJECTS: &str = "
SELECT r.rolname::text AS role,
    (SELECT count(*) FROM pg_class AS c WHERE relnamespace = ANY (n.ours) AND relkind IN ('r', 'p', 'v')
        AND has_table_privilege(r.oid, c.oid, 'SELECT'))::text || ' of ' ||
    (SELECT count(*) FROM pg_class AS c WHERE relnamespace = ANY (n.ours) AND relkind IN ('r', 'p', 'v'))::text
        AS tables_read,
    (SELECT count(*) FROM pg_class AS c WHERE relnamespace = ANY (n.ours) AND relkind IN ('r', 'p', 'v')
        AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))::text AS tables_written,
    coalesce((SELECT string_agg(f.proname, ' ' ORDER BY f.proname) FROM pg_proc AS f
        WHERE pronamespace = ANY (n.ours) AND has_function_privilege(r.oid, f.oid, 'EXECUTE')), 'none')
        AS functions_executed
FROM pg_roles AS r,
    (SELECT ARRAY['errortracking'::regnamespace::oid, 'project_1'::regnamespace::oid]) AS n (ours)
WHERE rolname LIKE 'et\\_%' AND rolcanlogin ORDER BY rolname";

/// A table as psql prints it, without alignment.
async fn table(pool: &PgPool, title: &str, query: &'static str, installation: &str) -> String {
    use sqlx::{Column as _, Row as _};
    let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
    let line = |cells: Vec<String>| cells.join("|");
    let head = line(rows[0].columns().iter().map(|column| column.name().to_owned()).collect());
    let body = rows.iter().map(|row| line((0..row.len()).map(|column| row.get::<String, _>(column)).collect()));
    let text = std::iter::once(head).chain(body).collect::<Vec<_>>().join("\n");
    format!("{title}\n{}\n", text.replace(installation, "ID"))
}

#[tokio::test]
async fn the_page_shows_the_roles_and_rights_of_a_fresh_installation() {
    // As in the chart: the operator's login made the server, and has a database of its own there.
    let server = Restartable::start();
    let superuser = server.superuser.pool(PoolSize { min: 0, max: 1 }, "tests");
    sqlx::raw_sql("CREATE DATABASE errortracking").execute(&superuser).await.unwrap();
    superuser.close().await;
    let own = Connection { dbname: "errortracking".into(), ..server.superuser.clone() };
    let pool = own.pool(PoolSize { min: 0, max: 2 }, "tests");
    let admin = Admin::connect(pool.clone(), 1).await.unwrap();
    admin.close_databases().await.unwrap();
    admin.ensure_console_role(&"console".into()).await.unwrap();
    let shop = admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Retain).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    admin.ensure_partitions(shop, Timestamp::now()).await.unwrap();
    assert_eq!(admin.grant_pods(shop, 2, Some(10)).await.unwrap(), PodGrant::Granted);
    admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let id = admin.installation().as_str();
    let shown = [
        table(&pool, "-- \\du", ROLES, id).await,
        table(&pool, "-- has_database_privilege", DATABASES, id).await,
        table(&pool, "-- has_table_privilege, has_function_privilege", OBJECTS, id).await,
    ]
    .join("\n");
    assert!(PAGE.contains(&shown), "docs/operations.md should have\n{shown}");
    pool.close().await;
}
