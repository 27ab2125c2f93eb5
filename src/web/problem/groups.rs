//! Refusals that operations have in common, by the words of [`problems`](crate::problems).

#![expect(non_upper_case_globals, reason = "they are named as the macro spells them")]

use crate::kernel::error::Refusal;

pub const body: &[Refusal] =
    &[Refusal::RequestTimeout, Refusal::TooLarge, Refusal::UnsupportedMediaType, Refusal::Invalid];
pub const query: &[Refusal] = &[Refusal::Invalid];
/// Of writes that take an `Idempotency-Key`.
pub const keyed: &[Refusal] = &[Refusal::Invalid, Refusal::IdempotencyKeyReused, Refusal::IdempotencyInFlight];
pub const caller: &[Refusal] = &[Refusal::NotAuthenticated, Refusal::InvalidToken];
pub const reader: &[Refusal] = &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope];
pub const person: &[Refusal] =
    &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope, Refusal::PersonRequired];
pub const manager: &[Refusal] = &[
    Refusal::NotAuthenticated,
    Refusal::InvalidToken,
    Refusal::InsufficientScope,
    Refusal::PersonRequired,
    Refusal::ManagersOnly,
];
pub const program_reader: &[Refusal] =
    &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope, Refusal::ManagersOnly];
pub const program_writer: &[Refusal] = &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope];
pub const always: &[Refusal] = &[Refusal::UriTooLong, Refusal::Overloaded, Refusal::Unavailable, Refusal::ReadOnly];
