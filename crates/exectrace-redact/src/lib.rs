//! Secrets on command lines become marks before they leave the node.
