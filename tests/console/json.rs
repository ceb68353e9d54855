//! What programs get: the JSON of lists and errors, with the rights, parameters and problems of the pages.

use serde_json::{Value, json};

use crate::{
    client::{Answer, send},
    events,
    sign_in::{LOOPBACK, page, session, with_rights},
    world::World,
};

const ISSUES: &str = "ada get issues web/";
const UPDATE: &str = "ada update issues web/";

/// A request of a program that shows the token of `who`.
async fn ask(world: &World, who: &str, method: &str, path: &str, form: &str) -> (u16, Value) {
    let bearer = format!("Bearer {who}");
    let answer = send(world.console, method, path, &[LOOPBACK, ("Authorization", &bearer)], form).await;
    (answer.status, read(&answer))
}

async fn get(world: &World, who: &str, path: &str) -> (u16, Value) {
    ask(world, who, "GET", path, "").await
}

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.body);
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_list_says_what_the_page_shows() {
    let (world, _cluster) = with_rights(&[ISSUES]).await;
    world.send(&[events::hostile()]).await;
    let (status, list) = get(&world, "ada", "/web/shop/issues.json").await;
    assert_eq!(status, 200);
    assert_eq!(list["project"], json!({"namespace": "web", "name": "shop", "id": world.project.get()}));
    assert_eq!(list["counts"], json!({"unresolved": 2, "resolved": 0, "ignored": 0}));
    assert_eq!((&list["next"], list["issues"].as_array().unwrap().len()), (&Value::Null, 2));
    assert_eq!(list["total"], json!(2));
    let issue = list["issues"].as_array().unwrap().iter().find(|issue| issue["number"] == json!(1)).unwrap();
    for (field, value) in [
        ("id", json!(world.issue_id(1))),
        ("shortID", json!("SHOP-1")),
        ("level", json!("error")),
        ("status", json!("unresolved")),
        ("assignee", Value::Null),
        ("events", json!(1)),
        ("users", json!(1)),
        ("merged", json!(0)),
    ] {
        assert_eq!(issue[field], value, "{field}: {issue}");
    }
    assert!(issue["title"].as_str().unwrap().starts_with("CheckoutFailed"), "{issue}");
    for time in ["firstSeen", "lastSeen"] {
        let time = issue[time].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
    }
    assert!(!list.to_string().contains("ada@example.org"), "nothing of an event: {list}");
}

