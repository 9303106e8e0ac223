//! What the process takes of the machine's memory.

/// Bytes of the process' own memory that are resident, mapped files left out; `None` where the system does not say.
pub fn own_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    own_pages(&statm).map(|pages| pages * rustix::param::page_size() as u64)
}

/// Resident pages without those of files, by the second and third number of `/proc/<pid>/statm` (proc(5)).
fn own_pages(statm: &str) -> Option<u64> {
    let mut numbers = statm.split_ascii_whitespace().skip(1).map(|n| n.parse::<u64>().ok());
    let (resident, of_files) = (numbers.next()??, numbers.next()??);
    Some(resident.saturating_sub(of_files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{HUGE_PAGE_BYTES, Huge};

    #[test]
    fn pages_of_files_are_left_out() {
        assert_eq!(own_pages("2005 1000 400 17 0 128 0\n"), Some(600));
        assert_eq!(own_pages("2005 300 400 17 0 128 0\n"), Some(0), "the numbers are not of one moment");
        assert_eq!((own_pages(""), own_pages("1 x 3")), (None, None));
    }

    #[test]
    fn it_grows_by_what_is_touched() {
        const BYTES: usize = 32 * HUGE_PAGE_BYTES;
        let Some(before) = own_bytes() else { return }; // no proc(5)
        let held = Huge::<[u8; BYTES]>::touched();
        let grown = own_bytes().unwrap() as i64 - before as i64;
        // Other tests of the process take and give back memory meanwhile.
        assert!(grown > BYTES as i64 / 2, "{grown} with {} more", held.len());
    }
}
