//! Names: camelCase keys to snake_case fields, and what to do where two would become one.

/// The singer-io tap's rule: an underscore before a capitalised word and between a small letter
/// or digit and a capital, then everything small.
pub fn snake(key: &str) -> String {
    let chars: Vec<char> = key.chars().collect();
    let mut words = Vec::with_capacity(chars.len() + 4);
    let mut at = 0;
    while at < chars.len() {
        let capital = chars.get(at + 1).is_some_and(char::is_ascii_uppercase);
        if chars[at] != '\n' && capital && chars.get(at + 2).is_some_and(char::is_ascii_lowercase) {
            words.extend([chars[at], '_', chars[at + 1]]);
            at += 2;
            while let Some(small) = chars.get(at).filter(|c| c.is_ascii_lowercase()) {
                words.push(*small);
                at += 1;
            }
        } else {
            words.push(chars[at]);
            at += 1;
        }
    }
    let mut out = String::with_capacity(words.len() + 4);
    let mut at = 0;
    while at < words.len() {
        let here = words[at];
        out.push(here);
        at += 1;
        if (here.is_ascii_lowercase() || here.is_ascii_digit())
            && let Some(capital) = words.get(at).filter(|c| c.is_ascii_uppercase())
        {
            out.push('_');
            out.push(*capital);
            at += 1;
        }
    }
    out.to_lowercase()
}

/// The camelCase key a snake_case name most likely came from.
pub fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('_');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let mut chars = part.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    out
}

/// Whether a key is the only one of its kind: the one that snake_case and back gives. Any other
/// spelling (`orderIDStr`) would share a field with it (`orderIdStr`).
pub fn is_canonical(key: &str) -> bool {
    camel(&snake(key)) == key
}

/// A name of its own for a key whose plain name belongs to another: the plain name and a short
/// hash of the key, the same in every run.
pub fn distinct(plain: &str, key: &str) -> String {
    let mut hash: u32 = 0x811C_9DC5;
    for byte in key.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    format!("{plain}_{:06x}", (hash >> 24) ^ (hash & 0x00FF_FFFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_as_the_singer_io_tap() {
        for (key, name) in [
            ("updatedAt", "updated_at"),
            ("orderIDStr", "order_id_str"),
            ("orderIdStr", "order_id_str"),
            ("s3DataUrl", "s3_data_url"),
            ("address2", "address2"),
            ("os00Str", "os00_str"),
            ("HTTPCodeNum", "http_code_num"),
            ("iOSVersionStr", "i_os_version_str"),
            ("utm_sourceStr", "utm_source_str"),
            ("ABC", "abc"),
            ("aB", "a_b"),
            ("A", "a"),
            ("", ""),
            ("shopify-orders", "shopify-orders"),
            ("twitter-dmCount", "twitter-dm_count"),
            ("ÄrgerStr", "ärger_str"),
            ("with space", "with space"),
        ] {
            assert_eq!(snake(key), name, "{key}");
        }
    }

    #[test]
    fn one_key_of_each_kind_is_canonical() {
        for key in ["updatedAt", "s3DataUrl", "orderIdStr", "", "a-b", "address2Str", "x y"] {
            assert!(is_canonical(key), "{key}");
        }
        for key in ["orderIDStr", "updated_at", "Name", "_id", "a__b", "ÄStr"] {
            assert!(!is_canonical(key), "{key}");
        }
        assert_ne!(distinct("order_id_str", "orderIDStr"), distinct("order_id_str", "order_idStr"));
    }
}
