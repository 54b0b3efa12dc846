//! One connection of a client, from its first byte on.

use prost::Message;

use super::frame::{
    AUTH_NONE, AUTH_SASL, CONTEXT, Frames, MAGIC, NO_CALL, PING, SASL, VERSION, packet, take, take_bytes,
};
use super::{class, digest};
use crate::messages::Exception;
use crate::messages::yarn::rpc_response_header_proto::{RpcErrorCodeProto as Code, RpcStatusProto as Status};
use crate::messages::yarn::rpc_sasl_proto::{SaslAuth, SaslState};
use crate::messages::yarn::{
    IpcConnectionContextProto, RequestHeaderProto, RpcRequestHeaderProto, RpcResponseHeaderProto, RpcSaslProto,
};

const PREAMBLE_BYTES: usize = 7;

/// What a server wants of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They say who they are.
    Simple,
    /// They prove that they hold a token.
    Token,
}

/// The password of a token's identifier; none for one that nobody made.
pub type Passwords<'a> = dyn Fn(&[u8]) -> Option<Vec<u8>> + 'a;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send these.
    Bytes(Vec<u8>),
    /// Answer this, some time, by [`Connection::answer`].
    Call(Incoming),
    /// Close the connection when all is sent. The line is for a log.
    Close(String),
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// What the answer needs.
    pub key: CallKey,
    /// The last part of its Java name: `ApplicationClientProtocolPB`.
    pub protocol: String,
    /// Its name.
    pub method: String,
    /// The message of that method.
    pub argument: Vec<u8>,
    /// Who calls.
    pub caller: Caller,
}

/// Which call an answer belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallKey {
    id: i32,
    client: Vec<u8>,
    retry: i32,
}

/// Who speaks on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// As it says; with a token, as it says too.
    pub user: String,
    /// The identifier of the token that it has proved to hold.
    pub token: Option<Vec<u8>>,
}

/// A connection. See the folder's picture.
#[derive(Debug)]
pub struct Connection {
    access: Access,
    nonce: String,
    frames: Frames,
    stage: Stage,
    caller: Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preamble,
    /// SASL goes on until it has succeeded.
    Sasl,
    Calls,
    Closed,
}

/// Why a connection ends.
struct Refusal {
    status: Code,
    exception: Exception,
}

impl Connection {
    /// A new one. The nonce is never used twice.
    pub fn new(access: Access, nonce: String) -> Self {
        let (frames, caller) = (Frames::default(), Caller::default());
        Self { access, nonce, frames, stage: Stage::Preamble, caller }
    }

