//! The API server's refusals, in its own words.

/// The API server's own sentence, or the error of the connection.
#[must_use]
pub fn kube_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
