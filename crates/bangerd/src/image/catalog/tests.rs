use std::path::Path;

use banger_host::{FileOp, Look as _, Op, Sim};

use super::super::folder::write;
use super::*;

const DEFAULT: &str = ImageName::DEFAULT;

#[test]
fn a_leased_image_outlives_a_prune_before_its_record_is_written() {
    let sim = Sim::new();
    let catalog = Catalog::new(Layout::new("/state"), Source::Simulated("/bundle".into()));
    let folder = |path: &str| {
        Op::File(FileOp::MakeDirectory {
            path: path.into(),
            mode: 0o755,
            owner: None,
        })
    };
    sim.change(&folder("/state/images")).unwrap();
    let lease = catalog.current(DEFAULT, &sim).unwrap();
    sim.change(&folder("/bundle")).unwrap();
    write("/bundle/bundle.json".into(), b"newer".to_vec(), &sim).unwrap();
    let images = || sim.list(Path::new("/state/images")).unwrap().len();
    catalog.prune(|| Ok(Some(BTreeSet::new())), &sim).unwrap();
    assert_eq!(images(), 2);
    drop(lease);
    catalog.prune(|| Ok(Some(BTreeSet::new())), &sim).unwrap();
    assert_eq!(images(), 0);
}
