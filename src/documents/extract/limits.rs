//! How much one document may cost, in one place.
//!
//! The same numbers bind both sides: the child enforces them on itself before it reads, and the
//! parent checks what it can see from outside (bytes in, bytes out, time). They are not settings: a
//! larger limit than the ones tested against hostile files would be a promise nobody checked.

use std::time::Duration;

/// Ceilings for one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the uploaded file in bytes.
    pub input_bytes: usize,
    /// Pages in a PDF.
    pub pages: usize,
    /// Extracted text of all pages together, in bytes of UTF-8.
    pub text_bytes: usize,
    /// Virtual memory of the child in bytes: the program itself, the file, its stack and its heap.
    pub address_space_bytes: u64,
    /// Stack of the parsing thread in bytes; part of the address space.
    pub stack_bytes: usize,
    /// Processor time of the child in seconds.
    pub cpu_seconds: u64,
    /// Time from starting the child to its last byte, for a child that sleeps or is starved.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 25 * 1024 * 1024,
            pages: 500,
            text_bytes: 5 * 1024 * 1024,
            address_space_bytes: 768 * 1024 * 1024,
            stack_bytes: 64 * 1024 * 1024,
            cpu_seconds: 20,
            wall: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Most bytes of JSON that an honest child can write: a character of text takes two at most
    /// once control characters are gone, a page's own keys fit in 64.
    pub(super) fn output_bytes(&self) -> usize {
        2 * self.text_bytes + 64 * self.pages + 4096
    }
}
