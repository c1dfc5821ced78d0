//! The limits on resources that the engine sees: those of an ordinary machine, as the engine has
//! set them since. The harness's own limits on a child are not shown.

use libc::{RLIM_INFINITY, rlimit};

use crate::disk::Errno;

/// How many resources have a limit.
const COUNT: usize = libc::RLIMIT_RTTIME as usize + 1;

/// The limits of a process, by the number of the resource.
pub(crate) struct ResourceLimits([rlimit; COUNT]);

/// How many descriptors a process may have open at most, whatever it sets.
pub(crate) const MOST_DESCRIPTORS: u64 = 1 << 16;

impl Default for ResourceLimits {
    fn default() -> Self {
        const ENDLESS: rlimit = rlimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
        const NONE: rlimit = rlimit { rlim_cur: 0, rlim_max: 0 };
        let mut all = [ENDLESS; COUNT];
        let fixed = [
            (libc::RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
            (libc::RLIMIT_CORE, 0, RLIM_INFINITY),
            (libc::RLIMIT_NPROC, 31_000, 31_000),
            (libc::RLIMIT_NOFILE, 1024, MOST_DESCRIPTORS),
            (libc::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
            (libc::RLIMIT_SIGPENDING, 31_000, 31_000),
            (libc::RLIMIT_MSGQUEUE, 819_200, 819_200),
        ];
        for (resource, rlim_cur, rlim_max) in fixed {
            all[resource as usize] = rlimit { rlim_cur, rlim_max };
        }
        all[libc::RLIMIT_NICE as usize] = NONE;
        all[libc::RLIMIT_RTPRIO as usize] = NONE;
        Self(all)
    }
}

impl ResourceLimits {
    /// A limit.
    ///
    /// # Errors
    /// `EINVAL` if there is no such resource.
    pub(crate) fn get(&self, resource: u32) -> Result<rlimit, Errno> {
        self.0.get(resource as usize).copied().ok_or(Errno::EINVAL)
    }

    /// Sets a limit, as root may.
    ///
    /// # Errors
    /// `EINVAL` if there is no such resource, or if the soft limit is above the hard one; `EPERM`
    /// for more descriptors than the kernel allows.
    pub(crate) fn set(&mut self, resource: u32, limit: rlimit) -> Result<(), Errno> {
        let at = self.0.get_mut(resource as usize).ok_or(Errno::EINVAL)?;
        if limit.rlim_cur > limit.rlim_max {
            return Err(Errno::EINVAL);
        }
        if resource == libc::RLIMIT_NOFILE && limit.rlim_max > MOST_DESCRIPTORS {
            return Err(Errno::EPERM);
        }
        *at = limit;
        Ok(())
    }

    /// How many descriptors may be open.
    pub(crate) fn descriptors(&self) -> usize {
        self.0[libc::RLIMIT_NOFILE as usize].rlim_cur as usize
    }
}
