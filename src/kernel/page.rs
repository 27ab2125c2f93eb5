//! Lists in pages: by number, as the reference service counts them, or by cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub start: Start,
    /// 1 to 100.
    pub size: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Pages are counted from 1.
    Page(i64),
    /// Behind this position of the list.
    After(Cursor),
}

/// A position in a list, opaque to callers: the sequence number of the last row seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub i64);

impl Cursor {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?))).filter(|cursor| cursor.0 >= 0)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl PageRequest {
    pub const DEFAULT_SIZE: i64 = 50;
    pub const MAX_SIZE: i64 = 100;

    /// Rows before the page; page numbers beyond any list saturate.
    pub fn offset(&self) -> i64 {
        match self.start {
            Start::Page(page) => page.saturating_sub(1).saturating_mul(self.size),
            Start::After(_) => 0,
        }
    }
}

/// A part of a list, with the exact length of the whole.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: i64,
    pub request: PageRequest,
    /// Where the next part begins; nothing at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    pub fn pages(&self) -> i64 {
        self.total.saturating_add(self.request.size - 1) / self.request.size.max(1)
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            total: self.total,
            request: self.request,
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back_and_garbage_is_refused(position in 0..i64::MAX, garbage in ".{0,20}") {
            prop_assert_eq!(Cursor::parse(&Cursor(position).to_string()), Some(Cursor(position)));
            if let Some(cursor) = Cursor::parse(&garbage) {
                prop_assert_eq!(cursor.to_string(), garbage);
            }
        }

        #[test]
        fn no_page_number_overflows(page in 1..=i64::MAX, size in 1..=100_i64) {
            let request = PageRequest { start: Start::Page(page), size };
            prop_assert!(request.offset() >= 0);
        }
    }
}
