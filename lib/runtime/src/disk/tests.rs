//! One suite over both disks, and what only the one in memory can do.

use super::*;
use crate::rng::Rng;
use std::path::PathBuf;

fn each_disk(check: impl Fn(&dyn Disk, PathBuf)) {
    check(&MemDisk::new(), PathBuf::from("/data"));
    let dir = tempfile::tempdir().unwrap();
    check(&RealDisk, dir.path().join("data"));
}

#[test]
fn files_are_written_read_renamed_and_removed() {
    each_disk(|disk, root| {
        disk.create_dir_all(&root.join("a/b")).unwrap();
        let path = root.join("a/b/f");
        let file = disk.open(&path, OpenHow::CreateNew).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        file.write_all_at(b"J", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"Jello");
        assert_eq!(&disk.map(&path).unwrap()[..], b"Jello");
        let mut two = [0; 2];
        file.read_exact_at(&mut two, 3).unwrap();
        assert_eq!(&two, b"lo");
        assert_eq!(file.read_exact_at(&mut two, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(2).unwrap();
        assert_eq!(file.len().unwrap(), 2);
        assert_eq!(disk.open(&path, OpenHow::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        disk.rename(&root.join("a/b"), &root.join("a/c")).unwrap();
        assert!(!disk.exists(&path).unwrap());
        let listed = disk.list(&root.join("a/c")).unwrap();
        assert_eq!(listed, [DirEntry { name: "f".into(), is_dir: false, len: 2 }]);
        disk.hard_link(&root.join("a/c/f"), &root.join("a/g")).unwrap();
        let again = disk.hard_link(&root.join("a/c/f"), &root.join("a/g"));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        disk.remove_dir_all(&root.join("a/c")).unwrap();
        assert_eq!(disk.read(&root.join("a/g")).unwrap(), b"Je");
        disk.remove_file(&root.join("a/g")).unwrap();
        assert_eq!(disk.read(&root.join("a/g")).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.write_atomic(&root.join("a/w"), b"1").unwrap();
        disk.write_atomic(&root.join("a/w"), b"22").unwrap();
        assert_eq!(disk.read(&root.join("a/w")).unwrap(), b"22");
    });
}

#[test]
fn a_lock_is_held_once() {
    each_disk(|disk, root| {
        disk.create_dir_all(&root).unwrap();
        let held = disk.lock(&root.join("lock")).unwrap();
        assert_eq!(disk.lock(&root.join("lock")).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        disk.lock(&root.join("lock")).unwrap();
    });
}

#[test]
fn a_crash_keeps_what_was_synced_and_only_a_prefix_of_the_rest() {
    for seed in 0..50 {
        let disk = MemDisk::new();
        disk.create_dir_all("/d".as_ref()).unwrap();
        let file = disk.open("/d/f".as_ref(), OpenHow::CreateNew).unwrap();
        file.write_all_at(b"safe", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir("/d".as_ref()).unwrap();
        file.write_all_at(b"lost", 4).unwrap();
        disk.open("/d/unnamed".as_ref(), OpenHow::CreateNew).unwrap().sync_data().unwrap();
        disk.crash(&Rng::from_seed(seed));
        let left = disk.read("/d/f".as_ref()).unwrap();
        assert!(left.starts_with(b"safe") && b"safelost".starts_with(&left[..]), "{left:?}");
        assert!(!disk.exists("/d/unnamed".as_ref()).unwrap());
        assert!(file.write_all_at(b"x", 0).is_err(), "a handle from before the crash is dead");
    }
}

#[test]
fn faults_strike_the_call_they_were_made_for() {
    let disk = MemDisk::new();
    disk.create_dir_all("/d".as_ref()).unwrap();
    let file = disk.open("/d/f".as_ref(), OpenHow::CreateNew).unwrap();
    disk.set_fault_hook(|op| matches!(op, DiskOp::Write(..)).then_some(Fault::Enospc(2)));
    assert_eq!(file.write_all_at(b"abcd", 0).unwrap_err().raw_os_error(), Some(28));
    disk.clear_faults();
    assert_eq!(disk.read("/d/f".as_ref()).unwrap(), b"ab");
}
