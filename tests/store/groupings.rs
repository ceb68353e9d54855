//! Issues keep their ids when a new version of the grouping comes.

use std::collections::{BTreeMap, BTreeSet};

use error_tracking_operator::store::ingest::{Applied, Batch, Row, ingest_batch};
use uuid::Uuid;

use crate::{Store, applied, row, send};

const ISSUES: &str = "SELECT count(*) FROM {schema}.issues";
const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

/// An event of the first version.
fn old(hash: u8) -> Row {
    row(hash)
}

/// An event of the second version, which the first one knew by `older`.
fn new(hash: u8, older: Option<u8>) -> Row {
    Row { grouping_version: 2, older_grouping: older.map(|older| (1, [older; 32])), ..row(hash) }
}

/// The issue's number by a hash.
fn issue(version: i16, hash: u8) -> String {
    format!(
        "SELECT coalesce((SELECT issue_id & 4294967295 FROM {{schema}}.issue_hashes
         WHERE version = {version} AND hash = decode('{}', 'hex')), 0)",
        format!("{hash:02x}").repeat(32)
    )
}

#[tokio::test]
async fn the_first_new_hash_keeps_the_issue_and_later_ones_open_their_own() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[old(1)]).await;
    send(&ingest, shop, &[old(2)]).await;
    assert_eq!(send(&ingest, shop, &[new(10, Some(1))]).await, applied(1, 0));
    assert_eq!(store.number(shop, &issue(2, 10)).await, 1);
    assert_eq!(store.number(shop, &issue(1, 1)).await, 1, "the old hash stays readable");
    // The error that the first version took for the same.
    send(&ingest, shop, &[new(11, Some(1))]).await;
    assert_eq!(store.number(shop, &issue(2, 11)).await, 3);
    // Known by now, whatever the old hash: nothing is claimed twice.
    send(&ingest, shop, &[new(10, Some(2)), new(10, None)]).await;
    assert_eq!(store.number(shop, &issue(2, 10)).await, 1);
    assert_eq!(store.number(shop, "SELECT events FROM {schema}.issue_counters ORDER BY issue_id LIMIT 1").await, 4);
    send(&ingest, shop, &[new(12, Some(2))]).await;
    assert_eq!(store.number(shop, &issue(2, 12)).await, 2);
    // Nobody knew it.
    send(&ingest, shop, &[new(13, Some(9))]).await;
    assert_eq!(store.number(shop, &issue(2, 13)).await, 4);
    assert_eq!(store.number(shop, ISSUES).await, 4);
    // A pod of the version before goes on.
    send(&ingest, shop, &[old(1)]).await;
    assert_eq!(store.number(shop, ISSUES).await, 4);
}

#[tokio::test]
async fn a_replay_claims_nothing() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let stream = Uuid::new_v4();
    let rows = [new(10, Some(1))];
    let batch = Batch { stream, sequence: 5, rows: &rows, ..Batch::default() };
    assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(1, 0));
    // An old pod has the same error after it.
    send(&ingest, shop, &[old(1)]).await;
    assert_eq!(store.number(shop, ISSUES).await, 2);
    let others = [new(11, Some(1))];
    for sequence in [4, 5] {
        let replayed = Batch { stream, sequence, rows: &others, ..Batch::default() };
        assert_eq!(ingest_batch(&ingest, shop, &replayed).await.unwrap(), Applied::default());
    }
    assert_eq!(store.number(shop, &issue(2, 11)).await, 0);
    assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), Applied::default());
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issue_hashes").await, 2);
}

/// The rule once more, over any sequence of batches.
#[tokio::test]
async fn any_sequence_of_hashes_ends_as_the_rule_says() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut issues: BTreeMap<(i16, u8), i64> = BTreeMap::new();
    let mut claimed: BTreeSet<i64> = BTreeSet::new();
    let mut last = 0;
    for _ in 0..60 {
        let mut rows: Vec<Row> = (0..rand::random::<u8>() % 6)
            .map(|_| match rand::random::<u8>() % 3 {
                0 => old(rand::random::<u8>() % 12),
                _ => new(100 + rand::random::<u8>() % 24, Some(rand::random::<u8>() % 12)),
            })
            .collect();
        rows.sort_by_key(|row| row.event_id);
        for row in &rows {
            let key = (row.grouping_version, row.grouping_hash[0]);
            let older = row.older_grouping.and_then(|(version, hash)| issues.get(&(version, hash[0])).copied());
            if let Some(older) = older.filter(|older| !issues.contains_key(&key) && !claimed.contains(older)) {
                claimed.insert(older);
                issues.insert(key, older);
            }
        }
        for row in &rows {
            let key = (row.grouping_version, row.grouping_hash[0]);
            issues.entry(key).or_insert_with(|| {
                last += 1;
                if key.0 == 2 {
                    claimed.insert(last);
                }
                last
            });
        }
        assert_eq!(send(&ingest, shop, &rows).await, applied(rows.len() as u64, 0));
    }
    for ((version, hash), number) in &issues {
        assert_eq!(store.number(shop, &issue(*version, *hash)).await, *number, "g{version} {hash}");
    }
    assert_eq!(store.number(shop, ISSUES).await, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pods_of_two_versions_at_once_claim_each_issue_once() {
    const OLD: u8 = 30;
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let known: Vec<Row> = (0..OLD).map(old).collect();
    send(&ingest, shop, &known).await;
    let pods = (0..8_u8).map(|pod| {
        let ingest = ingest.clone();
        tokio::spawn(async move {
            let stream = Uuid::new_v4();
            for sequence in 0..12 {
                let mut rows: Vec<Row> = (0..30)
                    .map(|_| match rand::random::<u8>() % OLD {
                        hash if pod < 2 => old(hash),
                        // Two new hashes for each old one.
                        hash => new(100 + hash * 2 + rand::random::<u8>() % 2, Some(hash)),
                    })
                    .collect();
                for row in &mut rows {
                    row.release = Some(format!("shop@{}", rand::random::<u8>() % 9));
                    row.tags = vec![("n".to_owned(), (rand::random::<u8>() % 20).to_string())];
                }
                let batch = Batch { stream, sequence, rows: &rows, ..Batch::default() };
                assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(30, 0));
            }
        })
    });
    for pod in futures::future::join_all(pods).await {
        pod.unwrap();
    }
    let total = 8 * 12 * 30 + i64::from(OLD);
    assert_eq!(store.number(shop, "SELECT sum(events)::bigint FROM {schema}.issue_counters").await, total);
    let shared = "SELECT count(*) FROM {schema}.issue_hashes AS a JOIN {schema}.issue_hashes AS b USING (issue_id)
        WHERE (a.version, b.version) = (1, 2)";
    assert_eq!(store.number(shop, shared).await, i64::from(OLD), "each old issue has one new hash");
    let hashes = "SELECT count(*) FROM {schema}.issue_hashes WHERE version = 2";
    assert_eq!(store.number(shop, ISSUES).await, store.number(shop, hashes).await);
    assert_eq!(store.number(shop, DEADLOCKS).await, 0);
}
