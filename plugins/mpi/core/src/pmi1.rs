//! The wire of PMI-1, the protocol between an MPICH-like library and its launcher: lines of `cmd=name key=value …`.
//!
//! Only what the libraries send is understood; an answer is made for every request, also for those that are refused, because
//! a rank waits for it without end.

use thiserror::Error;

/// The longest line that is accepted, in bytes. MPICH's own lines stay below 2,048.
pub const LINE_BYTES_MAX: usize = 8192;
/// The longest key, told to the library.
pub const KEY_BYTES_MAX: usize = 64;
/// The longest value, told to the library.
pub const VALUE_BYTES_MAX: usize = 1024;
/// The name of the one key-value space, for a job that brings none.
pub const KVS_NAME: &str = "kvs_0";

/// What a rank asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// First of all.
    Init,
    /// How long keys and values may be.
    GetMaxes,
    /// Which of several programs of one job it is; always the first.
    GetAppnum,
    /// The name of the key-value space.
    GetKvsName,
    /// How many ranks there could be.
    GetUniverseSize,
    /// Publishes a value.
    Put {
        /// Its name.
        key: Vec<u8>,
        /// All up to the end of the line, `=` included.
        value: Vec<u8>,
    },
    /// Wants a value.
    Get {
        /// Its name.
        key: Vec<u8>,
    },
    /// Waits for all ranks; values that were put before are seen after.
    Barrier,
    /// Leaves MPI in good order.
    Finalize,
    /// Wants the whole job to end. No answer is awaited.
    Abort {
        /// Of the job.
        exit_code: i32,
        /// Why, if the library says it.
        message: Option<Vec<u8>>,
    },
    /// A request that is answered by a refusal.
    Refused {
        /// The name that the answer must bear.
        answer: &'static str,
        /// What is refused.
        what: &'static str,
    },
}

/// Why a rank's bytes are no PMI-1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// No line end within the bound.
    #[error("a PMI line longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A line without `cmd=` or without something that its command needs.
    #[error("the PMI line {line:?}, which lacks {missing}")]
    Incomplete {
        /// The line, as far as it is text.
        line: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A command that no library sends.
    #[error("the unknown PMI command {command:?}")]
    Unknown {
        /// Its name.
        command: String,
    },
}

/// Cuts a rank's bytes into requests.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    spawn: Option<Spawn>,
}

/// A spawn request whose lines are still coming: one block for each program, of which the last is answered.
#[derive(Debug, Default)]
struct Spawn {
    total: Option<u64>,
    so_far: Option<u64>,
}

impl Reader {
    /// Takes bytes in.
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next request, if it is complete.
    ///
    /// # Errors
    /// When the bytes are no PMI-1; the reader is of no use afterwards.
    pub fn next_request(&mut self) -> Result<Option<Request>, WireError> {
        loop {
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                return if self.buffer.len() > LINE_BYTES_MAX { Err(WireError::TooLong) } else { Ok(None) };
            };
            if end > LINE_BYTES_MAX {
                return Err(WireError::TooLong);
            }
            let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
            if let Some(request) = self.line(&line)? {
                return Ok(Some(request));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Request>, WireError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match &mut self.spawn {
            Some(_) if line == b"endcmd" => Ok(self.spawn.take().filter(Spawn::is_last).map(|_| SPAWN_REFUSED)),
            Some(spawn) => {
                spawn.line(line);
                Ok(None)
            }
            None if line.starts_with(b"mcmd=") => {
                self.spawn = Some(Spawn::default());
                Ok(None)
            }
            None => parse(line).map(Some),
        }
    }
}

const SPAWN_REFUSED: Request = Request::Refused { answer: "spawn_result", what: "spawning more ranks" };

impl Spawn {
    fn line(&mut self, line: &[u8]) {
        self.total = number(line, b"totspawns=").or(self.total);
        self.so_far = number(line, b"spawnssofar=").or(self.so_far);
    }

    fn is_last(&self) -> bool {
        self.so_far >= self.total
    }
}

fn number(line: &[u8], prefix: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.strip_prefix(prefix)?).ok()?.trim().parse().ok()
}

