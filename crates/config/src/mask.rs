//! Masks secrets. A message quotes the file, and the file may contain a secret, even by mistake.

/// Parts of the names of keys with secret values. A key that ends in `file` has a path as its value. All of `env` is secret.
const SECRET: [&str; 9] =
    ["token", "password", "passwd", "secret", "credential", "api_key", "private_key", "authorization", "webhook"];

/// The beginning of a certificate or key that is pasted instead of its path.
pub(super) const PEM: &str = "-----BEGIN";

/// Masks all secrets. The result has the same length in bytes. The text is not parsed, because files
/// with syntax errors are quoted too. In doubt, more is masked than necessary.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The column of the secret key whose value continues on this line.
    let mut within: Option<usize> = None;
    let mut within_pem = false;
    for line in text.split_inclusive('\n') {
        let pem = if within_pem { Some(0) } else { line.find(PEM) };
        if let Some(start) = pem {
            // The whole line, including text after the end marker.
            within_pem = !line.contains("-----END");
            masked.push_str(&mask_address(&line[..start]));
            mask_all(&line[start..], &mut masked);
            continue;
        }
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        // A list may have the same indentation as its key, and so may the value of a key with `?`.
        let continues = |key| indent > key || trimmed.is_empty() || (indent == key && trimmed.starts_with(['-', ':']));
        if within.is_some_and(continues) {
            mask_all(line, &mut masked);
            continue;
        }
        let secret = secret(line);
        within = secret.map(|(key, _)| key);
        let (before, after) = line.split_at(secret.map_or(line.len(), |(_, value)| value));
        masked.push_str(&mask_address(before));
        mask_all(after, &mut masked);
    }
    masked
}

/// Masks the user, the password and the query of each address.
pub(super) fn mask_address(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')).unwrap_or(after.len());
        let (address, after_address) = after.split_at(end);
        let (address, query) = address.split_at(address.find('?').map_or(address.len(), |mark| mark + 1));
        let (user_info, host) = address.split_at(address.rfind('@').unwrap_or(0));
        mask_all(user_info, &mut masked);
        masked.push_str(host);
        mask_all(query, &mut masked);
        rest = after_address;
    }
    masked.push_str(rest);
    masked
}

/// The start of a secret key in the line, and the start of its value.
fn secret(line: &str) -> Option<(usize, usize)> {
    let explicit = line.trim_start().starts_with("? ").then(|| line.trim_end().len());
    let mut ends = line.match_indices(':').map(|(at, _)| at).chain(explicit);
    let key = |end: usize| {
        let key = line[..end].trim_end_matches(['"', '\'', ' ']);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let start = key.trim_end_matches(is_name).len();
        let name = key[start..].to_ascii_lowercase().replace('-', "_");
        let is_secret = name == "env" || !name.ends_with("file") && SECRET.iter().any(|word| name.contains(word));
        // The indentation of the value counts from the `?`, not from the key.
        let column = if explicit == Some(end) { line.len() - line.trim_start().len() } else { start };
        is_secret.then(|| (column, (end + 1).min(line.len())))
    };
    ends.find_map(key)
}

fn mask_all(text: &str, masked: &mut String) {
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
    fn the_value_of_a_secret_key_is_masked() {
        let text = "token: abc\nhttp: {password: x, host: y}\ntoken_file: /run/t\nsecret: |\n  one\n\n  two\nlevel: é\ntokens:\n- a\n- b\n? api-key\n: c\nx: 1\n- token: d\n  name: e\n";
        let masked = "token: ***\nhttp: {password: ** ***** **\ntoken_file: /run/t\nsecret: *\n  ***\n\n  ***\nlevel: é\ntokens:\n* *\n* *\n? api-key\n* *\nx: 1\n- token: *\n  name: e\n";
        assert_eq!(mask(text), masked);
    }

    #[test]
    fn the_variables_of_an_agent_are_masked() {
        let text = "- id: a\n  env:\n    A: b\n    C: d\n  env_file: /e\n";
        assert_eq!(mask(text), "- id: a\n  env:\n    ** *\n    ** *\n  env_file: /e\n");
        assert_eq!(mask("- {id: a, env: {A: b}}\n"), "- {id: a, env: *** ***\n");
    }

    #[test]
    fn a_pasted_private_key_is_masked() {
        let text = "key: |\n  -----BEGIN PRIVATE KEY-----\n  AB\n  -----END PRIVATE KEY-----\nkey: \"-----BEGIN X\\nAB\"\nport: 1\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("AB") && masked.starts_with("key: |\n  **********"), "{masked}");
    }

    #[test]
    fn a_user_in_an_address_is_masked() {
        assert_eq!(mask_address("url: http://me:pä@host/x y@z"), "url: http://******@host/x y@z");
        assert_eq!(mask_address("http://host/a"), "http://host/a");
        assert_eq!(mask_address("a://b@c://d 'e://f:g@h"), "a://*@c://d 'e://***@h");
        assert_eq!(mask_address("a://b://c@d"), "a://*****@d");
    }

    #[test]
    fn a_query_in_an_address_is_masked() {
        assert_eq!(mask_address("url: http://h/p?token=a&b=c # x?y"), "url: http://h/p?*********** # x?y");
        assert_eq!(mask_address("{url: 'https://u@h/?k', x: 1}"), "{url: 'https://*@h/?*', x: 1}");
    }

    /// Quadratic time would be hours here.
    #[test]
    fn a_line_of_addresses_is_masked_in_linear_time() {
        let line = "tp://".repeat(1 << 20);
        assert_eq!(mask_address(&line), line);
    }
}
