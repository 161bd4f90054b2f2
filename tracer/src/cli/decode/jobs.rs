//! Decodes several files at once, and prints their requests in the order of the files.

use std::{
    io::{self, Write},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Maximum number of threads.
pub(super) const MAX: u16 = 256;

/// Output that is written at once.
const CHUNK: usize = 64 << 10;

/// Output of a file that is kept until the files before it are done. Its thread waits then.
const MAX_KEPT: usize = 16 << 20;

/// Stack of a thread: that of the main thread, so that files of any nesting can be read.
const STACK: usize = 8 << 20;

/// The file whose output is written next.
#[derive(Debug, Default)]
struct Turn {
    next: Mutex<usize>,
    changed: Condvar,
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of(&self, file: usize) -> bool {
        *self.lock() == file
    }

    fn wait_for(&self, file: usize) {
        let is_other = |next: &mut usize| *next != file;
        drop(self.changed.wait_while(self.lock(), is_other));
    }
}

/// The output of one file, which follows that of the files before it.
struct Ordered<'t, W: Write> {
    file: usize,
    turn: &'t Turn,
    to: &'t Mutex<W>,
    kept: Vec<u8>,
}

impl<W: Write> Ordered<'_, W> {
    fn write_kept(&mut self) -> io::Result<()> {
        let kept = std::mem::take(&mut self.kept);
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(&kept)?;
        to.flush()
    }

    /// Writes the rest, and lets the next file write.
    fn finish(&mut self) -> io::Result<()> {
        self.turn.wait_for(self.file);
        self.write_kept()
    }
}

impl<W: Write> Drop for Ordered<'_, W> {
    fn drop(&mut self) {
        // Also after an error or a panic, or the other threads would wait for ever.
        self.turn.wait_for(self.file);
        *self.turn.lock() += 1;
        self.turn.changed.notify_all();
    }
}

impl<W: Write> Write for Ordered<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() >= MAX_KEPT {
            self.turn.wait_for(self.file);
        }
        if self.kept.len() >= CHUNK && self.turn.is_of(self.file) {
            self.write_kept()?;
        }
        Ok(bytes.len())
    }

    /// Writes what is kept, if it is the turn of this file.
    fn flush(&mut self) -> io::Result<()> {
        if self.turn.is_of(self.file) { self.write_kept() } else { Ok(()) }
    }
}

/// Calls `each` with every item in up to `jobs` threads. What it writes follows what was written for
/// the items before. Returns the results in the order of the items. After a failure, no further
/// item is begun.
pub(super) fn in_order<T: Send, R: Send, W: Write + Send>(
    items: Vec<T>,
    jobs: u16,
    to: W,
    each: impl Fn(T, &mut dyn Write) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let threads = items.len().min(jobs.into()).max(1);
    let (turn, to) = (Turn::default(), Mutex::new(to));
    let (items, failed) = (Mutex::new(items.into_iter().enumerate()), Mutex::new(false));
    let results = Mutex::new(Vec::new());
    let lock_failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || loop {
        let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((file, item)) = next.filter(|_| !*lock_failed()) else { return };
        let mut out = Ordered { file, turn: &turn, to: &to, kept: Vec::new() };
        let result = each(item, &mut out).and_then(|result| {
            out.finish()?;
            Ok(result)
        });
        *lock_failed() |= result.is_err();
        drop(out);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((file, result));
    };
    thread::scope(|scope| -> io::Result<()> {
        for _ in 1..threads {
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        }
        work();
        Ok(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(file, _)| *file);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Writes several chunks for each item, the first items the slowest.
    fn write(item: usize, out: &mut dyn Write) -> anyhow::Result<usize> {
        for n in 0..40 {
            if n % 8 == 0 && item < 4 {
                thread::sleep(Duration::from_millis(4 - item as u64));
            }
            writeln!(out, "{item}:{}", "x".repeat(CHUNK / 8))?;
        }
        Ok(item)
    }

    #[test]
    fn output_is_in_the_order_of_the_items() {
        let mut alone = Vec::new();
        let results = in_order((0..20).collect(), 1, &mut alone, write).unwrap();
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        for jobs in [2, 7, 40] {
            let mut out = Vec::new();
            assert_eq!(in_order((0..20).collect(), jobs, &mut out, write).unwrap(), results);
            assert_eq!(out, alone, "{jobs}");
        }
    }

    #[test]
    fn a_failure_ends_the_work_and_keeps_what_was_before() {
        for jobs in [1, 3] {
            let mut out = Vec::new();
            let result =
                in_order((0..20).collect(), jobs, &mut out, |item, out: &mut dyn Write| {
                    writeln!(out, "{item}")?;
                    anyhow::ensure!(item != 5, "stopped");
                    Ok(())
                });
            assert!(result.is_err());
            assert!(out.starts_with(b"0\n1\n2\n3\n4\n"), "{out:?}");
        }
    }
}
