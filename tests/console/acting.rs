//! What people do to errors, by the forms of the pages.

use regex::Regex;

use crate::{
    client::{Answer, get, send},
    events,
    sign_in::{FROM_HERE, LOOPBACK, form_token, page, session, with_rights},
    world::World,
};

const ADA: &[&str] = &["ada get issues web/", "ada get events web/", "ada update issues web/", "bob get issues web/"];

/// Posts a form of the session, with its token.
async fn post(world: &World, cookie: &str, path: &str, fields: &str) -> Answer {
    let shown = page(world, cookie, "/web/shop/issues").await.body;
    let token = form_token(&shown);
    let form = format!("form_token={token}&{fields}");
    send(world.console, "POST", path, &[LOOPBACK, FROM_HERE, ("Cookie", cookie)], &form).await
}

/// The batch that the answer leads back with.
fn batch(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("location").split_once("done=").unwrap().1.to_owned()
}

#[tokio::test]
async fn an_error_is_resolved_and_that_is_undone() {
    let (world, _cluster) = with_rights(ADA).await;
    let ada = session(&world, "ada").await;
    let shown = page(&world, &ada, "/web/shop/issues/1").await.body;
    assert!(shown.contains(r#"value="resolve""#) && !shown.contains(r#"value="delete""#), "{shown}");
    assert!(shown.contains("<title>SHOP-1 ") && shown.contains(" · web/shop"), "{shown}");

    let done =
        post(&world, &ada, "/web/shop/issues/1", "action=resolve+in&release=shop%402&to=web%2Fshop%2Fissues%2F1").await;
    let batch = batch(&done);
    assert_eq!(done.header("location"), format!("../../../web/shop/issues/1?done={batch}"));
    let shown = page(&world, &ada, &format!("/web/shop/issues/1?done={batch}")).await.body;
    for part in
        ["Resolved 1 error.", "Resolved in shop@2", "ada resolved it in shop@2", r#"value="reopen""#, ">Undo</button>"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let form = format!("batch={batch}&to=web%2Fshop%2Fissues%2F1");
    let undone = post(&world, &ada, "/-/undo/web/shop", &form).await;
    assert_eq!((undone.status, undone.header("location")), (303, "../../../web/shop/issues/1"));
    let shown = page(&world, &ada, "/web/shop/issues/1").await.body;
    assert!(shown.contains("undone by ada") && shown.contains(r#"value="resolve""#), "{shown}");
    let again = post(&world, &ada, "/-/undo/web/shop", &form).await;
    assert!(again.status == 200 && again.body.contains("was undone before"), "{}", again.body);
}

#[tokio::test]
async fn several_errors_are_changed_at_once_and_an_undo_names_what_it_leaves() {
    let (world, _cluster) = with_rights(ADA).await;
    world.send(&[events::message("Payment provider failed", "warning")]).await;
    let ada = session(&world, "ada").await;
    let list = "to=web%2Fshop%2Fissues%3Fstatus%3Dunresolved";
    let done =
        post(&world, &ada, "/web/shop/issues", &format!("issue=1&issue=2&action=ignore+100+events&{list}")).await;
    let batch = batch(&done);
    assert!(page(&world, &ada, "/web/shop/issues").await.body.contains("No unresolved errors"));
    let one_of_them = page(&world, &ada, "/web/shop/issues/1").await.body;
    assert!(one_of_them.contains(">Undo for all its errors</button>"), "{one_of_them}");
    let ignored = page(&world, &ada, &format!("/web/shop/issues?status=ignored&done={batch}")).await.body;
    assert!(ignored.contains("Ignored 2 errors.") && ignored.contains("Ignored until it has 101 events"), "{ignored}");
    post(&world, &ada, "/web/shop/issues/2", "action=reopen").await;
    let undone = post(&world, &ada, "/-/undo/web/shop", &format!("batch={batch}")).await;
    assert!(undone.status == 200 && undone.body.contains("1 of 2 were put back"), "{}", undone.body);
    assert!(undone.body.contains("<strong>SHOP-2</strong> was changed since by ada"), "{}", undone.body);
}

#[tokio::test]
async fn one_tick_means_all_that_the_search_finds_and_was_there() {
    let (world, _cluster) = with_rights(ADA).await;
    let many: Vec<_> =
        (0..70).map(|number| events::message(&format!("failure {}", crate::letters(number)), "warning")).collect();
    world.send(&many).await;
    let ada = session(&world, "ada").await;
    let address = "/web/shop/issues?query=is%3Aunresolved+level%3Awarning";
    let shown = page(&world, &ada, address).await.body;
    let all =
        Regex::new(r#"name="all" value="([^"]+)"> All 70 matching"#).unwrap().captures(&shown).unwrap()[1].to_owned();
    let all = all.replace("&#38;", "&").replace("&amp;", "&");
    // One that is new since the page was shown is not meant, and the one of another level neither.
    world.send(&[events::message("a later failure", "warning")]).await;
    let all: String = form_urlencoded::byte_serialize(all.as_bytes()).collect();
    let form = format!("all={all}&issue=1&action=resolve&form=0123456789abcdef&to=web%2Fshop%2Fissues");
    let done = post(&world, &ada, "/web/shop/issues", &form).await;
    let batch = batch(&done);
    let unresolved = page(&world, &ada, &format!("/web/shop/issues?done={batch}")).await.body;
    assert!(unresolved.contains("Resolved 70 errors."), "{unresolved}");
    assert!(unresolved.contains("a later failure") && unresolved.contains("CheckoutFailed"), "{unresolved}");
    let again = post(&world, &ada, "/web/shop/issues", &form).await;
    assert_eq!(self::batch(&again), batch, "sent twice, it acts once");
    assert!(!unresolved.contains("matching"), "all that is left is on the page");

    let undone = post(&world, &ada, "/-/undo/web/shop", &format!("batch={batch}&to=web%2Fshop%2Fissues")).await;
    assert_eq!(undone.status, 303, "{}", undone.body);
    assert!(page(&world, &ada, address).await.body.contains("All 71 matching"));
    for (all, status) in [("query%3Dis%3A%26at%3D1", 400), ("query%3D", 400), ("at%3Dx", 400), ("at%3D1", 303)] {
        let answer = post(&world, &ada, "/web/shop/issues", &format!("all={all}&action=resolve")).await;
        assert_eq!(answer.status, status, "{all}: {}", answer.body);
    }
    assert!(page(&world, &ada, address).await.body.contains("All 71 matching"), "nothing was there in 1970");
}

#[tokio::test]
async fn a_form_that_is_sent_twice_acts_once() {
    let (world, _cluster) = with_rights(ADA).await;
    let ada = session(&world, "ada").await;
    let comments = async || page(&world, &ada, "/web/shop/issues/1").await.body.matches("Rolled back to 1.2").count();
    let form = "action=comment&comment=Rolled+back+to+1.2&form=0123456789abcdef";
    let first = post(&world, &ada, "/web/shop/issues/1", form).await;
    let second = post(&world, &ada, "/web/shop/issues/1", form).await;
    assert_eq!((batch(&first), comments().await), (batch(&second), 1));
    post(&world, &ada, "/web/shop/issues/1", &form.replace("0123", "4567")).await;
    assert_eq!(comments().await, 2, "of another page");
    // Counted from now, it ends a little later the second time.
    let ignore = "action=ignore+24h&form=0123456789abcdef";
    let first = batch(&post(&world, &ada, "/web/shop/issues/1", ignore).await);
    assert_eq!(batch(&post(&world, &ada, "/web/shop/issues/1", ignore).await), first);
    let shown = page(&world, &ada, "/web/shop/issues/1").await.body;
    assert!(Regex::new(r#"name="form" value="[0-9a-f]{32}""#).unwrap().is_match(&shown), "{shown}");
}

/// During an upgrade, the console may come before the migration of a project.
#[tokio::test]
async fn a_schema_that_is_not_migrated_yet_has_no_buttons_and_takes_no_forms() {
    let (world, _cluster) = with_rights(ADA).await;
    let ada = session(&world, "ada").await;
    let form = page(&world, &ada, "/web/shop/issues").await.body;
    let token = form_token(&form);
    world.take_back_acting().await;
    for path in ["/web/shop/issues", "/web/shop/issues/1"] {
        let shown = page(&world, &ada, path).await;
        assert!(shown.status == 200 && !shown.body.contains(r#"name="action""#), "{}", shown.body);
    }
    for (path, fields) in [
        ("/web/shop/issues/1", "action=resolve"),
        ("/web/shop/issues", "issue=1&action=comment&comment=seen"),
        ("/-/undo/web/shop", "batch=00000000-0000-0000-0000-000000000000"),
    ] {
        let fields = format!("form_token={token}&{fields}");
        let headers = [LOOPBACK, FROM_HERE, ("Cookie", ada.as_str())];
        assert_eq!(send(world.console, "POST", path, &headers, &fields).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn comments_assignments_and_merges_show() {
    let (world, _cluster) = with_rights(ADA).await;
    world.send(&[events::message("Payment provider failed", "warning")]).await;
    let ada = session(&world, "ada").await;
    post(&world, &ada, "/web/shop/issues/1", "action=comment&comment=%3Cb%3Eseen%3C%2Fb%3E").await;
    post(&world, &ada, "/web/shop/issues/1", "action=assign&assignee=bob").await;
    batch(&post(&world, &ada, "/web/shop/issues/2", "action=merge&into=SHOP-1").await);
    let shown = page(&world, &ada, "/web/shop/issues/1").await.body;
    for part in
        ["&#60;b&#62;seen", "assigned to bob", "1 other error was merged into this one.", "ada merged it into SHOP-1"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let merged = page(&world, &ada, "/web/shop/issues/2").await;
    assert_eq!((merged.status, merged.header("location")), (303, "../../../web/shop/issues/1"));
    let cycle = post(&world, &ada, "/web/shop/issues/1", "action=merge&into=1").await;
    assert!(cycle.status == 200 && cycle.body.contains("cannot be merged into itself"), "{}", cycle.body);
}

#[tokio::test]
async fn who_may_not_change_errors_has_no_buttons_and_no_effect() {
    let (world, cluster) = with_rights(ADA).await;
    let (ada, bob) = (session(&world, "ada").await, session(&world, "bob").await);
    for path in ["/web/shop/issues", "/web/shop/issues/1"] {
        let shown = page(&world, &bob, path).await;
        assert!(shown.status == 200 && !shown.body.contains(r#"name="action""#), "{}", shown.body);
    }
    for (path, fields) in [
        ("/web/shop/issues", "issue=1&action=resolve"),
        ("/web/shop/issues/1", "action=resolve"),
        ("/-/undo/web/shop", "batch=00000000-0000-0000-0000-000000000000"),
    ] {
        assert_eq!(post(&world, &bob, path, fields).await.status, 404, "{path}");
        // Without the token of the session; with that of another; nobody.
        let bare = send(world.console, "POST", path, &[LOOPBACK, FROM_HERE, ("Cookie", &ada)], fields).await;
        assert_eq!(bare.status, 403, "{path}");
        let nobody = send(world.console, "POST", path, &[LOOPBACK, FROM_HERE], fields).await;
        assert_eq!(nobody.status, 401, "{path}");
    }
    // Deleting is a right of its own.
    assert_eq!(post(&world, &ada, "/web/shop/issues/1", "action=delete").await.status, 404);
    assert!(page(&world, &ada, "/web/shop/issues").await.body.contains("CheckoutFailed"));
    cluster.grant("ada delete issues web/");
    // An answer is believed for a while.
    for _ in 0..200 {
        let deleted = post(&world, &ada, "/web/shop/issues/1", "action=delete").await;
        if deleted.status == 303 {
            let batch = batch(&deleted);
            let of_bob = "bob update issues web/";
            cluster.grant(of_bob);
            assert_eq!(send_undo(&world, &bob, &batch).await.status, 404, "it takes the right to delete too");
            assert_eq!(page(&world, &ada, "/web/shop/issues/1").await.status, 404);
            assert_eq!(send_undo(&world, &ada, &batch).await.status, 303);
            assert_eq!(page(&world, &ada, "/web/shop/issues/1").await.status, 200);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the right to delete does not count after 20 s");
}

async fn send_undo(world: &World, cookie: &str, batch: &str) -> Answer {
    // The list has no form when it is empty.
    world.send(&[events::message("another", "info")]).await;
    post(world, cookie, "/-/undo/web/shop", &format!("batch={batch}")).await
}

#[tokio::test]
async fn forms_that_make_no_sense_are_refused() {
    let (world, _cluster) = with_rights(ADA).await;
    let ada = session(&world, "ada").await;
    for (path, fields) in [
        ("/web/shop/issues", "action=resolve"),
        ("/web/shop/issues", "issue=x&action=resolve"),
        ("/web/shop/issues", "issue=-1&action=resolve"),
        ("/web/shop/issues/1", ""),
        ("/web/shop/issues/1", "action=drop"),
        ("/web/shop/issues/1", "action=ignore+soon"),
        ("/web/shop/issues/1", "action=resolve+in&release="),
        ("/web/shop/issues/1", "action=merge&into=x"),
        ("/web/shop/issues/1", "action=merge&into=PAY-2"),
        ("/web/shop/issues/1", &format!("action=comment&comment={}", "x".repeat(4097))),
        ("/-/undo/web/shop", "batch=1"),
    ] {
        let answer = post(&world, &ada, path, fields).await;
        assert_eq!(answer.status, 400, "{path} {fields}: {}", answer.body);
    }
    for (path, fields, text) in [
        ("/web/shop/issues/99", "action=resolve", "there is no such error any more"),
        ("/web/shop/issues/1", "action=merge&into=99", "the error to merge into is not there"),
        ("/-/undo/web/shop", "batch=00000000-0000-0000-0000-000000000000", "Nothing to undo"),
    ] {
        let answer = post(&world, &ada, path, fields).await;
        assert!(answer.status == 200 && answer.body.contains(text), "{path}: {} {}", answer.status, answer.body);
    }
    let elsewhere = post(&world, &ada, "/web/shop/issues/1", "action=resolve&to=https%3A%2F%2Fattacker.example").await;
    assert!(elsewhere.header("location").starts_with("../../../?done="), "{}", elsewhere.header("location"));
    assert_eq!(get(world.console, "/web/shop/issues/1").await.status, 303);
}
