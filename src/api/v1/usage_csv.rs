//! Usage by day as a table for spreadsheets (RFC 4180): the lines of `/v1/usage`'s `daily`.

use super::usage::{DayUsage, UsageQuery, daily, load};
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::types::Meter;
use actix_web::http::header;
use actix_web::{HttpResponse, get, web};

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// `daily` of `/v1/usage` as CSV: day, key, name, each meter, cost and unpriced tokens.
#[utoipa::path(get, path = "/v1/usage.csv", tag = "usage", security(("bearer" = [])), params(UsageQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = 403, body = Problem)))]
#[get("/v1/usage.csv")]
pub(crate) async fn usage_csv(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<UsageQuery>,
) -> Result<HttpResponse, Problem> {
    let (scope, found) = load(&state, ctx, &query).await?;
    let by = query.group.as_deref().map(|group| format!("-by-{group}")).unwrap_or_default();
    let disposition = format!("attachment; filename=\"docent-usage-{scope}{by}.csv\"");
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .body(table(&daily(&found))))
}

fn table(lines: &[DayUsage]) -> String {
    let mut names = vec!["day", "key", "name"];
    names.extend(Meter::ALL.map(Meter::as_str));
    names.extend(["cost_nano_usd", "unpriced_tokens"]);
    let mut out = names.join(",") + "\r\n";
    for line in lines {
        let (key, name) = (line.key.as_deref(), line.name.as_deref());
        let of = |meter: Meter| line.sum.totals.get(meter.as_str()).copied().unwrap_or(0);
        let mut cells = vec![
            line.day.to_string(),
            cell(key.unwrap_or_default()),
            cell(name.unwrap_or_default()),
        ];
        cells.extend(Meter::ALL.map(of).map(|n| n.to_string()));
        cells.extend([line.sum.cost_nano_usd, line.sum.unpriced_tokens].map(|n| n.to_string()));
        out += &cells.join(",");
        out += "\r\n";
    }
    out
}

/// A text that somebody chose: it stays a text, and within its cell.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(FORMULA) { "'" } else { "" };
    let text = format!("{guard}{text}");
    if text.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_in_its_cell_and_is_no_formula() {
        for (text, written) in [
            ("Müller", "Müller"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+49@acme.test", "'+49@acme.test"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
