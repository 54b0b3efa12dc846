//! Downloads over HTTP.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use super::super::as_user::{Cancelled, blocking};
use super::cache::CHUNK;
use super::{FetchError, io_result};
use crate::hex::hex;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the headers are there; the body may take as long as it needs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

enum Outcome {
    Done(String),
    Refused(String),
}

/// Downloads into a new file and returns the content's SHA-256.
pub(super) async fn download(uri: &str, into: &Path) -> Result<String, FetchError> {
    let (uri, target) = (uri.to_string(), into.to_owned());
    let outcome = blocking(move |cancelled| get(&uri, &target, cancelled)).await;
    match io_result(outcome, "write", into)? {
        Outcome::Done(hash) => Ok(hash),
        Outcome::Refused(problem) => Err(FetchError::Refused(problem)),
    }
}

/// Errors are those of the local file; what the other side does wrong is an outcome.
fn get(uri: &str, into: &Path, cancelled: &Cancelled) -> io::Result<Outcome> {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
        .build();
    let mut response = match Agent::from(config).get(uri).call() {
        Ok(response) => response,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let mut body = response.body_mut().as_reader();
    let mut file = File::create(into)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        cancelled.check()?;
        match body.read(&mut chunk) {
            Ok(0) => return Ok(Outcome::Done(hex(&hash.finalize()))),
            Ok(length) => {
                hash.update(&chunk[..length]);
                file.write_all(&chunk[..length])?;
            }
            Err(error) => return Ok(Outcome::Refused(format!("the download broke off: {error}"))),
        }
    }
}
