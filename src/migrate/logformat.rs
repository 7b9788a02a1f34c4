//! uWSGI's `log-format` as `access_log_format`.

/// The format in gunicorn's syntax, or the first name that has no counterpart.
pub(super) fn translate(format: &str) -> Result<String, String> {
    // Three together are the request line, and brackets belong to the time.
    let format = format
        .replace("%(method) %(uri) %(proto)", "%(r)s")
        .replace("[%(ltime)]", "%(t)s");
    let mut out = String::new();
    let mut rest = format.as_str();
    while let Some((before, after)) = rest.split_once("%(") {
        let Some((name, after)) = after.split_once(')') else {
            return Err("a parenthesis is not closed".to_owned());
        };
        out.push_str(&before.replace('%', "%%"));
        // Ours, from above.
        if let Some(after) = after
            .strip_prefix('s')
            .filter(|_| matches!(name, "r" | "t"))
        {
            out.extend(["%(", name, ")s"]);
            rest = after;
            continue;
        }
        out.push_str(&atom(name).ok_or_else(|| format!("%({name}) has no counterpart"))?);
        rest = after;
    }
    out.push_str(&rest.replace('%', "%%"));
    Ok(out)
}

fn atom(name: &str) -> Option<String> {
    let short = match name {
        "addr" => "h",
        "user" => "u",
        "method" => "m",
        "uri" => "{RAW_URI}e",
        "proto" => "H",
        "status" => "s",
        "rsize" | "size" => "B",
        "referer" => "f",
        "uagent" => "a",
        "host" => "{host}i",
        "micros" => "D",
        "msecs" => "M",
        "secs" => "T",
        "pid" => "p",
        _ => {
            let variable = name.strip_prefix("var.")?;
            return Some(format!("%({{{variable}}}e)s"));
        }
    };
    Some(format!("%({short})s"))
}
