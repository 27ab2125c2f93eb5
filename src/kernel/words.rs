//! Enums that are words for programs: the word stands in answers, requests and the database.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Makes an enum of words. The document lists them as a schema with the name behind `as`, so that generated clients
/// know them, and a field of this type cannot be described as any text.
#[macro_export]
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        pub enum $kind:ident as $name:literal {
            $($(#[$note:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind { $($(#[$note])* $variant,)+ }

        impl $kind {
            pub const ALL: &[$kind] = &[$($kind::$variant,)+];

            pub fn word(self) -> &'static str {
                match self { $($kind::$variant => $word,)+ }
            }

            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }

        $crate::described_by_words!($kind, $name, concat!($($doc),+));
    };
}

/// How an enum with `ALL` and `word` is written and described.
#[macro_export]
macro_rules! described_by_words {
    ($kind:ident, $name:literal, $description:expr) => {
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl utoipa::PartialSchema for $kind {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::kernel::words::schema($description, $kind::ALL.iter().map(|one| one.word()))
            }
        }

        impl utoipa::ToSchema for $kind {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($name)
            }
        }
    };
}

/// A text that is one of these.
pub fn schema(description: &str, words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    let one = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    one.description(Some(description.trim())).into()
}

#[cfg(test)]
mod tests {
    use crate::kernel::verdict::Verdict;

    #[test]
    fn every_verdict_is_read_back_from_its_word_and_written_as_it() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::parse(verdict.word()), Some(*verdict));
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
        assert_eq!(Verdict::parse("deliverable"), None);
    }
}
