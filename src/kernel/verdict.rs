//! What is known about a person's e-mail address.

/// The outcome of checking an address, or that it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody was asked.
    Unchecked,
    /// The verifier has not answered yet.
    Pending,
    Valid,
    /// The domain takes mail for any name.
    AcceptAll,
    Webmail,
    /// The verifier could not tell, or never answered.
    Unknown,
    Invalid,
    Disposable,
}

impl Verdict {
    const WORDS: &[(Verdict, &str)] = &[
        (Self::Unchecked, "unchecked"),
        (Self::Pending, "pending"),
        (Self::Valid, "valid"),
        (Self::AcceptAll, "accept_all"),
        (Self::Webmail, "webmail"),
        (Self::Unknown, "unknown"),
        (Self::Invalid, "invalid"),
        (Self::Disposable, "disposable"),
    ];

    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(verdict, _)| *verdict == self).map_or("unknown", |(_, word)| word)
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(verdict, _)| *verdict)
    }

    /// Whether the address is known to receive no lasting mail.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Invalid | Self::Disposable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_read_back_from_its_word() {
        for (verdict, word) in Verdict::WORDS {
            assert_eq!((verdict.word(), Verdict::parse(word)), (*word, Some(*verdict)));
        }
        assert_eq!(Verdict::parse("deliverable"), None);
    }
}
