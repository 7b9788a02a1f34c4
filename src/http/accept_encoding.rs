//! The Accept-Encoding field (RFC 9110 section 12.5.3).

/// Those of our codings that a client takes, in the order of its preference and then of ours.
/// `field` is the value, or all values with commas between them. Without one none is taken,
/// although a client without it takes any: old ones do not.
pub fn accepted_codings<T: Copy>(
    field: &[u8],
    ours: &[T],
    name: impl Fn(T) -> &'static str,
) -> Vec<T> {
    let field = String::from_utf8_lossy(field);
    let mut found: Vec<(u16, T)> = ours
        .iter()
        .map(|coding| (quality(&field, name(*coding)), *coding))
        .filter(|(quality, _)| *quality > 0)
        .collect();
    // Stable: ours decides among equals.
    found.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    // What is less welcome than the content as it is.
    let plain = weight_of(&field, "identity").unwrap_or(0);
    let found = found.into_iter().filter(|(quality, _)| *quality >= plain);
    found.map(|(_, coding)| coding).collect()
}

/// How much a client wants this encoding, in thousandths.
fn quality(field: &str, name: &str) -> u16 {
    let alias = if name == "gzip" { "x-gzip" } else { name };
    weight_of(field, name)
        .or_else(|| weight_of(field, alias))
        .or_else(|| weight_of(field, "*"))
        .unwrap_or(0)
}

fn weight_of(field: &str, name: &str) -> Option<u16> {
    let mut members = field.split(',').map(|member| {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        (coding.trim(), parameters)
    });
    let (_, parameters) = members.find(|(coding, _)| coding.eq_ignore_ascii_case(name))?;
    let weight = parameters.trim().strip_prefix(['q', 'Q']);
    let Some(weight) = weight.and_then(|rest| rest.trim().strip_prefix('=')) else {
        return Some(1000);
    };
    // At most 1, with three digits after the point (section 12.4.2); what is none of that is 0.
    let weight: f32 = weight.trim().parse().unwrap_or(0.0);
    let thousandths = (0..=1000_u16)
        .rev()
        .find(|step| f32::from(*step) <= weight * 1000.0 + 0.5);
    Some(thousandths.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(field: &str) -> Vec<&'static str> {
        accepted_codings(field.as_bytes(), &["br", "zstd", "gzip"], |name| name)
    }

    #[test]
    fn the_client_decides_and_then_our_order() {
        assert_eq!(names("gzip, deflate, br, zstd"), ["br", "zstd", "gzip"]);
        assert_eq!(names("gzip"), ["gzip"]);
        assert_eq!(names("x-gzip"), ["gzip"]);
        assert_eq!(names("GZIP;q=1.0, br;q=0.5"), ["gzip", "br"]);
        assert_eq!(names("*"), ["br", "zstd", "gzip"]);
        assert_eq!(names("*, br;q=0"), ["zstd", "gzip"]);
        assert_eq!(names("gzip;q=0.5, identity;q=0.8"), Vec::<&str>::new());
        assert_eq!(names("br ; q = 0.001"), ["br"]);
    }

    #[test]
    fn what_is_not_wanted_is_not_sent() {
        for field in [
            "",
            "deflate",
            "identity",
            "br;q=0",
            "br;q=0.000",
            "br;q=x",
            "*;q=0",
            "b",
        ] {
            assert_eq!(names(field), Vec::<&str>::new(), "{field}");
        }
    }
}
