//! Leaving the bed as it was found, however a test ends.

/// Runs its function when it goes out of scope, after a panic too.
#[must_use = "it cleans up at once if it is not kept"]
pub struct Cleanup<F: FnMut()>(F);

impl<F: FnMut()> Cleanup<F> {
    /// Keeps `clean` for the end.
    pub fn new(clean: F) -> Self {
        Self(clean)
    }
}

impl<F: FnMut()> Drop for Cleanup<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
