//! What an event does not say of browser, system and device, and the request that it happened in does. It goes into the
//! tags, and into the contexts of the payload, where people look for it.

use super::{
    context::{Contexts, Software},
    user_agent::{Agent, Said},
};

/// Text that belongs into a payload: `payload[..at]`, `text`, `payload[at..]` is the event with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// Offset in bytes.
    pub at: usize,
    pub text: String,
}

impl Insertion {
    /// `payload` with the text, in one copy.
    #[must_use]
    pub fn into_payload(&self, payload: &[u8]) -> Vec<u8> {
        let (before, behind) = payload.split_at(self.at.min(payload.len()));
        [before, self.text.as_bytes(), behind].concat()
    }
}

/// What an event happened in, as its contexts say it, and else the `User-Agent` of its request.
#[derive(Default)]
pub(super) struct Surroundings {
    pub(super) runtime: Option<Software>,
    pub(super) os: Option<Software>,
    pub(super) browser: Option<Software>,
    /// The model where it is known, else the family it belongs to.
    pub(super) device: Option<String>,
    /// What only the `User-Agent` says, as members of the contexts with commas between them.
    inferred: String,
}

impl Surroundings {
    pub(super) fn new(contexts: &Contexts, user_agent: Option<&str>) -> Self {
        let mut found = Self {
            runtime: contexts.runtime.software(),
            os: contexts.os.software(),
            browser: contexts.browser.software(),
            device: contexts.device.device().map(str::to_owned),
            inferred: String::new(),
        };
        if let Some(agent) = user_agent.map(Agent::of) {
            let inferred = [
                complete(&mut found.browser, agent.browser.as_ref()),
                complete(&mut found.os, agent.os.as_ref()),
                complete(&mut found.device, agent.device.as_ref()),
            ];
            found.inferred = inferred.into_iter().flatten().collect::<Vec<_>>().join(",");
        }
        found
    }

    /// What was inferred, at the end of the contexts in `payload`, whose text ends at `contexts_end`; `None`: it has none.
    pub(super) fn insertion(&self, payload: &[u8], contexts_end: Option<usize>) -> Option<Insertion> {
        let members = &self.inferred;
        if members.is_empty() {
            return None;
        }
        // In front of the bracket that closes the contexts, or the event.
        let end = contexts_end.unwrap_or(payload.len());
        let at = payload.get(..end)?.iter().rposition(|byte| *byte == b'}')?;
        let last = payload[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace());
        let comma = if last == Some(&b'{') { "" } else { "," };
        let text = match contexts_end {
            Some(_) => format!("{comma}{members}"),
            None => format!("{comma}\"contexts\":{{{members}}}"),
        };
        Some(Insertion { at, text })
    }
}

/// Takes what is said where nothing else says it, and returns it as a member of the contexts.
fn complete<'a, T: Clone>(known: &mut Option<T>, said: Option<&'a Said<T>>) -> Option<&'a str> {
    let said = said.filter(|_| known.is_none())?;
    *known = Some(said.value.clone());
    Some(&said.context)
}

#[cfg(test)]
mod tests {
    use crate::protocol::event::{EventId, Receipt, parse_core};

    const CHROME: &str = "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/120.0.6099.144 Mobile Safari/537.36";

    fn receipt(user_agent: Option<&str>) -> Receipt {
        let received_at = "2026-11-22T10:00:00Z".parse().unwrap();
        let user_agent = user_agent.map(str::to_owned);
        Receipt { user_agent, ..Receipt::at(received_at, EventId([1; 16])) }
    }

    /// The contexts of the payload as it is stored, and the tags.
    fn stored(event: &str, sender: Option<&str>) -> (serde_json::Value, Vec<(String, String)>) {
        let event = parse_core(event.as_bytes(), &receipt(sender)).map(|found| (found, event)).unwrap();
        let (event, payload) = (event.0, event.1.as_bytes());
        let payload = event.inferred.map_or_else(|| payload.to_vec(), |inferred| inferred.into_payload(payload));
        let mut payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        (payload["contexts"].take(), event.tags)
    }

    #[test]
    fn what_the_request_says_stands_in_the_contexts() {
        let inferred = r#""browser":{"name":"Chrome Mobile","type":"browser","version":"120.0.6099"},"os":{"name":"Android","type":"os","version":"13"},"device":{"family":"Pixel 7","type":"device"}"#;
        let request = format!(r#""request":{{"headers":{{"User-Agent":"{CHROME}"}}}}"#);
        for (event, expected) in [
            (format!("{{{request}}}"), format!("{{{inferred}}}")),
            (format!("{{{request} , \"contexts\" : {{ }} }} "), format!("{{{inferred}}}")),
            (format!("{{\"contexts\":null,{request}}}"), format!("{{{inferred}}}")),
            (format!("{{\"contexts\":[1],{request}}}"), format!("{{{inferred}}}")),
            (
                format!("{{\"contexts\":{{\"trace\":{{\"op\":\"}}\"}}}},{request}}}"),
                format!("{{\"trace\":{{\"op\":\"}}\"}},{inferred}}}"),
            ),
            (format!("{{\"contexts\":{{\"browser\":null,\"os\":{{}}\n}},{request}}}"), format!("{{{inferred}}}")),
        ] {
            let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
            assert_eq!(stored(&event, None).0, expected, "{event}");
        }
    }

    #[test]
    fn what_the_event_says_itself_stays() {
        let request = format!(r#""request":{{"headers":[["user-agent","{CHROME}"]]}}"#);
        let contexts = r#"{"Browser":1,"server-os":{"type":"os","name":"Linux"},"browser":{"name":"Opera"},"device":{"model":"X"}}"#;
        let (found, tags) = stored(&format!(r#"{{"contexts":{contexts},{request}}}"#), None);
        assert_eq!(found, serde_json::from_str::<serde_json::Value>(contexts).unwrap());
        let expected =
            [("os", "Linux"), ("os.name", "Linux"), ("browser", "Opera"), ("browser.name", "Opera"), ("device", "X")];
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_sender_counts_where_it_is_the_browser() {
        let name = |(_, tags): (_, Vec<(String, String)>)| {
            tags.into_iter().find(|(key, _)| key == "browser.name").map(|(_, value)| value)
        };
        for (event, sender, expected) in [
            (r#"{"platform":"javascript"}"#, Some(CHROME), Some("Chrome Mobile")),
            (
                r#"{"platform":"javascript","request":{"headers":{"User-Agent":"curl/8.4.0"}}}"#,
                Some(CHROME),
                Some("curl"),
            ),
            // Behind a tunnel it is the tunnel's.
            (r#"{"platform":"javascript"}"#, Some("node-fetch/1.0"), None),
            (r#"{"platform":"python"}"#, Some(CHROME), None),
            (r#"{"platform":"javascript"}"#, None, None),
        ] {
            assert_eq!(name(stored(event, sender)).as_deref(), expected, "{event} {sender:?}");
        }
    }
}
