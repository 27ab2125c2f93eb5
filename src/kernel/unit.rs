//! What amounts are counted in.

/// The largest amount there is, in the smallest part of its unit.
pub const MOST_AMOUNT: i64 = 1_000_000_000_000_000;

/// Currencies of ISO 4217, without those of funds, metals and tests.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD \
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG \
    QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD \
    TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// Currencies of which there are no parts, and those that are divided by a thousand; all others are by a hundred.
const WITHOUT_PARTS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const WITH_THREE_DIGITS: &str = "BHD IQD JOD KWD LYD OMR TND";

/// What an amount is counted in: a currency, or points of the program's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit(String);

impl Unit {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let points = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        let fits = match text.len() {
            3 => CURRENCIES.split(' ').any(|currency| currency == text),
            4..=16 => begins && text.bytes().all(points),
            _ => false,
        };
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("A unit is a currency of ISO 4217 or 4 to 16 of A-Z, 0-9 and _ that begin with a letter")
        }
    }

    /// One that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An amount as people read it, in whole units: of points and of some currencies there are no parts.
    pub fn written(&self, amount: i128, decimal: char) -> String {
        let digits = match self.as_str() {
            code if code.len() > 3 || WITHOUT_PARTS.split(' ').any(|one| one == code) => 0,
            code if WITH_THREE_DIGITS.split(' ').any(|one| one == code) => 3,
            _ => 2,
        };
        let text = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
        let (whole, part) = text.split_at(text.len() - digits);
        let sign = if amount < 0 { "-" } else { "" };
        if digits == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}{decimal}{part}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_currency_or_points() {
        for good in ["EUR", "RUB", "JPY", "POINTS", "STARS_2", "ABCD", "ABCDEFGHIJKLMNOP"] {
            assert_eq!(Unit::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "E", "EU", "eur", "ABC", "XXX", "EUR ", "points", "1ABC", "_ABC", "AB-C", "ABCDEFGHIJKLMNOPQ"] {
            assert!(Unit::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_written_in_whole_units() {
        for (amount, unit, text) in [
            (12_345, "EUR", "123,45"),
            (5, "EUR", "0,05"),
            (-401, "EUR", "-4,01"),
            (0, "USD", "0,00"),
            (500, "JPY", "500"),
            (1_234, "KWD", "1,234"),
            (-7, "POINTS", "-7"),
        ] {
            assert_eq!(Unit::parse(unit).unwrap().written(amount, ','), text);
        }
    }
}
