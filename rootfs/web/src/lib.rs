//! HTTP and HTTPS for kedge's tools: one request, bounded in time and size.
