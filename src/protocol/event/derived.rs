//! Tags that an event says without calling them so: people search by browser, system or runtime, although
//! SDKs write these into contexts.

use super::{Exception, context::Software, inferred::Surroundings, tags::Tags};

/// What the tags are made of.
pub(super) struct Sources<'a> {
    pub(super) surroundings: Surroundings,
    pub(super) exceptions: &'a [Exception],
    pub(super) request_url: Option<&'a str>,
    pub(super) transaction: Option<&'a str>,
    pub(super) logger: Option<&'a str>,
    pub(super) dist: Option<&'a str>,
}

/// Adds the tags as far as there is room; what the application set itself under such a name stays.
pub(super) fn add(tags: &mut Tags, sources: Sources<'_>) {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let Sources { surroundings, exceptions, request_url, transaction, logger, dist } = sources;
    for (name, full_name, software) in [
        ("runtime.name", "runtime", surroundings.runtime),
        ("os.name", "os", surroundings.os),
        ("browser.name", "browser", surroundings.browser),
    ] {
        tags.add(full_name, software.as_ref().map(Software::full_name));
        tags.add(name, software.map(|software| software.name));
    }
    tags.add("device", surroundings.device);
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
