//! Sign-in over the router.
