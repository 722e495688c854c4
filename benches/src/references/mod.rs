//! Servers that do less than Causeway, to show what the rest costs: `bare` answers without looking, `parse` looks at
//! the body, `durable` puts it on disk. Each answers what Causeway would, to the byte but for the date, on the kind
//! of runtime that Causeway has.

pub mod collector;
mod durable;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// What is answered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Canned {
    /// The status.
    pub status: u16,
    /// The headers, without those that every server adds itself.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What a reference server does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where it listens.
    pub port: u16,
    /// The answer to every read.
    pub read: Canned,
    /// The answer to every write.
    pub write: Canned,
    /// What it does with a write before that.
    pub effort: Effort,
}

/// How much a reference server does with a write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Effort {
    /// Nothing: it doesn't take any.
    Bare,
    /// Reads it as JSON.
    Parse,
    /// And appends it to this file, synced.
    Durable(PathBuf),
}

impl Effort {
    /// What the server is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Parse => "parse",
            Self::Durable(_) => "durable",
        }
    }
}

/// The body of a write.
#[derive(Deserialize)]
struct Body {
    values: std::collections::BTreeMap<String, Option<String>>,
}

/// An answer, made ready to be given many times.
struct Ready {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Ready {
    fn new(canned: Canned) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in canned.headers {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(Self { status: StatusCode::from_u16(canned.status)?, headers, body: canned.body.into() })
    }

    fn answer(&self) -> (StatusCode, HeaderMap, Bytes) {
        (self.status, self.headers.clone(), self.body.clone())
    }
}

struct App {
    read: Ready,
    write: Ready,
    committer: Option<durable::Committer>,
}

/// `bench serve-…`: serves until it is killed.
pub fn serve(plan: Plan) -> Result<()> {
    let committer = match &plan.effort {
        Effort::Durable(file) => Some(durable::Committer::start(file)?),
        _ => None,
    };
    let app = App { read: Ready::new(plan.read)?, write: Ready::new(plan.write)?, committer };
    let router = Router::new().route("/read", get(async |State(app): State<Arc<App>>| app.read.answer()));
    let router = match plan.effort {
        Effort::Bare => router,
        _ => router.route("/set", axum::routing::patch(write)),
    };
    let router = router.with_state(Arc::new(app));
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", plan.port)).await?;
        let listener = listener.tap_io(|stream| {
            // Without it small answers may wait; a connection that is gone already says so itself.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, router).await?)
    })
}

async fn write(State(app): State<Arc<App>>, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let parsed: Body = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if parsed.values.is_empty() {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    if let Some(committer) = &app.committer {
        committer.commit(body).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    Ok(app.write.answer())
}