#[tokio::test]
async fn lists_are_read_page_by_page_with_the_parameters_of_the_pages() {
    let (world, _cluster) = with_rights(&[ISSUES]).await;
    let many: Vec<_> =
        (0..59).map(|number| events::message(&format!("failure {}", crate::letters(number)), "error")).collect();
    world.send(&many).await;
    for sort in ["last_seen", "first_seen", "events", "users"] {
        let (_, first) = get(&world, "ada", &format!("/web/shop/issues.json?sort={sort}")).await;
        let next = first["next"].as_str().unwrap();
        let (_, second) = get(&world, "ada", &format!("/web/shop/issues.json?sort={sort}&after={next}")).await;
        let mut numbers: Vec<_> = [&first, &second]
            .into_iter()
            .flat_map(|list| list["issues"].as_array().unwrap())
            .map(|issue| issue["number"].as_u64().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!((numbers, &second["next"]), ((1..=60).collect::<Vec<u64>>(), &Value::Null), "{sort}");
    }
    world.set_status(1, "resolved").await;
    let (_, found) = get(&world, "ada", "/web/shop/issues.json?query=level:fatal").await;
    assert_eq!((&found["total"], &found["issues"]), (&json!(0), &json!([])), "of the query, unlike the counts");
    let (_, resolved) = get(&world, "ada", "/web/shop/issues.json?status=resolved").await;
    assert_eq!(resolved["issues"].as_array().unwrap().len(), 1);
    assert_eq!(resolved["counts"], json!({"unresolved": 59, "resolved": 1, "ignored": 0}));
}

#[tokio::test]
async fn an_error_comes_with_its_event_where_the_right_to_events_is() {
    let (world, cluster) = with_rights(&[ISSUES, UPDATE]).await;
    let (status, shown) = get(&world, "ada", "/web/shop/issues/1.json").await;
    assert_eq!((status, &shown["event"]), (200, &json!({"state": "notPermitted"})));
    for hidden in ["ada@example.org", "shop/cart.py", "shop-7d4b9c-x2x"] {
        assert!(!shown.to_string().contains(hidden), "{hidden}");
    }
    assert_eq!(shown["issue"]["shortID"], json!("SHOP-1"));

    // Bob's rights were not asked about before.
    for right in ["bob get issues web/", "bob get events web/", "bob update issues web/"] {
        cluster.grant(right);
    }
    let form = "action=comment&comment=%3Cb%3Eseen";
    assert_eq!(ask(&world, "bob", "POST", "/web/shop/issues/1.json", form).await.0, 200);
    let (_, shown) = get(&world, "bob", "/web/shop/issues/1.json").await;
    let event = &shown["event"];
    for (field, value) in [
        ("state", json!("shown")),
        ("release", json!("shop@1.4.2")),
        ("environment", json!("production")),
        ("serverName", json!("shop-7d4b9c-x2x")),
        ("requestUrl", json!("http://shop.web.svc/checkout")),
    ] {
        assert_eq!(event[field], value, "{field}: {event}");
    }
    assert_eq!(event["user"], json!({"id": "5", "username": null, "email": "ada@example.org", "ipAddress": null}));
    assert_eq!(event["tags"]["cart"], json!("empty"));
    let [outer, cause] = &event["exceptions"].as_array().unwrap()[..] else { panic!("{event}") };
    assert_eq!((&outer["type"], &outer["relation"]), (&json!("shop.errors.CheckoutFailed"), &Value::Null));
    assert_eq!((&cause["type"], &cause["relation"]), (&json!("ZeroDivisionError"), &json!("Caused by")));
    assert_eq!(outer["handled"], json!(false));
    let own = &cause["frames"][0];
    assert_eq!((&own["file"], &own["line"], &own["inApp"]), (&json!("shop/cart.py"), &json!(18), &json!(true)));
    assert_eq!(own["preContext"][0], json!("def average(cart):"));
    let library = outer["frames"].as_array().unwrap().iter().find(|frame| frame["inApp"] == json!(false)).unwrap();
    assert!(library["contextLine"].is_string() && library.get("preContext").is_none(), "{library}");
    assert_eq!(shown["activity"][0]["text"], json!("bob wrote"));
    assert_eq!(shown["activity"][0]["comment"], json!("<b>seen"));

    let id = event["id"].as_str().unwrap();
    assert_eq!(get(&world, "bob", &format!("/web/shop/events/{id}/json")).await.0, 200, "the whole of it");
}

#[tokio::test]
async fn what_is_done_is_told_for_each_error() {
    let (world, _cluster) = with_rights(&[ISSUES, UPDATE]).await;
    world.send(&[events::message("Payment provider failed", "warning")]).await;
    let form = "issue=1&issue=2&issue=9&action=resolve+in&release=shop%402";
    let (status, acted) = ask(&world, "ada", "POST", "/web/shop/issues.json", form).await;
    assert_eq!(status, 200);
    let outcome = |number: u32, changed: bool, refused: Option<&str>| json!({"number": number, "shortID": format!("SHOP-{number}"), "changed": changed, "refused": refused});
    let gone = Some("there is no such error any more");
    assert_eq!(acted["outcomes"], json!([outcome(1, true, None), outcome(2, true, None), outcome(9, false, gone)]));
    let batch = acted["batch"].as_str().unwrap();
    assert!(batch.parse::<uuid::Uuid>().is_ok(), "{batch}");
    let (_, resolved) = get(&world, "ada", "/web/shop/issues.json?status=resolved").await;
    assert_eq!(resolved["issues"][0]["rule"], json!({"resolvedIn": "shop@2"}));
    assert_eq!(resolved["counts"]["resolved"], json!(2));

    let (_, again) = ask(&world, "ada", "POST", "/web/shop/issues/1.json", "action=resolve+in&release=shop%402").await;
    assert_eq!(again, json!({"batch": null, "outcomes": [outcome(1, false, None)]}));

    let (_, merged) = ask(&world, "ada", "POST", "/web/shop/issues/2.json", "action=merge&into=1").await;
    assert_eq!(merged["outcomes"], json!([outcome(2, true, None)]));
    let bearer = [LOOPBACK, ("Authorization", "Bearer ada")];
    let answer = send(world.console, "GET", "/web/shop/issues/2.json", &bearer, "").await;
    assert_eq!((answer.status, answer.header("location")), (303, "../../../web/shop/issues/1.json"));
    assert_eq!(get(&world, "ada", "/web/shop/issues/1.json").await.1["issue"]["merged"], json!(1));
}

#[tokio::test]
async fn problems_are_sentences_with_the_status_of_the_page() {
    let (world, cluster) = with_rights(&[ISSUES]).await;
    for (who, method, path, form, status, says) in [
        ("mallory", "GET", "/web/shop/issues.json", "", 401, "not valid"),
        ("eve", "GET", "/web/shop/issues.json", "", 404, "There is no such project, or you may not see it"),
        ("ada", "GET", "/web/none/issues.json", "", 404, "There is no such project, or you may not see it"),
        ("ada", "GET", "/web/shop/issues/99.json", "", 404, "There is no error at this address"),
        ("ada", "GET", "/web/shop/issues/x.json", "", 404, "There is no page at this address"),
        (
            "ada",
            "GET",
            "/web/shop/issues.json?status=open",
            "",
            400,
            "Status is one of unresolved, resolved and ignored.",
        ),
        ("ada", "GET", "/web/shop/issues.json?after=1%3B", "", 400, "After is a place in the list"),
        ("ada", "GET", "/web/shop/nothing.json", "", 404, "There is no page at this address"),
        ("ada", "PUT", "/web/shop/issues.json", "", 405, "The methods allowed here are GET, HEAD, POST."),
        (
            "ada",
            "POST",
            "/web/shop/issues.json",
            "issue=1&action=resolve",
            404,
            "There is no such project, or you may not",
        ),
        ("ada", "POST", "/web/shop/issues/1.json", "action=drop", 400, "Action is one of"),
    ] {
        let (answered, problem) = ask(&world, who, method, path, form).await;
        assert_eq!((answered, &problem["status"]), (status, &json!(status)), "{method} {path}: {problem}");
        assert!(problem["error"].as_str().unwrap().contains(says), "{method} {path}: {problem}");
    }
    let (_, hidden) = get(&world, "eve", "/web/shop/issues.json").await;
    let (_, absent) = get(&world, "eve", "/web/none/issues.json").await;
    assert_eq!(hidden.to_string().replace("shop", "none"), absent.to_string());
    assert_eq!(
        hidden["command"],
        json!("kubectl auth can-i get errortrackingprojects/shop --subresource=issues -n web")
    );
    let nobody = send(world.console, "GET", "/web/shop/issues.json", &[LOOPBACK], "").await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(read(&nobody)["error"], json!("Nobody is signed in."));

    cluster.refuse(true);
    let (status, problem) = get(&world, "bob", "/web/shop/issues.json").await;
    assert!(status == 503 && problem["error"].as_str().unwrap().starts_with("What you may see cannot"), "{problem}");
    cluster.refuse(false);
    world.network.close().await;
    let (status, problem) = get(&world, "ada", "/web/shop/issues.json").await;
    assert!(status == 503 && problem["error"].as_str().unwrap().starts_with("Errors cannot be shown"), "{problem}");
}

/// A page elsewhere can send a form with the browser's cookie to these addresses as well.
#[tokio::test]
async fn a_session_needs_its_token_here_too() {
    let (world, _cluster) = with_rights(&[ISSUES, UPDATE]).await;
    let ada = session(&world, "ada").await;
    let list = page(&world, &ada, "/web/shop/issues.json").await;
    assert_eq!((list.status, &read(&list)["counts"]["unresolved"]), (200, &json!(1)));
    for headers in [
        &[LOOPBACK, ("Cookie", ada.as_str())][..],
        &[LOOPBACK, ("Cookie", ada.as_str()), ("Origin", "https://attacker.example")],
        &[LOOPBACK, ("Cookie", ada.as_str()), ("Origin", "http://127.0.0.1:8000")],
    ] {
        let answer = send(world.console, "POST", "/web/shop/issues/1.json", headers, "action=resolve").await;
        assert_eq!((answer.status, &read(&answer)["status"]), (403, &json!(403)), "{headers:?}");
    }
    assert_eq!(get(&world, "ada", "/web/shop/issues/1.json").await.1["issue"]["status"], json!("unresolved"));
}
