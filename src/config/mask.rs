//! Hides what must not be shown: a message quotes the file, and the file may hold a secret, even by mistake.

/// What a key's name says if its value is a secret. A key that ends in `file` only says where one is.
const SECRET: [&str; 8] =
    ["token", "password", "passwd", "secret", "credential", "api_key", "private_key", "authorization"];

/// The same text, byte for byte as long, with each secret covered: it has to be told without a parse, since a file that
/// cannot be parsed is shown too. Rather too much is covered than too little.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // How far the key stands in whose value the line belongs to, if that is a secret.
    let mut within: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if within.is_some_and(|key| indent > key || line.trim().is_empty()) {
            cover(line, &mut masked);
            continue;
        }
        let visible = secret_value(line);
        within = visible.map(|_| indent);
        let (before, after) = line.split_at(visible.unwrap_or(line.len()));
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
        let user_info = after[..end].rfind('@').unwrap_or(0);
        cover(&after[..user_info], &mut masked);
        rest = &after[user_info..];
    }
    masked.push_str(rest);
    masked
}

/// Where in the line the value of a secret begins.
fn secret_value(line: &str) -> Option<usize> {
    let is_secret = |colon: usize| {
        let key = line[..colon].trim_end_matches(['"', '\'', ' ']);
        let start = key.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).map_or(0, |at| at + 1);
        let key = key.get(start..).unwrap_or(key).to_ascii_lowercase().replace('-', "_");
        !key.ends_with("file") && SECRET.iter().any(|word| key.contains(word))
    };
    line.match_indices(':').map(|(at, _)| at).find(|&at| is_secret(at)).map(|at| at + 1)
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
        let text =
            "token: abc\nhttp: {password: x, host: y}\ntoken_file: /run/t\nsecret: |\n  one\n\n  two\nlevel: é\n";
        let masked =
            "token: ***\nhttp: {password: ** ***** **\ntoken_file: /run/t\nsecret: *\n  ***\n\n  ***\nlevel: é\n";
        assert_eq!(mask(text), masked);
    }

    #[test]
    fn a_user_in_an_address_is_covered() {
        assert_eq!(mask_user_info("url: http://me:pä@host/x y@z"), "url: http://******@host/x y@z");
        assert_eq!(mask_user_info("http://host/a"), "http://host/a");
    }
}
