//! Logs go to stderr, stdout belongs to the ready line and to tools' answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Chatty libraries, kept at warnings unless a filter names them.
const QUIET: &str = "hyper=warn,h2=warn,reqwest=warn,rustls=warn,openraft=warn,object_store=warn";

/// Sets up logging for the process.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub fn start(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|e| format!("--log.level {level:?} is neither a level nor a filter: {e}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Logfmt => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
