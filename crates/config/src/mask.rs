//! Hides what must not be shown: a message quotes the file, and the file may hold a secret, even by mistake.

/// What a key's name says if its value is a secret. A key that ends in `file` only says where one is.
const SECRET: [&str; 8] =
    ["token", "password", "passwd", "secret", "credential", "api_key", "private_key", "authorization"];

/// With what a certificate or a key begins, if it is pasted where its file should be named.
pub(super) const PEM: &str = "-----BEGIN";

/// The same text, byte for byte as long, with each secret covered: it has to be told without a
/// parse, since a file that cannot be parsed is shown too. Rather too much is covered than too
/// little.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The column of the key in whose value the line is, if that is a secret.
    let mut within: Option<usize> = None;
    let mut within_pem = false;
    for line in text.split_inclusive('\n') {
        let pem = if within_pem { Some(0) } else { line.find(PEM) };
        if let Some(start) = pem {
            // All of the line, also behind the end: better too much than a part of a key.
            within_pem = !line.contains("-----END");
            masked.push_str(&mask_user_info(&line[..start]));
            cover(&line[start..], &mut masked);
            continue;
        }
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        // A list may stand as far left as its key, and so does the value of a key that is written with `?`.
        let goes_on = |key| indent > key || trimmed.is_empty() || (indent == key && trimmed.starts_with(['-', ':']));
        if within.is_some_and(goes_on) {
            cover(line, &mut masked);
            continue;
        }
        let secret = secret(line);
        within = secret.map(|(key, _)| key);
        let (before, after) = line.split_at(secret.map_or(line.len(), |(_, value)| value));
        masked.push_str(&mask_user_info(before));
        cover(after, &mut masked);
    }
    masked
}

/// Covers what stands before the `@` of an address.
pub(super) fn mask_user_info(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')).unwrap_or(after.len());
        let (address, behind) = after.split_at(end);
        let (user_info, host) = address.split_at(address.rfind('@').unwrap_or(0));
        cover(user_info, &mut masked);
        masked.push_str(host);
        rest = behind;
    }
    masked.push_str(rest);
    masked
}

/// Where in the line the key of a secret begins, and where its value.
fn secret(line: &str) -> Option<(usize, usize)> {
    let explicit = line.trim_start().starts_with("? ").then(|| line.trim_end().len());
    let mut ends = line.match_indices(':').map(|(at, _)| at).chain(explicit);
    let key = |end: usize| {
        let key = line[..end].trim_end_matches(['"', '\'', ' ']);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let start = key.trim_end_matches(is_name).len();
        let name = key[start..].to_ascii_lowercase().replace('-', "_");
        let is_secret = !name.ends_with("file") && SECRET.iter().any(|word| name.contains(word));
        // The `?` of such a key, not the key, is what its value stands under.
        let column = if explicit == Some(end) { line.len() - line.trim_start().len() } else { start };
        is_secret.then(|| (column, (end + 1).min(line.len())))
    };
    ends.find_map(key)
}

fn cover(text: &str, masked: &mut String) {
    for c in text.chars() {
        if c.is_ascii_whitespace() {
            masked.push(c);
        } else {
            masked.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_under_a_secret_key_is_covered() {
        let text = "token: abc\nhttp: {password: x, host: y}\ntoken_file: /run/t\nsecret: |\n  one\n\n  two\nlevel: é\ntokens:\n- a\n- b\n? api-key\n: c\nx: 1\n- token: d\n  name: e\n";
        let masked = "token: ***\nhttp: {password: ** ***** **\ntoken_file: /run/t\nsecret: *\n  ***\n\n  ***\nlevel: é\ntokens:\n* *\n* *\n? api-key\n* *\nx: 1\n- token: *\n  name: e\n";
        assert_eq!(mask(text), masked);
    }

    #[test]
    fn a_key_that_was_pasted_is_covered() {
        let text = "key: |\n  -----BEGIN PRIVATE KEY-----\n  AB\n  -----END PRIVATE KEY-----\nkey: \"-----BEGIN X\\nAB\"\nport: 1\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("AB") && masked.starts_with("key: |\n  **********"), "{masked}");
    }

    #[test]
    fn a_user_in_an_address_is_covered() {
        assert_eq!(mask_user_info("url: http://me:pä@host/x y@z"), "url: http://******@host/x y@z");
        assert_eq!(mask_user_info("http://host/a"), "http://host/a");
        assert_eq!(mask_user_info("a://b@c://d 'e://f:g@h"), "a://*@c://d 'e://***@h");
        assert_eq!(mask_user_info("a://b://c@d"), "a://*****@d");
    }

    /// Were each looked for to the end of the line, this would take hours.
    #[test]
    fn a_line_of_nothing_but_addresses_takes_no_longer_than_others() {
        let line = "tp://".repeat(1 << 20);
        assert_eq!(mask_user_info(&line), line);
    }
}
