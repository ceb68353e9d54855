//! Projects that are kept in databases of their own: found by the logins of the mounted Secret, which change while the
//! console runs.

use crate::{
    client::get,
    events,
    support::proxy::Mode,
    world::{World, project},
};

const KEY: &str = "team.pg.uri";

const ISSUES: &str = "/team/pay/issues";

#[tokio::test]
async fn a_database_comes_changes_and_goes() {
    let world = World::start().await;
    let other = world.another_database(&project("team", "pay")).await;
    other.send(&[events::checkout()]).await;
    let before = get(world.console, "/").await.body;
    assert!(before.contains(&format!("kept on {}, which this console has no login for", other.server)), "{before}");
    assert!(!before.contains("Being set up"), "{before}");
    assert_eq!(get(world.console, ISSUES).await.status, 404);

    world.publish_login(KEY, &other, "first").await;
    let link = r#"href="./team/pay/issues""#;
    let listed = world.await_page("/", |page| page.body.contains(link)).await;
    assert!(listed.body.contains("2 projects"), "{}", listed.body);
    let list = get(world.console, ISSUES).await;
    assert!(list.status == 200 && list.body.contains("CheckoutFailed"), "{}", list.body);
    let issue = format!("{ISSUES}/1");
    assert_eq!(get(world.console, &issue).await.status, 200);

    // The sessions end with the network; the next ones need the new password.
    world.publish_login(KEY, &other, "second").await;
    other.network.close().await;
    other.network.set(Mode::Forward);
    world.await_page(&issue, |page| page.status == 200).await;

    world.withdraw_login(KEY);
    world.await_page(&issue, |page| page.status == 404).await;
    assert!(get(world.console, "/").await.body.contains("no login for"));
}

#[tokio::test]
async fn a_database_that_is_away_hides_nothing_of_the_others() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let other = world.another_database(&project("team", "pay")).await;
    other.send(&[events::checkout()]).await;
    world.publish_login(KEY, &other, "first").await;
    let away = "Not all databases answer";
    let both = |page: &crate::client::Answer| {
        page.body.matches("class=\"row-link\"").count() == 2 && !page.body.contains(away)
    };
    world.await_page("/", both).await;

    for mode in [Mode::Closed, Mode::Silent, Mode::Refuse] {
        other.network.set(mode);
        let page = world.await_page("/", |page| page.body.contains(away)).await;
        assert!(page.status == 200 && page.body.contains(&format!("<code>{}</code>", other.server)), "{}", page.body);
        assert!(page.body.contains(&format!("kept on {}, which does not answer", other.server)), "{}", page.body);
        assert!(page.body.contains(r#"href="./web/shop/issues""#), "{}", page.body);
        assert_eq!(get(world.console, &world.path("issues")).await.status, 200);
        let gone = get(world.console, ISSUES).await;
        assert_eq!((gone.status, gone.header("retry-after")), (503, "5"), "it is there, and cannot be read");
        other.network.set(Mode::Forward);
        world.await_page("/", both).await;
    }

    // The installation's own database away: what others know still shows.
    world.network.close().await;
    let page = world.await_page("/", |page| page.status == 200 && page.body.contains(away)).await;
    assert!(page.body.contains(r#"href="./team/pay/issues""#), "{}", page.body);
    assert_eq!(get(world.console, ISSUES).await.status, 200);
    world.await_ready(true).await;
    other.network.set(Mode::Closed);
    world.await_page("/", |page| page.status == 503).await;
    world.await_ready(false).await;
}

/// The people of a namespace may write into their own database what they like.
#[tokio::test]
async fn a_database_speaks_for_its_own_namespace_only() {
    let world = World::start().await;
    let other = world.another_database(&project("team", "pay")).await;
    other.send(&[events::checkout()]).await;
    world.publish_login("mallory.pg.uri", &other, "first").await;
    world.publish_login("team.pg.uri", &other, "first").await;
    world.await_page("/", |page| page.body.matches("class=\"row-link\"").count() == 2).await;
    world.withdraw_login("team.pg.uri");
    world.await_page("/", |page| page.body.matches("class=\"row-link\"").count() == 1).await;
    assert_eq!(get(world.console, ISSUES).await.status, 404);
}
