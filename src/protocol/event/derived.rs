//! Tags that an event says without calling them so: people search by browser, system or runtime, although
//! SDKs write these into contexts.

use super::{
    Exception,
    context::{Contexts, Software},
    inferred::Inferred,
    tags::Tags,
};

/// What the tags are made of.
pub(super) struct Sources<'a> {
    pub(super) contexts: Contexts,
    pub(super) inferred: Inferred,
    pub(super) exceptions: &'a [Exception],
    pub(super) request_url: Option<&'a str>,
    pub(super) transaction: Option<&'a str>,
    pub(super) logger: Option<&'a str>,
    pub(super) dist: Option<&'a str>,
}

/// Adds the tags as far as there is room; what the application set itself under such a name stays.
pub(super) fn add(tags: &mut Tags, sources: Sources<'_>) {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let Sources { contexts, inferred, exceptions, request_url, transaction, logger, dist } = sources;
    for (name, full_name, software) in [
        ("runtime.name", "runtime", contexts.runtime.software()),
        ("os.name", "os", contexts.os.software().or_else(|| inferred.os())),
        ("browser.name", "browser", contexts.browser.software().or_else(|| inferred.browser())),
    ] {
        tags.add(full_name, software.as_ref().map(Software::full_name));
        tags.add(name, software.map(|software| software.name));
    }
    tags.add("device", owned(contexts.device.device()).or_else(|| inferred.device()));
    // The outermost exception knows best; a cause counts where an SDK marks nothing else.
    let mut outermost_first = exceptions.iter().rev();
    tags.add("mechanism", outermost_first.clone().find_map(|exception| exception.mechanism.clone()));
    let handled = outermost_first.find_map(|exception| exception.handled);
    tags.add("handled", handled.map(|handled| if handled { "yes" } else { "no" }.to_owned()));
    tags.add("transaction", owned(transaction));
    tags.add("url", owned(request_url));
    tags.add("logger", owned(logger));
    tags.add("dist", owned(dist));
}
