use super::*;

fn user(json: &str) -> NamedUser {
    serde_json::from_str::<Any<Object<NamedUser>>>(json).unwrap().0.0.unwrap_or_default()
}

fn request(json: &str) -> Request {
    serde_json::from_str::<Any<Object<Request>>>(json).unwrap().0.0.unwrap()
}

#[test]
fn the_first_name_of_a_user_is_the_identity() {
    for (json, identity) in [
        (r#"{"id":5,"email":"a@b.c"}"#, Some("id:5")),
        (r#"{"id":" ","username":"ann","email":"a@b.c"}"#, Some("username:ann")),
        (r#"{"id":null,"email":"a@b.c","ip_address":"::1"}"#, Some("email:a@b.c")),
        (r#"{"ip_address":"2001:DB8::0001"}"#, Some("ip:2001:db8::1")),
        (r#"{"ip_address":"{{auto}}"}"#, None),
        (r#"{"id":[5],"username":{},"name":"Ann"}"#, None),
        (r#"{"id":0}"#, Some("id:0")),
    ] {
        let user = user(json).resolve(None, InferIp::Legacy, "other", None);
        assert_eq!(user.identity().as_deref(), identity, "{json}");
    }
}

#[test]
fn the_address_of_a_user_is_inferred_only_where_it_is_the_users() {
    use InferIp::{Auto, Legacy, Never};
    let (client, server, own) = (Some("203.0.113.7"), Some("10.0.0.7"), Some("192.0.2.1"));
    let (auto, fixed) = (r#"{"ip_address":"{{auto}}"}"#, r#"{"ip_address":"192.0.2.1"}"#);
    for (json, remote, infer_ip, platform, expected) in [
        // What the event says of its user wins over everything.
        (fixed, r#""10.0.0.7""#, Auto, "javascript", own),
        (fixed, r#""10.0.0.7""#, Never, "javascript", own),
        // The event asks for the client's.
        (auto, r#""10.0.0.7""#, Legacy, "python", client),
        (auto, "null", Auto, "python", client),
        (auto, r#""10.0.0.7""#, Never, "python", None),
        ("{}", r#""{{auto}}""#, Legacy, "python", client),
        ("{}", r#""{{auto}}""#, Never, "python", None),
        // The request of the application.
        ("{}", r#""10.0.0.7""#, Legacy, "javascript", server),
        ("null", r#""10.0.0.7""#, Auto, "python", server),
        ("{}", r#""10.0.0.7""#, Never, "python", None),
        // Nothing says so.
        ("null", "null", Legacy, "javascript", client),
        ("{}", r#""nonsense""#, Legacy, "cocoa", client),
        ("{}", "null", Legacy, "objc", client),
        ("{}", "null", Legacy, "python", None),
        ("{}", "null", Legacy, "node", None),
        ("{}", "null", Auto, "python", client),
        ("{}", "null", Never, "javascript", None),
    ] {
        let remote_address = request(&format!(r#"{{"env":{{"REMOTE_ADDR":{remote}}}}}"#)).remote_address;
        let client_ip = client.and_then(|client| client.parse().ok());
        let found = user(json).resolve(remote_address, infer_ip, platform, client_ip);
        assert_eq!(found.ip_address.as_deref(), expected, "{json} {remote} {infer_ip:?} {platform}");
    }
    assert_eq!(user(auto).resolve(None, Auto, "javascript", None).ip_address, None, "the client is not known");
}

#[test]
fn an_sdk_says_whether_addresses_may_be_inferred() {
    for (json, expected) in [
        (r#"{"settings":{"infer_ip":"auto"}}"#, InferIp::Auto),
        (r#"{"name":"sentry.python","settings":{"infer_ip":"never","x":1}}"#, InferIp::Never),
        (r#"{"settings":{"infer_ip":"legacy"}}"#, InferIp::Legacy),
        (r#"{"settings":{"infer_ip":"tomorrow"}}"#, InferIp::Legacy),
        (r#"{"settings":{"infer_ip":5}}"#, InferIp::Legacy),
        (r#"{"settings":[]}"#, InferIp::Legacy),
        ("{}", InferIp::Legacy),
    ] {
        let sdk = serde_json::from_str::<Any<Object<Sdk>>>(json).unwrap().0.0.unwrap();
        assert_eq!(sdk.infer_ip, expected, "{json}");
    }
}

#[test]
fn the_query_of_a_request_is_left_out() {
    let found = request(r#"{"url":"https://h/cart?token=1#x","env":{"REMOTE_ADDR":"10.0.0.7"},"headers":[["a","b"]]}"#);
    assert_eq!(found.url.as_deref(), Some("https://h/cart"));
    assert_eq!(found.remote_address, Some(Address::Fixed("10.0.0.7".parse().unwrap())));
}

#[test]
fn the_user_agent_is_found_in_every_form_of_headers() {
    for (headers, expected) in [
        (r#"{"Accept":"*/*","User-Agent":" Firefox/1 ","Host":["h"]}"#, Some("Firefox/1")),
        (r#"{"user-agent":["Firefox/1","second"]}"#, Some("Firefox/1")),
        (r#"[["Accept","*/*"],["USER-AGENT","Firefox/1","x"],["Host"],[],null,5,{"a":[1]}]"#, Some("Firefox/1")),
        (r#"[["User-Agent",["Firefox/1"]],[["User-Agent"],"x"]]"#, Some("Firefox/1")),
        (r#"{"User-Agent":5}"#, None),
        (r#"{"User-Agent":[]}"#, None),
        (r#"{"User-Agent":""}"#, None),
        ("null", None),
        (r#""User-Agent: x""#, None),
    ] {
        let found = request(&format!(r#"{{"headers":{headers}}}"#));
        assert_eq!(found.user_agent.as_deref(), expected, "{headers}");
    }
}
