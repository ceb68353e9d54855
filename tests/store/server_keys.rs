//! The ledger of keys that another server keeps.

use error_tracking_operator::{
    rotation::State,
    settings::RateLimit,
    store::admin::{Answer, Begun, Place, ServerKeyRow},
};
use jiff::Timestamp;

use crate::{Store, key_identity, public_key};

fn place() -> Place {
    Place { place: "sentry https://sentry.example acme/shop".into(), project_uid: "p1".into() }
}

fn answer(id: &str) -> Answer {
    Answer {
        server_id: id.into(),
        public_key: public_key(),
        dsn: format!("https://fake@sentry.example/{id}").into(),
        secret: None,
        accepted: true,
        limit: None,
        limit_refused: false,
    }
}

async fn keys(store: &Store, uid: &str) -> Vec<ServerKeyRow> {
    store.admin.server_keys(&place().place, uid).await.unwrap().0
}

async fn execute(store: &Store, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&store.pool).await.unwrap();
}

async fn states(store: &Store) -> Vec<State> {
    keys(store, "k1").await.iter().map(|key| key.state).collect()
}

#[tokio::test]
async fn a_key_in_the_ledger_goes_through_its_life_and_each_change_can_be_repeated() {
    let store = Store::create().await;
    let (admin, owner, place) = (&store.admin, key_identity("shop", "k1"), place());
    let (public, other) = (public_key(), public_key());
    let first = admin.mint_server_key(&place, &owner, 1, &public, None).await.unwrap();
    let again = admin.mint_server_key(&place, &owner, 1, &other, None).await.unwrap();
    assert_eq!((first.key_id, &first.public_key), (again.key_id, &public), "one key for an ordinal");
    assert_eq!((first.asked_at, first.server_id), (None, None), "nobody was asked for it");
    admin.record_asked(first.key_id).await.unwrap();
    admin.record_not_asked(first.key_id).await.unwrap();
    assert_eq!(keys(&store, "k1").await[0].asked_at, None, "it was refused, and is nowhere");
    admin.record_asked(first.key_id).await.unwrap();
    let told = Answer { public_key: public.clone(), ..answer("1") };
    admin.record_answer(first.key_id, &told).await.unwrap();
    let limit = Some(RateLimit { events: 5, window_seconds: 60 });
    admin.ask_server_keys("k1", None, Some(limit)).await.unwrap();
    admin.ask_server_keys("k1", Some(false), None).await.unwrap();

    let next = admin.succeed_server_key(&place, first.key_id, 2, &public_key(), None).await.unwrap().unwrap();
    let again = admin.succeed_server_key(&place, first.key_id, 2, &public_key(), None).await.unwrap().unwrap();
    assert_eq!(next.key_id, again.key_id);
    assert_eq!((next.state, next.enabled, next.rate_limit), (State::Minted, false, limit), "what was asked for holds");
    let at = Timestamp::from_second(1_790_000_000).unwrap();
    for _ in 0..2 {
        admin.publish_server_key(next.key_id, None).await.unwrap();
        assert_eq!(keys(&store, "k1").await[1].published_at, None);
        admin.publish_server_key(next.key_id, Some(at)).await.unwrap();
        assert_eq!(states(&store).await, [State::Overlap, State::Published]);
    }
    assert_eq!(keys(&store, "k1").await[1].published_at, Some(at));
    admin.record_server_key_use(first.key_id, Some(at)).await.unwrap();
    admin.record_server_key_use(first.key_id, None).await.unwrap();
    assert_eq!(keys(&store, "k1").await[0].last_used_at, Some(at), "what is known stays known");

    assert!(admin.end_server_key("k1", first.key_id, false).await.unwrap());
    assert!(!admin.end_server_key("k1", first.key_id, false).await.unwrap(), "it has ended");
    assert!(!admin.end_server_key("k2", next.key_id, true).await.unwrap(), "it is not theirs");
    assert_eq!(states(&store).await, [State::Retired, State::Published]);
    assert!(admin.restore_server_key("k1", first.key_id, 90).await.unwrap());
    assert!(!admin.restore_server_key("k1", first.key_id, 90).await.unwrap());
    let back = &keys(&store, "k1").await[0];
    assert_eq!((back.state, back.restored, back.ended_at), (State::Overlap, true, None));
    admin.end_server_key("k1", first.key_id, false).await.unwrap();
    admin.end_server_key("k1", first.key_id, true).await.unwrap();
    assert!(!admin.restore_server_key("k1", first.key_id, 90).await.unwrap(), "for good");

    admin.withdraw_server_keys("k1").await.unwrap();
    assert_eq!(states(&store).await, [State::Revoked, State::Overlap]);
    assert_eq!(admin.end_server_keys_of("p1").await.unwrap(), 1, "those of a project go with it");
    assert_eq!(admin.end_server_keys_of("k1").await.unwrap(), 0);
    let owed = admin.ended_server_keys(&place.place).await.unwrap();
    assert_eq!(owed.iter().map(|key| key.key_id).collect::<Vec<_>>(), [first.key_id], "the other was never asked for");
    admin.record_gone(first.key_id, false).await.unwrap();
    assert!(admin.ended_server_keys(&place.place).await.unwrap().is_empty());
}

