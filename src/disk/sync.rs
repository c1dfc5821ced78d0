//! Sync calls: what is promised to survive, and what a failed promise leaves.

use super::effect::{Effect, Ino, Kind, Sync};
use super::errno::Errno;
use super::live::Disk;
use super::open::Handle;

impl Disk {
    /// `fsync`: of a file opened in any way, or of a directory.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`.
    pub fn fsync(&mut self, h: Handle) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        self.change(&Effect::Sync(Sync::Inode(ino)));
        Ok(())
    }

    /// `fdatasync`: as [`Disk::fsync`], but without attributes that reading does not need.
    ///
    /// # Errors
    /// As [`Disk::fsync`].
    pub fn fdatasync(&mut self, h: Handle) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        self.change(&Effect::Sync(Sync::Data(ino)));
        Ok(())
    }

    /// `sync_file_range`. Only a call that writes out *and* waits (`SYNC_FILE_RANGE_WRITE` with
    /// `SYNC_FILE_RANGE_WAIT_AFTER`) is an effect: the others return before anything is written.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for unknown flags, or if the
    /// range is negative or ends beyond what an offset can be.
    pub fn sync_range(
        &mut self,
        h: Handle,
        offset: i64,
        length: i64,
        flags: u32,
    ) -> Result<(), Errno> {
        const WAITS: u32 = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        const KNOWN: u32 = WAITS | libc::SYNC_FILE_RANGE_WAIT_BEFORE;
        let ino = self.syncable(h)?;
        if flags & !KNOWN != 0 || offset < 0 || length < 0 || offset.checked_add(length).is_none() {
            return Err(Errno::EINVAL);
        }
        if flags & WAITS == WAITS && self.opens.get(h)?.kind == Kind::File {
            let (offset, length) = (offset.unsigned_abs(), length.unsigned_abs());
            self.change(&Effect::Sync(Sync::Pages { ino, offset, length }));
        }
        Ok(())
    }

    /// `sync` and `syncfs`.
    pub fn sync_all(&mut self) {
        self.change(&Effect::Sync(Sync::All));
    }

    /// An `fsync` (or `fdatasync`, with `data_only`) that the device fails: from now on the
    /// pages count as clean, though nobody knows what of them was written.
    ///
    /// # Errors
    /// Always: `EIO`, or `EBADF` where a sync without fault would have given that.
    pub fn fail_sync(&mut self, h: Handle, data_only: bool) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        let sync = if data_only { Sync::Data(ino) } else { Sync::Inode(ino) };
        self.change(&Effect::SyncFailed(sync));
        Err(Errno::EIO)
    }

    /// As [`Disk::fail_sync`], for a `syncfs`.
    pub fn fail_sync_all(&mut self) {
        self.change(&Effect::SyncFailed(Sync::All));
    }

    fn syncable(&self, h: Handle) -> Result<Ino, Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        Ok(open.ino)
    }
}
