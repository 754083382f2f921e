//! One run of a program, from its start until nothing of it is left.

use std::{io, process::ExitStatus};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStderr, ChildStdin, ChildStdout},
};

use crate::{
    lines::Lines,
    process::{Pipes, Process},
    program::Program,
};

/// What there is to read at a time.
const CHUNK: usize = 64 << 10;
/// What is still read from standard error after the end: as much as a pipe holds (pipe(7), `pipe-max-size`).
const MAX_REST: usize = 1 << 20;

/// How a run ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) output: Vec<u8>,
    /// The last that it said to people.
    pub(crate) last_line: Option<String>,
}

/// Why a run did not come to its end.
pub(crate) enum Interrupted {
    NotStarted(io::Error),
    /// It printed more than it may.
    TooLong,
    /// The pipes to it are broken.
    Pipe(io::Error),
}

/// Runs `program` for `request`. Ends when the process ends: what it left running is killed, and only what it has printed
/// by then counts. If this future is dropped, everything is killed at once.
pub(crate) async fn run(program: &Program, request: &str) -> Result<Finished, Interrupted> {
    let (mut process, pipes) = Process::start(program.command(request)).map_err(Interrupted::NotStarted)?;
    let Pipes { stdin, mut stdout, mut stderr } = pipes;
    let mut output = Output { bytes: Vec::new(), limit: program.max_output };
    let mut lines = Lines::default();
    let pump = async {
        // All at once: a program may print before it has read, and say much before it prints.
        tokio::try_join!(feed(stdin, &program.input), output.fill(&mut stdout), follow(&mut stderr, &mut lines))
    };
    let outcome = tokio::select! {
        ended = process.ended() => ended.map_err(Interrupted::Pipe),
        // It may have closed its streams and still do something.
        pumped = pump => match pumped {
            Ok(_) => process.ended().await.map_err(Interrupted::Pipe),
            Err(interrupted) => Err(interrupted),
        },
    };
    process.kill();
    let outcome = outcome.and_then(|()| {
        // Whoever still holds the other end has left the group; its end is not waited for.
        output.rest(&stdout)?;
        rest(&stderr, &mut lines).map_err(Interrupted::Pipe)
    });
    let status = process.finish().await.map_err(Interrupted::Pipe);
    outcome?;
    Ok(Finished { status: status?, output: output.bytes, last_line: lines.end() })
}

/// A program that does not want its settings need not read them.
async fn feed(mut stdin: ChildStdin, input: &[u8]) -> Result<(), Interrupted> {
    match stdin.write_all(input).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Interrupted::Pipe(error)),
        _ => Ok(()),
    }
}

struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

impl Output {
    async fn fill(&mut self, stdout: &mut ChildStdout) -> Result<(), Interrupted> {
        loop {
            self.bytes.reserve(CHUNK);
            if stdout.read_buf(&mut self.bytes).await.map_err(Interrupted::Pipe)? == 0 {
                return Ok(());
            }
            self.check()?;
        }
    }

    /// What is in the pipe already.
    fn rest(&mut self, stdout: &ChildStdout) -> Result<(), Interrupted> {
        let mut chunk = vec![0; CHUNK];
        while let Some(read) = read_now(stdout, &mut chunk).map_err(Interrupted::Pipe)? {
            self.bytes.extend_from_slice(&chunk[..read]);
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Interrupted> {
        if self.bytes.len() > self.limit { Err(Interrupted::TooLong) } else { Ok(()) }
    }
}

async fn follow(stderr: &mut ChildStderr, lines: &mut Lines) -> Result<(), Interrupted> {
    let mut chunk = [0; 4096];
    loop {
        match stderr.read(&mut chunk).await.map_err(Interrupted::Pipe)? {
            0 => return Ok(()),
            read => lines.push(&chunk[..read]),
        }
    }
}

fn rest(stderr: &ChildStderr, lines: &mut Lines) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut total = 0;
    while total < MAX_REST
        && let Some(read) = read_now(stderr, &mut chunk)?
    {
        lines.push(&chunk[..read]);
        total += read;
    }
    Ok(())
}

/// What can be read without waiting; `None` at the end, and where there is nothing now. Not through tokio, which may not
/// know yet that there is something. The pipes do not block (tokio sets them so).
fn read_now(pipe: &impl std::os::fd::AsFd, chunk: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match rustix::io::read(pipe, &mut *chunk) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Ok(read) => return Ok(Some(read)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
