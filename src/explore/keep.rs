//! Writes a crash state out as real files of the host.

use std::borrow::Cow;
use std::path::Path;

use crate::disk::Ino;
use crate::disk::tree::{Body, Tree};

use super::stop::Stop;

/// Writes a crash state into an empty folder: the store's content or, if the store's folder is not
/// all that there is, the folder with its own name (`store`) and the others next to it.
pub(crate) fn keep(tree: &Tree, folder: &Path) -> Result<(), Stop> {
    let failed = |path: &Path, error: std::io::Error| {
        Stop::refused(format!("--keep {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let occupied =
        std::fs::read_dir(folder).map_err(|error| failed(folder, error))?.next().is_some();
    if occupied {
        return Err(Stop::refused(format!("--keep {}: it is not empty", folder.display())));
    }
    let store_alone = tree.is_store_alone();
    let mut paths: Vec<_> = tree.paths().into_iter().collect();
    paths.sort_by(|one, other| one.1.cmp(&other.1));
    for (ino, path) in paths {
        let Some(node) = tree.node(ino) else { continue };
        let path = match store_alone {
            true if ino == Ino::MOUNT => continue,
            true => Cow::Borrowed(&*path),
            false => tree.from_root(&path),
        };
        let path = folder.join(String::from_utf8_lossy(&path).as_ref());
        let write = || match &node.body {
            Body::File(content) => std::fs::write(&path, content.to_vec()),
            Body::Directory(_) => std::fs::create_dir_all(&path),
            Body::Symlink(target) => {
                std::os::unix::fs::symlink(String::from_utf8_lossy(target).as_ref(), &path)
            }
        };
        write().map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
