//! Names of users.

use std::ffi::CStr;

/// Longest record of a user that is read.
const LONGEST: usize = 1 << 20;

/// The name of a user; none if the system knows none, or cannot say. It may ask the network: not for threads that must not wait.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let mut buffer: Vec<libc::c_char> = vec![0; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: `entry`, `buffer` (with its true length) and `found` outlive the call and are not aliased.
        let code = unsafe {
            libc::getpwuid_r(
                uid,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match code {
            0 if found.is_null() => return None,
            0 => {
                // SAFETY: on success with a non-null `found`, getpwuid_r has filled `entry`; its name is a C string in `buffer`.
                let name = unsafe { CStr::from_ptr(entry.assume_init().pw_name) };
                return name.to_str().ok().map(str::to_owned);
            }
            libc::ERANGE if buffer.len() < LONGEST => buffer.resize(buffer.len() * 2, 0),
            _ => return None,
        }
    }
}
