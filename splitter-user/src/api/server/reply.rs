//! Errors as answers, and bodies as requests.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::MAX_BODY;
use crate::api::types::{ApiError, ErrorBody, ErrorCode};

/// An error with the HTTP status it goes out with.
pub struct Refusal {
    status: StatusCode,
    error: ApiError,
}

impl Refusal {
    pub fn with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            error: ApiError::refused(message),
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        ApiError::refused(format!("query: {}", rejection.body_text())).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.error.code == ErrorCode::Internal {
            tracing::error!(error = %self.error, "API request failed");
        }
        (self.status, Json(ErrorBody::from(self.error))).into_response()
    }
}

/// Reads a JSON body, whatever content type it claims: `curl -d` needs no header.
pub fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => Refusal::with_status(status, format!("body: {}", rejection.body_text())),
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::refused(format!("body: {error}")).into())
}

/// A body over [`MAX_BODY`].
pub fn too_large() -> Refusal {
    let message = format!(
        "the request is too large: at most {MAX_BODY} bytes; apply fewer resources at once"
    );
    Refusal::with_status(StatusCode::PAYLOAD_TOO_LARGE, message)
}
