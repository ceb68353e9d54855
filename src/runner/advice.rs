//! The lines that people paste, where the operator does not write.

use super::SecretKey;

/// Values of GitLab's chart `gitlab-runner` for runners since 19.2, in one line: `SENTRY_DSN` from the Secret of a
/// `ClientKey`.
#[must_use]
pub fn chart_environment(secret: &SecretKey<'_>) -> String {
    let (name, key) = (scalar(secret.name), scalar(secret.key));
    format!("extraEnvFrom: {{SENTRY_DSN: {{secretKeyRef: {{name: {name}, key: {key}}}}}}}")
}

/// A text of YAML, in quotes unless it is a word that cannot be read as anything else.
fn scalar(text: &str) -> String {
    let mut letters = text.chars();
    let plain = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '/')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "-._/~".contains(letter));
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    if plain && !words.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // YAML has the escapes of JSON.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn the_chart_takes_the_variable_from_the_secret() {
        let line = chart_environment(&SecretKey { name: "runners-dsn", key: "SENTRY_DSN" });
        assert_eq!(line, "extraEnvFrom: {SENTRY_DSN: {secretKeyRef: {name: runners-dsn, key: SENTRY_DSN}}}");
    }

    #[test]
    fn a_name_stays_a_text() {
        for name in ["true", "7", "1e3", "0x1f", "null", "no", "y", "on", "2026-11-29", "shop", "a.b-c", "", "a: b"] {
            assert_eq!(yaml(&format!("name: {}\n", scalar(name))), json!({"name": name}));
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_yaml(name in "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", key in "[-._a-zA-Z0-9]{1,8}") {
            let line = yaml(&chart_environment(&SecretKey { name: &name, key: &key }));
            prop_assert_eq!(&line["extraEnvFrom"]["SENTRY_DSN"]["secretKeyRef"], &json!({"name": name, "key": key}));
        }
    }
}
