//! The success envelope: `{"status":"success","data":…,"warnings":[…],"infos":[…]}`.

use std::collections::HashSet;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::json::write_strings;

/// Most warnings, and most infos, that an answer lists.
const MAX_NOTES: usize = 10;

/// Warning of an answer that `limit` has cut.
pub const TRUNCATED: &str = "results truncated due to limit";

/// An answer with what the user should know of it.
#[derive(Debug, Default)]
pub struct Answer {
    /// JSON of `data`.
    pub data: Vec<u8>,
    /// What may be wrong with it.
    pub warnings: Vec<String>,
    /// What may surprise.
    pub infos: Vec<String>,
}

impl Answer {
    /// `data` without notes.
    pub fn of(data: Vec<u8>) -> Self {
        Answer { data, ..Answer::default() }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        const OPEN: &[u8] = b"{\"status\":\"success\",\"data\":";
        // Moved within its memory: a second copy of a large answer costs more in fresh pages than in copying.
        let mut out = self.data;
        out.splice(..0, OPEN.iter().copied());
        for (key, notes) in [("warnings", self.warnings), ("infos", self.infos)] {
            if !notes.is_empty() {
                out.extend_from_slice(format!(",\"{key}\":").as_bytes());
                write_strings(&mut out, &capped(notes, key));
            }
        }
        out.push(b'}');
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], out).into_response()
    }
}

/// Each note once, and not too many: the same one may come from several stores.
fn capped(notes: Vec<String>, what: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut notes: Vec<String> = notes.into_iter().filter(|n| seen.insert(n.clone())).collect();
    let more = notes.len().saturating_sub(MAX_NOTES);
    if more > 0 {
        notes.truncate(MAX_NOTES);
        let kind = what.trim_end_matches('s');
        notes.push(format!("{more} more {kind} annotations omitted"));
    }
    notes
}