    /// Takes what has arrived.
    pub fn receive(&mut self, bytes: &[u8], passwords: &Passwords<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        if self.stage == Stage::Closed {
            // Nobody reads it any more: it isn't kept either.
            return out;
        }
        self.frames.push(bytes);
        if self.stage == Stage::Preamble {
            self.preamble(&mut out);
        }
        while matches!(self.stage, Stage::Sasl | Stage::Calls) {
            match self.frames.packet().map_err(|error| refuse(Code::FatalInvalidRpcHeader, class::IO, error)) {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    if let Err(refusal) = self.packet(&packet, passwords, &mut out) {
                        self.close(refusal, &mut out);
                    }
                }
                Err(refusal) => self.close(refusal, &mut out),
            }
        }
        out
    }

    /// The bytes of a call's answer.
    pub fn answer(key: &CallKey, result: Result<&[u8], &Exception>) -> Vec<u8> {
        let header = header(key.id, &key.client, key.retry);
        match result {
            Ok(value) => packet(&header, &[value]),
            Err(exception) => packet(&with_error(header, Status::Error, Code::ErrorApplication, exception), &[]),
        }
    }

    fn preamble(&mut self, out: &mut Vec<Output>) {
        let Some(preamble) = self.frames.bytes(PREAMBLE_BYTES) else { return };
        let auth = preamble[6];
        let refusal = if &preamble[..4] != MAGIC {
            self.stage = Stage::Closed;
            return out.push(Output::Close(format!("not Hadoop RPC: it begins with {preamble:02x?}")));
        } else if preamble[4] != VERSION {
            let line = format!("version {} of Hadoop RPC is not spoken here, only {VERSION}", preamble[4]);
            refuse(Code::FatalVersionMismatch, "org.apache.hadoop.ipc.RPC$VersionMismatch", line)
        } else if auth == AUTH_SASL {
            self.stage = Stage::Sasl;
            return;
        } else if auth == AUTH_NONE && self.access == Access::Simple {
            self.stage = Stage::Calls;
            return;
        } else {
            let line = "SIMPLE authentication is not enabled.  Available:[TOKEN]";
            refuse(Code::FatalUnauthorized, class::ACCESS_CONTROL, line)
        };
        self.close(refusal, out);
    }

    fn packet(&mut self, packet: &[u8], passwords: &Passwords<'_>, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let mut rest = packet;
        let header: RpcRequestHeaderProto = take(&mut rest, "header").map_err(unreadable)?;
        match (header.call_id, self.stage) {
            (SASL, Stage::Sasl) => {
                let said = take(&mut rest, "SASL message").map_err(unreadable)?;
                self.sasl(&header, &said, passwords, out)
            }
            (_, Stage::Sasl) => {
                Err(refuse(Code::FatalUnauthorized, class::ACCESS_CONTROL, "a call before SASL has ended"))
            }
            (CONTEXT, _) => {
                let context: IpcConnectionContextProto = take(&mut rest, "context").map_err(unreadable)?;
                let user = context.user_info.unwrap_or_default();
                self.caller.user = user.effective_user.or(user.real_user).unwrap_or_default();
                Ok(())
            }
            (PING, _) => Ok(()),
            (id, _) if id >= 0 => {
                out.push(Output::Call(self.call(&header, rest)?));
                Ok(())
            }
            (id, _) => Err(refuse(Code::FatalInvalidRpcHeader, class::IO, format!("no call has the id {id}"))),
        }
    }

    fn call(&self, header: &RpcRequestHeaderProto, mut rest: &[u8]) -> Result<Incoming, Refusal> {
        let request: RequestHeaderProto = take(&mut rest, "request header").map_err(unreadable)?;
        let argument = take_bytes(&mut rest, "argument").map_err(unreadable)?;
        let protocol = request.declaring_class_protocol_name;
        Ok(Incoming {
            key: CallKey { id: header.call_id, client: header.client_id.clone(), retry: header.retry_count() },
            protocol: protocol.rsplit('.').next().unwrap_or_default().to_string(),
            method: request.method_name,
            argument,
            caller: self.caller.clone(),
        })
    }

    fn sasl(
        &mut self,
        header: &RpcRequestHeaderProto,
        said: &RpcSaslProto,
        passwords: &Passwords<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let reply = match (said.state(), self.access) {
            // Whoever knows no token goes on as it would have without SASL.
            (SaslState::Negotiate, Access::Simple) => {
                self.stage = Stage::Calls;
                sasl_message(SaslState::Success)
            }
            (SaslState::Negotiate, Access::Token) => RpcSaslProto {
                auths: vec![SaslAuth {
                    method: "TOKEN".into(),
                    mechanism: "DIGEST-MD5".into(),
                    protocol: Some(String::new()),
                    server_id: Some("default".into()),
                    challenge: Some(digest::challenge(&self.nonce).into_bytes()),
                }],
                ..sasl_message(SaslState::Negotiate)
            },
            (SaslState::Initiate | SaslState::Response, Access::Token) => {
                let checked = digest::check(said.token(), &self.nonce, passwords);
                let wrong = || refuse(Code::FatalUnauthorized, class::INVALID_TOKEN, "the token is not one of ours");
                let (identifier, proof) = checked.ok_or_else(wrong)?;
                self.caller.token = Some(identifier);
                self.stage = Stage::Calls;
                RpcSaslProto { token: Some(proof), ..sasl_message(SaslState::Success) }
            }
            (state, _) => {
                let line = format!("SASL's {} has no place here", state.as_str_name());
                return Err(refuse(Code::FatalUnauthorized, class::ACCESS_CONTROL, line));
            }
        };
        let header = self::header(SASL, &header.client_id, header.retry_count());
        out.push(Output::Bytes(packet(&header, &[&reply.encode_to_vec()])));
        Ok(())
    }

    fn close(&mut self, refusal: Refusal, out: &mut Vec<Output>) {
        let Refusal { status, exception } = refusal;
        // The id of SASL where the client waits for its answer; else one that no call has.
        let id = if self.stage == Stage::Sasl { SASL } else { NO_CALL };
        self.stage = Stage::Closed;
        out.push(Output::Bytes(packet(&with_error(header(id, &[], -1), Status::Fatal, status, &exception), &[])));
        out.push(Output::Close(exception.message));
    }
}

fn unreadable(error: super::FrameError) -> Refusal {
    refuse(Code::FatalDeserializingRequest, class::IO, error)
}

fn refuse(status: Code, class: &str, message: impl ToString) -> Refusal {
    Refusal { status, exception: Exception::new(class, message.to_string()) }
}

fn sasl_message(state: SaslState) -> RpcSaslProto {
    RpcSaslProto { version: Some(0), state: state.into(), token: None, auths: Vec::new() }
}

fn header(call: i32, client: &[u8], retry: i32) -> RpcResponseHeaderProto {
    RpcResponseHeaderProto {
        // The request's is signed with zigzag, the response's is not.
        call_id: call.cast_unsigned(),
        status: Status::Success.into(),
        server_ipc_version_num: Some(VERSION.into()),
        client_id: Some(client.to_vec()),
        retry_count: Some(retry),
        ..RpcResponseHeaderProto::default()
    }
}

fn with_error(
    header: RpcResponseHeaderProto,
    status: Status,
    detail: Code,
    exception: &Exception,
) -> RpcResponseHeaderProto {
    RpcResponseHeaderProto {
        status: status.into(),
        exception_class_name: Some(exception.class.clone()),
        error_msg: Some(exception.message.clone()),
        error_detail: Some(detail.into()),
        ..header
    }
}
