//! Progress of long work, on stderr and only when a person can see it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` things called `unit`; silent when stderr is no terminal.
pub fn bar(total: u64, unit: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}").expect("a valid template");
    ProgressBar::with_draw_target(Some(total), target).with_style(style).with_message(unit)
}
