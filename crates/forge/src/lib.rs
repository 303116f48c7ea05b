//! A Git server with an API, or forge: GitHub, GitLab, Gitea, Forgejo. What it tells us, by webhook, and what we tell it, as the statuses of
//! its commits.
//!
//! A webhook only ever asks for a look. Nothing in it is believed but that: what there is to see is read from Git.

pub mod asks;
pub mod status;
pub mod webhook;
