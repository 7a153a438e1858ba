//! The golden lines, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// By name, without their line breaks.
pub(super) static ALL: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines");
    let files = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    files
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a file");
            (name, text.trim_end_matches('\n').to_owned())
        })
        .collect()
});

pub(super) fn line(name: &str) -> &'static str {
    ALL.get(name).unwrap_or_else(|| panic!("no golden line {name}"))
}
