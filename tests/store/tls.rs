//! Links to a real Postgres that answers over TLS alone, with a certificate of a private CA.

use std::{collections::BTreeMap, time::Duration};

use error_tracking_operator::store::{
    Admin, Connection, Mount, MountedPool, StoreError,
    admin::DeletionPolicy,
    connection::PoolSize,
    ingest::find_key,
    tls::{SslMode, Tls},
};

use crate::{
    project_identity, public_key,
    support::{authority::Authority, restartable::Restartable},
};

const POOL: PoolSize = PoolSize { min: 0, max: 2 };

#[tokio::test]
async fn a_private_ca_is_verified_by_who_is_told_of_it() {
    let (authority, other) = (Authority::create(), Authority::create());
    let server = Restartable::start_secured(&authority);
    let (ours, foreign) = (Some(authority.certificate()), Some(other.certificate()));
    for (host, given, authority, connects) in [
        ("localhost", None, &None, true),
        ("localhost", Some(SslMode::Disable), &None, false),
        ("localhost", None, &ours, true),
        ("localhost", Some(SslMode::VerifyFull), &ours, true),
        ("localhost", Some(SslMode::VerifyFull), &None, false),
        ("localhost", None, &foreign, false),
        ("localhost", Some(SslMode::Require), &foreign, false),
        ("localhost", Some(SslMode::Require), &None, true),
        // The certificate does not name it.
        ("127.0.0.1", Some(SslMode::VerifyFull), &ours, false),
        ("127.0.0.1", Some(SslMode::VerifyCa), &ours, true),
    ] {
        let tls = Tls { given, authority: authority.clone() };
        let connection = Connection { host: host.into(), tls, ..server.superuser.clone() };
        let probed = connection.probe().await;
        assert_eq!(probed.is_ok(), connects, "{host} {given:?}: {probed:?}");
    }
}

#[tokio::test]
async fn what_the_operator_verifies_the_pods_verify_too() {
    let (authority, other) = (Authority::create(), Authority::create());
    let server = Restartable::start_secured(&authority);
    let tls = Tls { given: Some(SslMode::VerifyFull), authority: Some(authority.certificate()) };
    let operator = Connection { host: "localhost".into(), tls, ..server.superuser.clone() };
    let admin = Admin::connect(operator.pool(POOL, "tests"), 1).await.unwrap();
    assert_eq!(admin.server().tls.as_deref(), Some("TLSv1.3"));
    let link = operator.tls.describe("db.example", admin.server().tls.as_deref());
    assert!(!link.exposed && link.sentence.contains("(TLSv1.3), and who answers is verified"), "{link:?}");

    let shop = admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Retain).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    let role = admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let ingest = operator.with_login(&role, "secret".into());

    let folder = std::env::temp_dir().join(format!("tls-secret-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let mount = |values: &BTreeMap<String, String>| {
        for (key, value) in values.iter().filter(|(key, _)| *key != "uri") {
            std::fs::write(folder.join(key), value).unwrap();
        }
    };
    mount(&ingest.to_map());
    let mounted = MountedPool::open(Mount::Directory(folder.clone()), POOL, "tests").unwrap();
    let asked = async || {
        mounted.reload().await;
        find_key(&mounted.current(), shop, &public_key()).await
    };
    assert!(!asked().await.unwrap());
    let (version,): (String,) = sqlx::query_as("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(&mounted.current())
        .await
        .unwrap();
    assert_eq!(version, "TLSv1.3");
    // A CA that is replaced in the Secret is the one that counts, without a restart.
    let tls = Tls { authority: Some(other.certificate()), ..operator.tls.clone() };
    mount(&Connection { tls, ..ingest.clone() }.to_map());
    let refused = asked().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    mount(&ingest.to_map());
    assert!(!asked().await.unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    tokio::time::timeout(Duration::from_secs(5), mounted.close()).await.unwrap();
}
