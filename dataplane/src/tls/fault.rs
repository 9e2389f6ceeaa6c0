//! Why a TLS connection failed, as a closed set: the label of a metric, and words that name the mend.
//!
//! Owns: the reading of rustls' errors, of which there are hundreds, as the few that an operator can act on.
//! Must not: quote a certificate, a name or anything else a peer sent.
//! Read next: `session.rs`, where they arise.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Which end of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of a caller's connection.
    Server,
    /// Of a connection to an endpoint.
    Client,
}

/// Why there is no TLS connection, or no longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer's certificate is signed by nobody that is trusted here.
    UnknownIssuer,
    /// The peer's certificate is signed by itself.
    SelfSigned,
    /// The peer's certificate is for another name.
    WrongName,
    /// The peer's certificate, or one that it is signed with, is out of date.
    Expired,
    /// The same, not valid yet: perhaps a clock is wrong.
    NotYetValid,
    /// The peer's certificate was revoked.
    Revoked,
    /// The peer's certificate cannot be used for another reason.
    BadCertificate,
    /// The peer showed no certificate where one is asked for.
    NoCertificate,
    /// The peer does not accept our certificate.
    Distrusted,
    /// The peer asks for a certificate and we have none.
    CertificateRequired,
    /// The peer speaks something else: plain HTTP mostly.
    NotTls,
    /// No version, cipher, group or signature that both know.
    NothingInCommon,
    /// No application protocol that both know.
    NoProtocol,
    /// The peer knows no such server name.
    UnknownName,
    /// The peer ended the connection with another alert.
    Alert,
    /// The peer broke the rules of TLS, or the bytes were tampered with.
    Misbehaved,
    /// The peer closed before it said anything: a port scan, or a health check of TCP.
    Silent,
    /// The peer closed in the handshake.
    CutShort,
    /// The peer closed without saying so: what came last may be missing.
    Truncated,
    /// The handshake took too long.
    TimedOut,
    /// The connection broke in the handshake.
    Reset,
    /// Too many handshakes at once.
    Crowded,
    /// Our own doing.
    Internal,
}

impl Fault {
    /// All of them, in order of declaration, for metrics that index by `fault as usize`.
    pub const ALL: [Self; 23] = [
        Self::UnknownIssuer,
        Self::SelfSigned,
        Self::WrongName,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::Distrusted,
        Self::CertificateRequired,
        Self::NotTls,
        Self::NothingInCommon,
        Self::NoProtocol,
        Self::UnknownName,
        Self::Alert,
        Self::Misbehaved,
        Self::Silent,
        Self::CutShort,
        Self::Truncated,
        Self::TimedOut,
        Self::Reset,
        Self::Crowded,
        Self::Internal,
    ];

    /// Its label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::SelfSigned => "self_signed",
            Self::WrongName => "wrong_name",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Distrusted => "distrusted",
            Self::CertificateRequired => "certificate_required",
            Self::NotTls => "not_tls",
            Self::NothingInCommon => "nothing_in_common",
            Self::NoProtocol => "no_protocol",
            Self::UnknownName => "unknown_name",
            Self::Alert => "alert",
            Self::Misbehaved => "misbehaved",
            Self::Silent => "silent",
            Self::CutShort => "cut_short",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::Crowded => "crowded",
            Self::Internal => "internal",
        }
    }

    /// What a caller is told of a failure towards an endpoint: what is wrong, and what its operator can do.
    pub const fn of_upstream(self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "the server behind this route has a certificate that nobody trusted here has signed; its operator names the authority in the backend's `tls: {ca}`"
            }
            Self::SelfSigned => {
                "the server behind this route has a certificate that it signed itself; its operator names that certificate in the backend's `tls: {ca}`"
            }
            Self::WrongName => {
                "the server behind this route has a certificate for another name; its operator mends the endpoint's URL, or names the certificate's in the backend's `tls: {server_name}`"
            }
            Self::Expired => {
                "the server behind this route has a certificate that is out of date; its operator has to renew it"
            }
            Self::NotYetValid => {
                "the server behind this route has a certificate that is not valid yet; its operator has to look at both clocks"
            }
            Self::Revoked => {
                "the server behind this route has a certificate that was revoked; its operator has to replace it"
            }
            Self::BadCertificate => {
                "the server behind this route has a certificate that cannot be used; its operator has to replace it"
            }
            Self::NoCertificate => "the server behind this route shows no certificate",
            Self::Distrusted | Self::CertificateRequired => {
                "the server behind this route wants a certificate of the gateway's that it trusts; its operator sets the backend's `tls: {certificate}`"
            }
            Self::NotTls => {
                "the server behind this route does not speak TLS at this port; its operator writes the endpoint as http://, or corrects the port"
            }
            Self::NothingInCommon => {
                "the server behind this route speaks no version or cipher of TLS that is safe: 1.2 or 1.3 is needed"
            }
            Self::NoProtocol => "the server behind this route does not speak HTTP/1.1 over TLS",
            Self::UnknownName => {
                "the server behind this route does not know the name it was asked for; its operator sets the backend's `tls: {server_name}`"
            }
            Self::Alert | Self::Misbehaved => {
                "the server behind this route broke off the TLS handshake; its own log says why"
            }
            Self::Silent | Self::CutShort | Self::Truncated | Self::Reset => {
                "the server behind this route closed the connection in the TLS handshake; perhaps it does not speak TLS at this port"
            }
            Self::TimedOut => "the server behind this route did not finish the TLS handshake in time",
            Self::Crowded | Self::Internal => {
                "no secure connection to the server behind this route could be made"
            }
        }
    }

    /// How rustls' error reads here.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
                Self::NoCertificate
            }
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::NoApplicationProtocol => Self::NoProtocol,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Misbehaved,
            // The rest is about our own configuration; the enum is open, so a new kind is ours until somebody looks.
            _ => Self::Internal,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            // Of the right name, and not its signature: another authority that calls itself the same.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                // `openssl req -x509` makes authorities: such a certificate vouches for itself only.
                Some(webpki::Error::CaUsedAsEndEntity) => Self::SelfSigned,
                _ => Self::BadCertificate,
            },
            _ => Self::BadCertificate, // an open enum again
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown => Self::Distrusted,
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::AccessDenied => Self::CertificateRequired,
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity => Self::NothingInCommon,
            AlertDescription::NoApplicationProtocol => Self::NoProtocol,
            AlertDescription::UnrecognisedName => Self::UnknownName,
            _ => Self::Alert, // an open enum
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_own_label_and_its_own_place() {
        let labels: std::collections::HashSet<_> = Fault::ALL.iter().map(|fault| fault.label()).collect();
        assert_eq!(labels.len(), Fault::ALL.len());
        for (index, &fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(fault as usize, index, "{fault:?}");
        }
    }

    #[test]
    fn what_a_caller_is_told_speaks_of_the_server_and_holds_no_certificate() {
        for fault in Fault::ALL {
            let told = fault.of_upstream();
            assert!(told.contains("behind this route") && !told.contains("BEGIN"), "{told}");
        }
    }
}
