//! The other side: calls out, answers in. For tests, and for whoever asks a running instance.

use prost::Message;
use thiserror::Error;

use super::digest;
use super::frame::{AUTH_NONE, AUTH_SASL, CONTEXT, FrameError, Frames, MAGIC, SASL, VERSION, packet, take, take_bytes};
use crate::messages::Exception;
use crate::messages::yarn::rpc_response_header_proto::RpcStatusProto;
use crate::messages::yarn::rpc_sasl_proto::SaslState;
use crate::messages::yarn::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, RpcResponseHeaderProto,
    RpcSaslProto, UserInformationProto,
};
use crate::writable::Token;

/// A connection to a server of Hadoop RPC.
#[derive(Debug)]
pub struct Client {
    protocol: String,
    user: String,
    client_id: Vec<u8>,
    token: Option<(Token, String)>,
    frames: Frames,
    last_call: i32,
}

/// What a server said.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// Send these: SASL goes on.
    Send(Vec<u8>),
    /// Calls may be made from now on; send these before the first.
    Ready(Vec<u8>),
    /// To the call of this number.
    Answer(i32, Result<Vec<u8>, Exception>),
}

/// The server can't be understood, or refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Its bytes are wrong.
    #[error("the server's answer can't be read: {0}")]
    Frame(#[from] FrameError),
    /// It has ended the connection.
    #[error("the server refuses: {message} ({class})")]
    Refused {
        /// The Java class of its exception.
        class: String,
        /// What it says.
        message: String,
    },
    /// It wants what this client can't do.
    #[error("the server wants {wanted}, not a token by DIGEST-MD5")]
    Method {
        /// Its methods.
        wanted: String,
    },
}

impl Client {
    /// A client of the protocol with this Java name. `client_id` is 16 bytes that no other client has.
    pub fn new(protocol: &str, user: &str, client_id: [u8; 16]) -> Self {
        Self {
            protocol: protocol.to_string(),
            user: user.to_string(),
            client_id: client_id.to_vec(),
            token: None,
            frames: Frames::default(),
            last_call: 0,
        }
    }

    /// It shows a token. The nonce is never used twice.
    #[must_use]
    pub fn with_token(self, token: Token, nonce: &str) -> Self {
        Self { token: Some((token, nonce.to_string())), ..self }
    }

    /// The first bytes. Without a token calls may follow at once.
    pub fn open(&self) -> Vec<u8> {
        let preamble = |auth: u8| [MAGIC.as_slice(), &[VERSION, 0, auth]].concat();
        match &self.token {
            None => [preamble(AUTH_NONE), self.context()].concat(),
            Some(_) => [preamble(AUTH_SASL), self.sasl(SaslState::Negotiate, None)].concat(),
        }
    }

    /// The bytes of a call, and its number.
    pub fn call(&mut self, method: &str, argument: &impl Message) -> (i32, Vec<u8>) {
        self.last_call += 1;
        let request = RequestHeaderProto {
            method_name: method.to_string(),
            declaring_class_protocol_name: self.protocol.clone(),
            client_protocol_version: 1,
        };
        let bodies = [request.encode_to_vec(), argument.encode_to_vec()];
        (self.last_call, packet(&self.header(self.last_call), &[&bodies[0], &bodies[1]]))
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// The server has refused, or can't be understood: the connection is over.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, ClientError> {
        self.frames.push(bytes);
        let mut replies = Vec::new();
        while let Some(packet) = self.frames.packet()? {
            replies.push(self.packet(&packet)?);
        }
        Ok(replies)
    }

    fn packet(&self, packet: &[u8]) -> Result<Reply, ClientError> {
        let mut rest = packet;
        let header: RpcResponseHeaderProto = take(&mut rest, "header")?;
        let exception = || Exception::new(header.exception_class_name(), header.error_msg());
        let call = header.call_id.cast_signed();
        match header.status() {
            RpcStatusProto::Fatal => {
                let Exception { class, message } = exception();
                Err(ClientError::Refused { class, message })
            }
            RpcStatusProto::Error => Ok(Reply::Answer(call, Err(exception()))),
            RpcStatusProto::Success if call == SASL => self.negotiated(&take(&mut rest, "SASL message")?),
            RpcStatusProto::Success => Ok(Reply::Answer(call, Ok(take_bytes(&mut rest, "answer")?))),
        }
    }

    fn negotiated(&self, said: &RpcSaslProto) -> Result<Reply, ClientError> {
        if said.state() == SaslState::Success {
            return Ok(Reply::Ready(self.context()));
        }
        let ours = said.auths.iter().find(|auth| auth.mechanism == "DIGEST-MD5");
        let response = ours.zip(self.token.as_ref()).and_then(|(auth, (token, nonce))| {
            let response = digest::respond(auth.challenge(), &token.identifier, &token.password, nonce)?;
            Some(self.sasl(SaslState::Initiate, Some(response)))
        });
        let wanted = || said.auths.iter().map(|auth| auth.method.as_str()).collect::<Vec<_>>().join(", ");
        response.map(Reply::Send).ok_or_else(|| ClientError::Method { wanted: wanted() })
    }

    fn sasl(&self, state: SaslState, token: Option<Vec<u8>>) -> Vec<u8> {
        let said = RpcSaslProto { version: Some(0), state: state.into(), token, auths: Vec::new() };
        packet(&self.header(SASL), &[&said.encode_to_vec()])
    }

    fn context(&self) -> Vec<u8> {
        let user = UserInformationProto { effective_user: Some(self.user.clone()), real_user: None };
        let context = IpcConnectionContextProto { user_info: Some(user), protocol: Some(self.protocol.clone()) };
        packet(&self.header(CONTEXT), &[&context.encode_to_vec()])
    }

    fn header(&self, call: i32) -> RpcRequestHeaderProto {
        RpcRequestHeaderProto {
            rpc_kind: Some(RpcKindProto::RpcProtocolBuffer.into()),
            call_id: call,
            client_id: self.client_id.clone(),
            retry_count: Some(0),
            ..RpcRequestHeaderProto::default()
        }
    }
}
