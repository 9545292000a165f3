//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, with verifiers as PostgreSQL keeps them:
//! `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Nobody can log in with what is in a verifier.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

/// Iterations of new verifiers, PostgreSQL's default.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const KEY: usize = digest::SHA256_OUTPUT_LEN;

/// What a server keeps of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; KEY],
    server_key: [u8; KEY],
}

impl Verifier {
    /// Of a password, with a new salt.
    pub fn new(password: &str) -> Self {
        Self::with_salt(password, rand::random::<[u8; 16]>().to_vec(), ITERATIONS)
    }

    fn with_salt(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let normal = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; KEY];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, normal.as_bytes(), &mut salted);
        Self {
            iterations,
            salt,
            stored_key: hash(&mac(&salted, b"Client Key")),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// One that no password fits, the same for the same name: who guesses names learns nothing.
    pub fn decoy(name: &str, secret: &[u8]) -> Self {
        let salt = mac(secret, name.as_bytes());
        Self {
            iterations: ITERATIONS,
            salt: salt.iter().copied().take(16).collect(),
            stored_key: rand::random(),
            server_key: rand::random(),
        }
    }

    /// Whether it is the password's.
    pub fn fits(&self, password: &str) -> bool {
        let other = Self::with_salt(password, self.salt.clone(), self.iterations);
        same(&other.stored_key, &self.stored_key)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }
}

impl FromStr for Verifier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let rest = text.strip_prefix("SCRAM-SHA-256$")?;
            let (first, second) = rest.split_once('$')?;
            let (iterations, salt) = first.split_once(':')?;
            let (stored, server) = second.split_once(':')?;
            let key = |text| BASE64.decode(text).ok()?.try_into().ok();
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt: BASE64.decode(salt).ok()?,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        parse().ok_or("not of the form SCRAM-SHA-256$<iterations>:<salt>$<key>:<key>")
    }
}

/// A conversation after the client's first message.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    binding: String,
    nonce: String,
    /// client-first-message-bare, server-first-message.
    said: String,
}

impl Exchange {
    /// Takes the client's first message; gives the server's.
    ///
    /// # Errors
    /// In words, when the message is not one.
    pub fn begin(verifier: Verifier, first: &[u8]) -> Result<(Self, String), &'static str> {
        let first = std::str::from_utf8(first).map_err(|_| "the first message is not UTF-8")?;
        let mut parts = first.splitn(3, ',');
        let flag = parts.next().unwrap_or_default();
        let identity = parts.next().unwrap_or_default();
        let bare = parts.next().ok_or("the first message has too few parts")?;
        if flag != "n" && flag != "y" {
            return Err("channel binding is not offered");
        }
        let theirs = attribute(bare, 'r').ok_or("the first message has no nonce")?;
        let nonce = format!("{theirs}{}", BASE64.encode(rand::random::<[u8; 18]>()));
        let salt = BASE64.encode(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let exchange = Self {
            binding: BASE64.encode(format!("{flag},{identity},")),
            said: format!("{bare},{answer}"),
            nonce,
            verifier,
        };
        Ok((exchange, answer))
    }

    /// Takes the client's last message; gives the server's when the password was right, nothing when not.
    ///
    /// # Errors
    /// In words, when the message is not one.
    pub fn finish(self, last: &[u8]) -> Result<Option<String>, &'static str> {
        let last = std::str::from_utf8(last).map_err(|_| "the last message is not UTF-8")?;
        let (unproven, proof) = last
            .rsplit_once(",p=")
            .ok_or("the last message has no proof")?;
        if attribute(unproven, 'c') != Some(self.binding.as_str()) {
            return Err("the channel binding is another");
        }
        if attribute(unproven, 'r') != Some(self.nonce.as_str()) {
            return Err("the nonce is another");
        }
        let proof: [u8; KEY] = BASE64
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or("the proof is not of 32 bytes")?;
        let said = format!("{},{unproven}", self.said);
        let signature = mac(&self.verifier.stored_key, said.as_bytes());
        let mut client_key = proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        if !same(&hash(&client_key), &self.verifier.stored_key) {
            return Ok(None);
        }
        let ours = mac(&self.verifier.server_key, said.as_bytes());
        Ok(Some(format!("v={}", BASE64.encode(ours))))
    }
}

fn attribute(message: &str, name: char) -> Option<&str> {
    message
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn mac(key: &[u8], message: &[u8]) -> [u8; KEY] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; KEY];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn hash(bytes: &[u8]) -> [u8; KEY] {
    let sum = digest::digest(&digest::SHA256, bytes);
    let mut bytes = [0; KEY];
    bytes.copy_from_slice(sum.as_ref());
    bytes
}

/// In the same time wherever they differ.
fn same(one: &[u8; KEY], other: &[u8; KEY]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn follows_the_example_of_the_rfc() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::with_salt("pencil", salt, ITERATIONS);
        let mut exchange = Exchange::begin(verifier, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
            .unwrap()
            .0;
        exchange.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into();
        exchange.said =
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                .into();
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let answer = exchange.finish(last).unwrap();
        assert_eq!(
            answer.as_deref(),
            Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
    }

    #[test]
    fn verifiers_are_written_and_read() {
        let verifier = Verifier::new("Pa$$wörd");
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        assert!(verifier.fits("Pa$$wörd"));
        assert!(!verifier.fits("Pa$$word"));
        assert!(!Verifier::decoy("ana", b"secret").fits(""));
        assert!("SCRAM-SHA-256$0:x$y:z".parse::<Verifier>().is_err());
    }
}