/// Reads one line, without its end.
///
/// # Errors
/// When it is no request of PMI-1.
pub fn parse(line: &[u8]) -> Result<Request, WireError> {
    let incomplete = |missing| WireError::Incomplete { line: String::from_utf8_lossy(line).into_owned(), missing };
    let key = || field(line, b"key").map(<[u8]>::to_vec).ok_or_else(|| incomplete("key"));
    let command = field(line, b"cmd").ok_or_else(|| incomplete("cmd"))?;
    Ok(match command {
        b"init" => Request::Init,
        b"get_maxes" => Request::GetMaxes,
        b"get_appnum" => Request::GetAppnum,
        b"get_my_kvsname" => Request::GetKvsName,
        b"get_universe_size" => Request::GetUniverseSize,
        b"put" => Request::Put { key: key()?, value: rest(line, b" value=").ok_or_else(|| incomplete("value"))? },
        b"get" => Request::Get { key: key()? },
        b"barrier_in" => Request::Barrier,
        b"finalize" => Request::Finalize,
        b"abort" => Request::Abort { exit_code: exit_code(line), message: rest(line, b" message=") },
        b"publish_name" => Request::Refused { answer: "publish_result", what: "publishing a service name" },
        b"unpublish_name" => Request::Refused { answer: "unpublish_result", what: "publishing a service name" },
        b"lookup_name" => Request::Refused { answer: "lookup_result", what: "looking a service name up" },
        b"spawn" => SPAWN_REFUSED,
        other => return Err(WireError::Unknown { command: String::from_utf8_lossy(other).into_owned() }),
    })
}

/// An abort without a code is a failure all the same.
fn exit_code(line: &[u8]) -> i32 {
    let code = field(line, b"exitcode").and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
    code.unwrap_or(1)
}

/// The value of a key, up to the next space; split once, since values may hold `=`.
fn field<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    line.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(name)?.strip_prefix(b"="))
}

/// All that follows, spaces included.
fn rest(line: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
    let at = line.windows(prefix.len()).position(|window| window == prefix)?;
    Some(line[at + prefix.len()..].to_vec())
}

/// What is said to a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `Init`.
    Init,
    /// To `GetMaxes`.
    Maxes,
    /// To `GetAppnum`.
    Appnum,
    /// To `GetKvsName`.
    KvsName(String),
    /// To `GetUniverseSize`.
    UniverseSize(u32),
    /// To `Put`.
    Put,
    /// To `Put` with a key or value longer than the library was told.
    PutRefused,
    /// To `Get`.
    Got(Vec<u8>),
    /// To `Get` of a key that nobody has put.
    GotNothing,
    /// All ranks are at the barrier.
    BarrierOut,
    /// To `Finalize`; the rank may go.
    Finalized,
    /// To `Refused`.
    Refused {
        /// The name that the answer bears.
        answer: &'static str,
        /// What is refused.
        what: &'static str,
    },
}

impl Reply {
    /// The line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        match self {
            Self::Init => b"cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n".to_vec(),
            Self::Maxes => {
                format!("cmd=maxes kvsname_max=256 keylen_max={KEY_BYTES_MAX} vallen_max={VALUE_BYTES_MAX}\n")
                    .into_bytes()
            }
            Self::Appnum => b"cmd=appnum appnum=0\n".to_vec(),
            Self::KvsName(name) => format!("cmd=my_kvsname kvsname={name}\n").into_bytes(),
            Self::UniverseSize(size) => format!("cmd=universe_size size={size}\n").into_bytes(),
            Self::Put => b"cmd=put_result rc=0 msg=success\n".to_vec(),
            Self::PutRefused => b"cmd=put_result rc=-1 msg=key_or_value_too_long\n".to_vec(),
            Self::Got(value) => [b"cmd=get_result rc=0 msg=success value=", value.as_slice(), b"\n"].concat(),
            Self::GotNothing => b"cmd=get_result rc=-1 msg=key_not_found value=unknown\n".to_vec(),
            Self::BarrierOut => b"cmd=barrier_out rc=0\n".to_vec(),
            Self::Finalized => b"cmd=finalize_ack rc=0\n".to_vec(),
            Self::Refused { answer, what } => {
                format!("cmd={answer} rc=-1 msg={}_is_not_supported\n", what.replace(' ', "_")).into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests;
