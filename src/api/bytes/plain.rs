//! How far a JSON string's text needs no attention: no quote, no backslash, no control character.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Length of the part of `text` before the first quote, backslash or control character.
pub(super) fn plain_len(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let stops = stops(u64::from_le_bytes(*eight));
        if stops != 0 {
            return text.len() - rest.len() + (stops.trailing_zeros() / 8) as usize;
        }
        rest = more;
    }
    let plain = rest
        .iter()
        .position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    text.len() - rest.len() + plain.unwrap_or(rest.len())
}

/// The high bit of every byte that ends plain text, and perhaps of later ones.
fn stops(word: u64) -> u64 {
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let is_quote = is_zero(word ^ (ONES * u64::from(b'"')));
    let is_backslash = is_zero(word ^ (ONES * u64::from(b'\\')));
    is_control | is_quote | is_backslash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_byte_by_byte(text in prop::collection::vec(prop_oneof![any::<u8>(), 0x1f..0x24_u8, Just(b'a'), Just(b'\\')], 0..40)) {
            let stops = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let plain = text.iter().position(stops).unwrap_or(text.len());
            prop_assert_eq!(plain_len(&text), plain);
        }
    }
}
