//! What is promised is there again, whatever a crash leaves behind it.

use proptest::prelude::*;

use super::*;

fn open(folder: &Path) -> Result<(LocalFile, Kept), CoordinatorError> {
    let mut file = LocalFile::in_folder(folder);
    let kept = file.lead("here")?;
    Ok((file, kept))
}

fn written(folder: &Path, records: &[&[u8]]) -> Vec<u8> {
    let (mut file, kept) = open(folder).unwrap();
    for (number, record) in records.iter().enumerate() {
        file.append(kept.next + number as u64, record).unwrap();
    }
    fs::read(folder.join(NAME)).unwrap()
}

#[test]
fn what_was_written_is_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(open(folder.path()).unwrap().1, Kept::default());
    written(folder.path(), &[b"one", b"", b"three"]);
    written(folder.path(), &[b"four"]);
    let kept = open(folder.path()).unwrap().1;
    assert_eq!(kept.records, [&b"one"[..], b"", b"three", b"four"]);
    assert_eq!(kept.next, 4);
}

#[test]
fn a_snapshot_takes_the_place_of_all_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, _) = open(folder.path()).unwrap();
    file.append(0, b"one").unwrap();
    file.compact(1, &[b"a".to_vec(), b"b".to_vec()]).unwrap();
    file.append(1, b"two").unwrap();
    let kept = open(folder.path()).unwrap().1;
    assert_eq!((kept.records, kept.next), (vec![b"a".to_vec(), b"b".to_vec(), b"two".to_vec()], 2));
}

#[test]
fn a_snapshot_that_is_cut_short_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &[b"one"]);
    fs::write(folder.path().join("registry.new"), b"MRG1 half of it").unwrap();
    let (mut file, kept) = open(folder.path()).unwrap();
    assert_eq!(kept.records, [b"one"]);
    file.compact(1, &[b"a".to_vec()]).unwrap();
    assert_eq!(open(folder.path()).unwrap().1.records, [b"a"]);
}

/// Wherever the last write breaks off, and whichever of its bytes are wrong, what was there before it is read, and goes on.
#[test]
fn a_write_that_broke_anywhere_is_as_if_it_had_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let before = written(folder.path(), &[b"one", b"two"]).len();
    let whole = written(folder.path(), &[b"the third record"]);
    let mut broken: Vec<Vec<u8>> = (before..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for at in before..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut wrong = whole.clone();
            wrong[at] ^= flip;
            broken.push(wrong);
        }
        // Sectors arrive in any order.
        let mut hole = whole.clone();
        hole[before..=at].fill(0);
        broken.push(hole);
    }
    for bytes in broken {
        fs::write(&path, &bytes).unwrap();
        let (mut file, kept) = open(folder.path()).unwrap();
        assert_eq!((kept.records, kept.next), (vec![b"one".to_vec(), b"two".to_vec()], 2));
        file.append(2, b"again").unwrap();
        assert_eq!(open(folder.path()).unwrap().1.records.last().unwrap(), b"again");
    }
}

#[test]
fn a_first_write_that_broke_is_an_empty_registry() {
    let folder = tempfile::tempdir().unwrap();
    let whole = written(folder.path(), &[b"the first record"]);
    for end in 0..whole.len() {
        fs::write(folder.path().join(NAME), &whole[..end]).unwrap();
        assert_eq!(open(folder.path()).unwrap().1, Kept::default());
    }
}

#[test]
fn damage_in_the_middle_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let first = written(folder.path(), &[b"one"]).len();
    let whole = written(folder.path(), &[b"two"]);
    for at in 0..first {
        let mut wrong = whole.clone();
        wrong[at] ^= 0x10;
        fs::write(folder.path().join(NAME), &wrong).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, CoordinatorError::Damaged { at: 0, .. }), "byte {at}: {error}");
        assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), wrong, "nothing is touched");
    }
}

#[test]
fn a_file_of_another_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for foreign in [&b"MRG2 and so on"[..], b"a letter to my aunt"] {
        fs::write(folder.path().join(NAME), foreign).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("--work-dir"), "{error}");
        assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), foreign);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), tail in 0usize..60) {
        let mut all = frames::frame(0, b"one");
        all.extend(&bytes);
        all.truncate(all.len().saturating_sub(tail));
        // Whatever it is, what is read is the beginning of it.
        if let Ok((frames, good)) = frames::read(&all) {
            let again: Vec<u8> = frames.iter().flat_map(|frame| frames::frame(frame.index, &frame.record)).collect();
            prop_assert_eq!(&again[..], &all[..good]);
        }
    }
}
