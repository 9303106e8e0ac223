//! Progress of long work, on stderr and only when a person can see it.

use std::cell::RefCell;
use std::io::IsTerminal;

use cairn_tsdb::tools::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` things called `unit`; silent when stderr is no terminal.
pub fn bar(total: u64, unit: &'static str) -> ProgressBar {
    drawn(total, unit, std::io::stderr().is_terminal())
}

fn drawn(total: u64, unit: &'static str, seen: bool) -> ProgressBar {
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}").expect("a valid template");
    ProgressBar::with_draw_target(Some(total), target).with_style(style).with_message(unit)
}

/// Bars for the stretches of one tool's work.
pub struct Bars {
    seen: bool,
    current: RefCell<Option<ProgressBar>>,
}

impl Bars {
    /// For a tool that prints when it is done.
    pub fn before_output() -> Self {
        Bars { seen: std::io::stderr().is_terminal(), current: RefCell::default() }
    }

    /// For a tool that prints as it goes: on a terminal its lines are progress enough, and a bar would stand in them.
    pub fn beside_output() -> Self {
        let seen = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        Bars { seen, current: RefCell::default() }
    }
}

impl Progress for Bars {
    fn begin(&self, total: u64, unit: &'static str) {
        self.end();
        *self.current.borrow_mut() = Some(drawn(total, unit, self.seen));
    }

    fn advance(&self, by: u64) {
        if let Some(bar) = &*self.current.borrow() {
            bar.inc(by);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.current.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
