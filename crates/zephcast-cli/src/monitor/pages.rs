//! What is answered to whom.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::metrics;
use super::watcher::View;
use crate::output::groups::GroupRecord;

const PAGE: &str = include_str!("page.html");
/// The page fetches from here and from nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) type Page = Response<Full<Bytes>>;

/// A group, and the broker it was seen on: several can be of one kind.
#[derive(Serialize)]
struct Located<'a> {
    #[serde(flatten)]
    group: &'a GroupRecord,
    url: &'a str,
}

/// Answers by what was seen last.
pub(super) fn answer(method: &Method, path: &str, views: &[View]) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD: nothing can be changed here\n");
        return with(refusal, ALLOW, "GET, HEAD");
    }
    match path {
        "/" => with(page(StatusCode::OK, "text/html; charset=utf-8", PAGE), CONTENT_SECURITY_POLICY, POLICY),
        "/metrics" => page(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(views)),
        "/status" => page(StatusCode::OK, "application/json", status(views)),
        "/healthz" => health(views),
        _ => page(StatusCode::NOT_FOUND, TEXT, "there are /, /metrics, /status and /healthz\n"),
    }
}

fn status(views: &[View]) -> Vec<u8> {
    let seen = views.iter().filter_map(|view| Some((&*view.broker, view.groups.as_ref().ok()?)));
    let groups: Vec<_> =
        seen.flat_map(|(url, groups)| groups.iter().map(move |group| Located { group, url })).collect();
    serde_json::to_vec(&groups).expect("records have text keys and finite numbers only")
}

/// Good when every broker answered the last look.
fn health(views: &[View]) -> Page {
    let line = |view: &View| match &view.groups {
        Ok(groups) => format!("{}: {} groups\n", view.broker, groups.len()),
        Err(reason) => format!("{}: no answer: {reason}\n", view.broker),
    };
    let all = views.iter().all(|view| view.groups.is_ok());
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(status, TEXT, views.iter().map(line).collect::<String>())
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    with(with(page, CONTENT_TYPE, content_type), CACHE_CONTROL, "no-store")
}

fn with(mut page: Page, name: HeaderName, value: &'static str) -> Page {
    page.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    page
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::BodyExt;
    use zephcast::{Broker, GroupName, GroupStatus, StreamName};

    use super::*;

    /// A Redis with one group, and a Kafka that is away.
    pub(in super::super) fn views() -> Vec<View> {
        let status = GroupStatus {
            lag: Some(120),
            oldest_pending: Some(Duration::from_millis(900)),
            delayed: Some(2),
            dead_letters: Some(1),
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap(), Broker::Redis)
        };
        let group = GroupRecord::new(&status, status.judge(), None);
        vec![
            View { broker: "redis://h:1".into(), groups: Ok(Arc::new(vec![group])) },
            View { broker: "kafka://k:2".into(), groups: Err("refused".into()) },
        ]
    }

    async fn get(path: &str, views: &[View]) -> (u16, String, String) {
        let (parts, body) = answer(&Method::GET, path, views).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let content_type = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        (parts.status.as_u16(), content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_is_that_of_every_broker() {
        let (status, _, text) = get("/healthz", &views()).await;
        assert_eq!((status, &*text), (503, "redis://h:1: 1 groups\nkafka://k:2: no answer: refused\n"));
        assert_eq!(get("/healthz", &views()[..1]).await.0, 200);
    }

    #[tokio::test]
    async fn status_is_the_groups_records_and_where_they_were_seen() {
        let (status, content_type, text) = get("/status", &views()).await;
        assert_eq!((status, &*content_type), (200, "application/json"));
        assert!(
            text.starts_with(r#"[{"event":"group","stream":"orders","group":"billing","broker":"redis","#),
            "{text}"
        );
        let groups: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((groups.as_array().unwrap().len(), &groups[0]["url"]), (1, &"redis://h:1".into()));
        assert_eq!(get("/status", &views()[1..]).await.2, "[]");
    }

    #[tokio::test]
    async fn the_page_asks_nobody_else() {
        let (status, content_type, text) = get("/", &views()).await;
        assert_eq!((status, &*content_type), (200, "text/html; charset=utf-8"));
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    }

    #[tokio::test]
    async fn what_is_not_there_or_would_change_something_is_refused() {
        assert_eq!(get("/nothing", &views()).await.0, 404);
        let refused = answer(&Method::POST, "/status", &views());
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
    }
}
