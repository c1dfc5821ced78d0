//! The sync calls, those that succeed and those that fail.

use super::effect::{Effect, Ino, Kind, Sync};
use super::errno::Errno;
use super::failure::Reported;
use super::linux::{
    SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE,
};
use super::live::Disk;
use super::open::Handle;

impl Disk {
    /// `fsync`, of a file opened in any way, or of a directory.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EIO`, once, if an earlier write-back of
    /// the file failed since it was opened; `EROFS` or `EIO` after a failure that stopped the file
    /// system.
    pub fn fsync(&mut self, h: Handle) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        self.report_error(h)?;
        self.find_room(Sync::Inode(ino), &[ino]);
        self.report_error(h)?;
        self.change(&Effect::Sync(Sync::Inode(ino)));
        Ok(())
    }

    /// `fdatasync`: as [`Disk::fsync`], but without attributes that reading does not need.
    ///
    /// # Errors
    /// As [`Disk::fsync`].
    pub fn fdatasync(&mut self, h: Handle) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        self.report_error(h)?;
        self.find_room(Sync::Data(ino), &[ino]);
        self.report_error(h)?;
        self.change(&Effect::Sync(Sync::Data(ino)));
        Ok(())
    }

    /// `sync_file_range`. Only a call that writes out *and* waits (`SYNC_FILE_RANGE_WRITE` with
    /// `SYNC_FILE_RANGE_WAIT_AFTER`) is an effect: the others return before anything is written.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for unknown flags, or if the
    /// range is negative or ends beyond the largest offset.
    pub fn sync_range(
        &mut self,
        h: Handle,
        offset: i64,
        length: i64,
        flags: u32,
    ) -> Result<(), Errno> {
        const WAITS: u32 = SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        const KNOWN: u32 = WAITS | SYNC_FILE_RANGE_WAIT_BEFORE;
        let ino = self.syncable(h)?;
        if flags & !KNOWN != 0 || offset < 0 || length < 0 || offset.checked_add(length).is_none() {
            return Err(Errno::EINVAL);
        }
        if flags & !SYNC_FILE_RANGE_WRITE != 0 {
            self.report_error(h)?;
        }
        if flags & WAITS == WAITS && self.opens.get(h)?.kind == Kind::File {
            let (offset, length) = (offset.unsigned_abs(), length.unsigned_abs());
            let sync = Sync::Pages { ino, offset, length };
            self.find_room(sync, &[ino]);
            self.report_error(h)?;
            self.change(&Effect::Sync(sync));
        }
        Ok(())
    }

    /// `sync`, which returns no error.
    pub fn sync_all(&mut self) {
        if self.may_change().is_ok() {
            self.find_room(Sync::All, &self.dirty_files());
            self.change(&Effect::Sync(Sync::All));
        }
    }

    /// `syncfs`.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EIO`, once, if any write-back failed
    /// since it was opened; otherwise as [`Disk::fsync`].
    pub fn sync_fs(&mut self, h: Handle) -> Result<(), Errno> {
        self.syncable(h)?;
        self.may_change()?;
        self.report_any_error(h)?;
        self.find_room(Sync::All, &self.dirty_files());
        self.report_any_error(h)?;
        self.change(&Effect::Sync(Sync::All));
        Ok(())
    }

    /// Reports each failed write-back of its file once on a descriptor. Such a call has written the
    /// dirty pages, but it promises nothing: `ext4_sync_file` and others return before they commit.
    pub(super) fn report_error(&mut self, h: Handle) -> Result<(), Errno> {
        self.may_change()?;
        let open = self.opens.get_mut(h)?;
        let Some(errors) = self.errors.get_mut(&open.ino) else { return Ok(()) };
        errors.report(&mut open.seen)
    }

    /// An `fsync` (or `fdatasync`, with `data_only`) that the device fails: from now on the pages
    /// count as clean, though it is unknown which were written. Its other effects depend on the
    /// profile of the disk.
    ///
    /// # Errors
    /// `EIO`, or the error of the profile; `EBADF` where a sync without a fault would have returned
    /// that.
    pub fn fail_sync(&mut self, h: Handle, data_only: bool) -> Result<(), Errno> {
        let ino = self.syncable(h)?;
        self.fail_sync_of(h, if data_only { Sync::Data(ino) } else { Sync::Inode(ino) })
    }

    /// A sync of (parts of) one file fails, which is reported on `h`.
    pub(super) fn fail_sync_of(&mut self, h: Handle, sync: Sync) -> Result<(), Errno> {
        let ino = self.opens.get(h)?.ino;
        self.may_change()?;
        self.change(&Effect::SyncFailed(sync));
        if self.opens.get(h)?.kind == Kind::File {
            self.failed(&[ino], Errno::EIO);
        }
        match self.fail().reported {
            Reported::Next => Ok(()),
            Reported::Now => {
                self.report_error(h)?;
                Err(Errno::EIO)
            }
        }
    }

    /// As [`Disk::fail_sync`], for a `syncfs`: the write-back failed for each file that had data to
    /// write.
    ///
    /// # Errors
    /// As [`Disk::fail_sync`].
    pub fn fail_sync_all(&mut self, h: Handle) -> Result<(), Errno> {
        self.syncable(h)?;
        self.may_change()?;
        let dirty = self.dirty_files();
        self.change(&Effect::SyncFailed(Sync::All));
        self.failed(&dirty, Errno::EIO);
        match self.fail().reported {
            Reported::Next => Ok(()),
            Reported::Now => {
                self.may_change()?;
                self.report_any_error(h)?;
                Err(Errno::EIO)
            }
        }
    }

    /// Finds room for the dirty pages of some files. If there is none, those pages are lost, and
    /// the error waits to be reported.
    pub(super) fn find_room(&mut self, sync: Sync, files: &[Ino]) {
        let Some(error) = self.overdrawn() else { return };
        let dirty: Vec<Ino> = files.iter().copied().filter(|&ino| self.is_dirty(ino)).collect();
        if dirty.is_empty() {
            return;
        }
        self.change(&Effect::SyncFailed(sync));
        self.failed(&dirty, error);
        self.evict();
    }

    /// Notes that some files could not be written back.
    fn failed(&mut self, files: &[Ino], error: Errno) {
        for ino in files {
            self.errors.entry(*ino).or_default().add(error);
        }
        self.all_errors.add(error);
    }

    /// Reports each failed write-back of any file once on a descriptor.
    fn report_any_error(&mut self, h: Handle) -> Result<(), Errno> {
        self.all_errors.report(&mut self.opens.get_mut(h)?.seen_all)
    }

    fn syncable(&self, h: Handle) -> Result<Ino, Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        Ok(open.ino)
    }
}
