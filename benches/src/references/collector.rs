//! A collector of traces that takes everything and keeps nothing.

use std::net::SocketAddr;

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Forgetful;

#[tonic::async_trait]
impl TraceService for Forgetful {
    async fn export(
        &self,
        _spans: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// `bench serve-collector`: takes OTLP over gRPC until it is killed.
pub fn serve(port: u16) -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Server::builder().add_service(TraceServiceServer::new(Forgetful)).serve(address);
    Ok(tokio::runtime::Runtime::new()?.block_on(server)?)
}
