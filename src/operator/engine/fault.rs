//! Points where a test can end the process as a crash would: before and after each step. Absent from release builds.

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// `ERROR_TRACKING_FAULT` names the point where the process aborts, as "project/migrate/before";
/// `ERROR_TRACKING_FAULT_LOG` names a file to which every point that is reached is written, a line each.
#[cfg(debug_assertions)]
pub fn point(controller: &str, step: &str, when: When) {
    use std::{env::var, io::Write as _, sync::LazyLock};

    static ARMED: LazyLock<Option<String>> = LazyLock::new(|| var("ERROR_TRACKING_FAULT").ok());
    static LOG: LazyLock<Option<String>> = LazyLock::new(|| var("ERROR_TRACKING_FAULT_LOG").ok());
    if ARMED.is_none() && LOG.is_none() {
        return;
    }
    let side = match when {
        When::Before => "before",
        When::After => "after",
    };
    let name = format!("{controller}/{step}/{side}");
    if let Some(path) = LOG.as_deref()
        && let Ok(mut log) = std::fs::OpenOptions::new().append(true).create(true).open(path)
    {
        // One write a line: processes that follow each other share the file.
        let _ = log.write_all(format!("{name}\n").as_bytes());
    }
    if ARMED.as_deref() == Some(&name) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn point(_: &str, _: &str, _: When) {}
