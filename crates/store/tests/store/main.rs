//! One suite for SQLite and PostgreSQL: what the store promises, and what it does when the database fails.

mod alert_history;
mod alerts;
mod asked;
mod conformance;
mod diagram;
mod faults;
mod history;
mod keys;
mod known;
mod log;
mod log_archive;
mod log_keeping;
mod logs;
mod mailbox;
mod model;
mod places;
mod postgres;
mod proxy;
mod record;
mod samples;
mod users;
