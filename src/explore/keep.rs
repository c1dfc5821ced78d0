//! Writes a crash state out as real files of the host.

use std::path::Path;

use crate::disk::tree::{Body, Tree};

use super::stop::Stop;

/// Writes a crash state into an empty folder.
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
    let mut paths: Vec<_> = tree.paths().into_iter().collect();
    paths.sort_by(|one, other| one.1.cmp(&other.1));
    for (ino, path) in paths {
        let Some(node) = tree.node(ino) else { continue };
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
