//! Who and where: the user an event names, and the request it happened in.

use std::net::IpAddr;

use serde::de::MapAccess;

use super::{
    User,
    lenient::{Attributes, Object, assign, skip, value},
    text::{Strict, Text, cleaned},
};

impl User {
    /// What makes two events the same user's: the first of id, username, email and address, as `id:5`.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let Self { id, username, email, ip_address } = self;
        [("id", id), ("username", username), ("email", email), ("ip", ip_address)]
            .into_iter()
            .find_map(|(name, value)| value.as_deref().map(|value| format!("{name}:{value}")))
    }
}

impl Attributes for User {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "id" => assign(&mut self.id, trimmed(value(object)?)),
            "username" => assign(&mut self.username, trimmed(value(object)?)),
            "email" => assign(&mut self.email, trimmed(value(object)?)),
            "ip_address" => assign(&mut self.ip_address, address(value(object)?)),
            _ => skip(object)?,
        }
        Ok(())
    }
}

fn trimmed(text: Text<200>) -> Option<String> {
    text.0.and_then(|text| cleaned(text.trim(), 200))
}

/// An address in its one spelling; `{{auto}}`, which leaves the choice to the server, is none.
fn address(text: Text<64>) -> Option<String> {
    text.0?.trim().parse::<IpAddr>().ok().map(|address| address.to_string())
}

#[derive(Default)]
pub(super) struct Request {
    /// Without query and fragment, which name people and carry tokens.
    pub(super) url: Option<String>,
    /// The client's address as the application's server saw it.
    pub(super) remote_address: Option<String>,
}

impl Attributes for Request {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "url" => {
                let url: Strict<2048> = value(object)?;
                let bare = url.0.as_deref().and_then(|url| url.split(['?', '#']).next());
                assign(&mut self.url, bare.and_then(|url| cleaned(url.trim(), 2048)));
            }
            "env" => {
                if let Some(environment) = value::<Object<ServerEnvironment>, A>(object)?.0 {
                    self.remote_address = environment.0;
                }
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct ServerEnvironment(Option<String>);

impl Attributes for ServerEnvironment {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "REMOTE_ADDR" => assign(&mut self.0, address(value(object)?)),
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lenient::Any, *};

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
            let user: User = serde_json::from_str::<Any<Object<User>>>(json).unwrap().0.0.unwrap();
            assert_eq!(user.identity().as_deref(), identity, "{json}");
        }
    }

    #[test]
    fn the_query_of_a_request_is_left_out() {
        let json = r#"{"url":"https://h/cart?token=1#x","env":{"REMOTE_ADDR":"10.0.0.7"},"headers":[["a","b"]]}"#;
        let request: Request = serde_json::from_str::<Any<Object<Request>>>(json).unwrap().0.0.unwrap();
        assert_eq!(request.url.as_deref(), Some("https://h/cart"));
        assert_eq!(request.remote_address.as_deref(), Some("10.0.0.7"));
    }
}
