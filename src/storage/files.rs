//! Files that stay after a power cut, with their names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts a file with these bytes into a directory, at once or not at all: it is made under the name `unfinished` first. Open
/// for reading and writing.
pub(super) fn create(directory: &Path, unfinished: &str, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let unfinished = directory.join(unfinished);
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_dir(directory)?;
    Ok(file)
}

/// Removes a directory with everything in it, if it is there.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything in a directory durable, names and contents.
pub(super) fn sync_all(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(path)
}
