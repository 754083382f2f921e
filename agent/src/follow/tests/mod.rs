//! Time stands still but for waiting, so that each test knows when what happens.

mod looks;
mod scopes;
mod scripted;
mod streams;
