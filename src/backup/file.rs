//! The file of a backup that is on its way.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{BackupError, Checked, Summary};

/// A backup that is being written, under another name. Dropped before it is [finished](Self::finish), it is removed.
pub struct BackupFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    checked: Checked,
    replaces: bool,
    is_finished: bool,
}

impl BackupFile {
    /// Begins one. `replaces`: whether it takes the place of a file that is there, and of one that was begun and left.
    pub fn create(path: &Path, replaces: bool) -> Result<Self, BackupError> {
        let mut unfinished = OsString::from(path);
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        if replaces {
            remove(&unfinished).map_err(BackupError::file(&unfinished))?;
        } else {
            check_absent(path)?;
        }
        let file = match File::options().write(true).create_new(true).open(&unfinished) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists { path: unfinished });
            }
            Err(error) => return Err(BackupError::file(&unfinished)(error)),
        };
        let checked = Checked::new(path);
        Ok(Self { path: path.to_owned(), unfinished, file, checked, replaces, is_finished: false })
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.checked.add(bytes, |_| Ok(()))?;
        self.file.write_all(bytes).map_err(BackupError::file(&self.unfinished))
    }

    /// Gives the file its name, if it is whole. Once this returns it stays so after a power cut.
    pub fn finish(mut self) -> Result<Summary, BackupError> {
        let checked = std::mem::replace(&mut self.checked, Checked::new(&self.path));
        let summary = checked.finish()?;
        self.file.sync_all().map_err(BackupError::file(&self.unfinished))?;
        if !self.replaces {
            check_absent(&self.path)?;
        }
        if !self.is_own() {
            return Err(BackupError::Superseded { path: self.path.clone() });
        }
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::rename(&self.unfinished, &self.path).map_err(BackupError::file(&self.path))?;
        self.is_finished = true;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(BackupError::file(directory))?;
        Ok(summary)
    }

    /// Whether the unfinished file is this one: who replaces files may have begun another under its name.
    fn is_own(&self) -> bool {
        let id = |file: Metadata| (file.dev(), file.ino());
        let found = fs::symlink_metadata(&self.unfinished).map(id);
        self.file.metadata().map(id).is_ok_and(|own| found.is_ok_and(|found| found == own))
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        if !self.is_finished && self.is_own() {
            // If it can't be removed, the next that is made under this name says so.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

fn check_absent(path: &Path) -> Result<(), BackupError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(BackupError::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::file(path)(error)),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