#[tokio::test]
async fn keys_of_a_lost_object_are_taken_over_and_those_of_others_are_not() {
    let store = Store::create().await;
    let (admin, place) = (&store.admin, place());
    let (lost, again, other) = (key_identity("shop", "k1"), key_identity("shop", "k2"), key_identity("blog", "k3"));
    let public = public_key();
    let key = admin.mint_server_key(&place, &lost, 1, &public, None).await.unwrap();
    let told = Answer { public_key: public.clone(), ..answer("1") };
    assert!(admin.adopt_server_key(&place, &other, 1, &told).await.unwrap().is_none(), "it is another object's");
    assert!(admin.take_server_keys_over(&place, &other).await.unwrap().is_empty());
    let taken = admin.take_server_keys_over(&place, &again).await.unwrap();
    assert_eq!(taken.iter().map(|key| key.key_id).collect::<Vec<_>>(), [key.key_id]);
    assert!(keys(&store, "k1").await.is_empty());
    let elsewhere = Place { place: "sentry https://sentry.example acme/other".into(), ..place.clone() };
    assert!(admin.server_keys(&elsewhere.place, "k2").await.unwrap().0.is_empty(), "keys stay where they are");

    // The ledger was lost, and the Secret was not.
    execute(&store, "DELETE FROM errortracking.server_keys").await;
    let adopted = admin.adopt_server_key(&place, &again, 7, &told).await.unwrap().unwrap();
    assert_eq!((adopted.ordinal, adopted.state), (7, State::Published));
    assert_eq!(keys(&store, "k2").await[0].server_id.as_deref(), Some("1"));
}

#[tokio::test]
async fn one_key_without_a_name_is_asked_for_at_a_time() {
    let store = Store::create().await;
    let (admin, owner) = (&store.admin, key_identity("shop", "k1"));
    let place = Place { place: "gitlab https://gitlab.example acme/shop".into(), ..place() };
    let at = &place.place;
    let known = ["3".to_owned()];
    assert!(admin.lost_answer(at, "k1").await.unwrap().is_none());
    assert_eq!(admin.begin_server_key(at, "k1", &known).await.unwrap(), Begun::Begun);
    assert_eq!(admin.begin_server_key(at, "k2", &known).await.unwrap(), Begun::Busy);
    assert!(admin.lost_answer(at, "k2").await.unwrap().is_none(), "the answer may still come");
    let lost = admin.lost_answer(at, "k1").await.unwrap().unwrap();
    assert_eq!((&*lost.client_key_uid, &lost.known[..], lost.answered), ("k1", &known[..], None));
    execute(&store, "UPDATE errortracking.server_key_intents SET begun_at = begun_at - interval '1 minute'").await;
    assert!(admin.lost_answer(at, "k2").await.unwrap().is_some(), "it does not come any more");
    // Once it came, the look at the list has more time, which a server that limits calls may need.
    let told = public_key();
    admin.record_key_answered(at, "k2", &public_key()).await.unwrap();
    admin.record_key_answered(at, "k1", &told).await.unwrap();
    assert!(admin.lost_answer(at, "k2").await.unwrap().is_none());
    assert_eq!(admin.lost_answer(at, "k1").await.unwrap().unwrap().answered, Some(told));
    execute(&store, "UPDATE errortracking.server_key_intents SET begun_at = begun_at - interval '9 minutes'").await;
    assert!(admin.lost_answer(at, "k2").await.unwrap().is_some(), "nobody looks any more");
    admin.give_answer_up(at, &["4".to_owned(), "5".to_owned()]).await.unwrap();
    assert!(admin.lost_answer(at, "k1").await.unwrap().is_none());
    let mut orphans = admin.known_server_key_orphans(at).await.unwrap();
    orphans.sort();
    assert_eq!(orphans, ["4", "5"]);

    // The answer that makes a key ends the intent in the same transaction.
    admin.begin_server_key(at, "k1", &known).await.unwrap();
    let told = answer("6");
    let first = admin.mint_server_key(&place, &owner, 1, &told.public_key, Some(&told)).await.unwrap();
    assert_eq!(admin.begin_server_key(at, "k1", &known).await.unwrap(), Begun::Begun);
    let told = answer("7");
    admin.succeed_server_key(&place, first.key_id, 2, &told.public_key, Some(&told)).await.unwrap();
    assert_eq!(admin.begin_server_key(at, "k1", &known).await.unwrap(), Begun::Begun);
    admin.end_intent(at).await.unwrap();
    assert_eq!(admin.claimed_server_ids(at).await.unwrap().len(), 2);
    let there = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(admin.server_key_orphans(at, &there(&["4", "5", "6"])).await.unwrap(), ["4", "5"]);
    assert_eq!(admin.server_key_orphans(at, &there(&["5", "6"])).await.unwrap(), ["5"], "one was deleted there");
    assert!(admin.server_key_orphans("elsewhere", &[]).await.unwrap().is_empty());
}
